"""What the exchange says of the account: the figures that nobody can argue with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bot4_live.safety.venue import SafetyVenue
from bot4_live.settings import Settings
from bot4_platform.demo.market import START_BALANCE


def read_account(settings: Settings) -> dict[str, Any]:
    """Return wallet, PnL, fees, fills and orders of the account, and what is still open."""
    venue = SafetyVenue(
        settings.rest_url,
        settings.watchdog_api_key.get_secret_value(),
        settings.watchdog_api_secret.get_secret_value(),
        timeout_s=5.0,
    )
    try:
        venue.sync_time()
        balance = next(row for row in venue.signed_get("/fapi/v2/balance", {}) if row["asset"] == "USDT")
        trades = _pages(venue, "/fapi/v1/userTrades", settings.symbol, "id")
        orders = _pages(venue, "/fapi/v1/allOrders", settings.symbol, "orderId")
        positions = venue.positions()
        open_orders = venue.open_orders()
    finally:
        venue.close()
    wallet = Decimal(balance["balance"])
    return {
        "wallet_quote": float(wallet),
        "pnl_quote": float(wallet - Decimal(START_BALANCE)),
        "fees_quote": float(sum((Decimal(trade["commission"]) for trade in trades), Decimal(0))),
        "fills": len(trades),
        "maker_fills": sum(bool(trade["maker"]) for trade in trades),
        "orders": len(orders),
        "open_orders": len(open_orders),
        "positions": len(positions),
    }


def _pages(venue: SafetyVenue, path: str, symbol: str, key: str) -> list[dict[str, Any]]:
    """Return all rows, a page of 1000 at a time, by ascending id."""
    first_key = "fromId" if key == "id" else "orderId"
    rows: dict[int, dict[str, Any]] = {}
    start = 1
    while True:
        page = venue.signed_get(path, {"symbol": symbol, "limit": 1000, first_key: start})
        new = [row for row in page if int(row[key]) not in rows]
        if not new:
            return [rows[i] for i in sorted(rows)]
        rows.update({int(row[key]): row for row in new})
        start = max(rows) + 1
