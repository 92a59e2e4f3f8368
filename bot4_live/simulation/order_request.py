"""The parameters of a new order, checked as the venue checks them: shape first, then the instrument's filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from bot4_live.instrument import E8, Instrument
from bot4_live.simulation.errors import ApiError, error, missing, not_required
from bot4_live.simulation.payloads import PERCENT_DOWN, PERCENT_UP

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_NUMBER = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
LIVES = ("GTC", "IOC", "FOK", "GTX")


@dataclass(frozen=True)
class OrderRequest:
    """A new order in ticks and lots; `price` 0 and life GTC for a market order; `client_id` "" when not given."""

    buys: bool
    kind: str
    life: str
    price: int
    qty: int
    reduce_only: bool
    client_id: str
    wants_result: bool


def read_order(params: Mapping[str, str], instrument: Instrument) -> OrderRequest:
    """Return the order that `params` ask for. Raises ApiError with the venue's code."""
    require_symbol(params, instrument)
    side, kind = params.get("side", ""), params.get("type", "")
    if not side:
        raise missing("side")
    if side not in ("BUY", "SELL"):
        raise error("side")
    if not kind:
        raise missing("type")
    if kind not in ("LIMIT", "MARKET"):
        raise error("kind")
    if params.get("positionSide", "BOTH") != "BOTH":
        raise error("position_side")
    client_id = params.get("newClientOrderId", "")
    if client_id and not _CLIENT_ID.fullmatch(client_id):
        raise error("client_id")
    qty = _units(params, "quantity", instrument.lot_e8, instrument.qty_digits, "lot")
    if qty <= 0:
        raise error("no_qty")
    if qty < instrument.min_qty:
        raise error("small_qty")
    if qty > instrument.max_qty:
        raise error("large_qty")
    price, life = 0, "GTC"
    if kind == "LIMIT":
        life = params.get("timeInForce", "")
        if not life:
            raise missing("timeInForce")
        if life not in LIVES:
            raise error("life")
        price = _units(params, "price", instrument.tick_e8, instrument.price_digits, "tick")
        if price <= 0:
            raise error("no_price")
    else:
        for name in ("price", "timeInForce"):
            if params.get(name):
                raise not_required(name)
    reduce_only = params.get("reduceOnly", "false").lower() == "true"
    wants_result = params.get("newOrderRespType", "ACK") == "RESULT"
    return OrderRequest(side == "BUY", kind, life, price, qty, reduce_only, client_id, wants_result)


def check_filters(order: OrderRequest, instrument: Instrument, mid2: int) -> None:
    """Apply PERCENT_PRICE and MIN_NOTIONAL at the mark (`mid2`, twice the mid in ticks). Raises ApiError."""
    if order.price and mid2:
        upper, lower = int(mid2 * PERCENT_UP) // 2, -(-mid2 * int(PERCENT_DOWN * 10_000) // 20_000)
        if order.buys and order.price > upper:
            raise ApiError(-4016, f"Limit price can't be higher than {instrument.price(upper)}.")
        if not order.buys and order.price < lower:
            raise ApiError(-4024, f"Limit price can't be lower than {instrument.price(lower)}.")
    notional2 = (2 * order.price or mid2) * order.qty * instrument.unit_e8
    if not order.reduce_only and notional2 < 2 * instrument.min_notional_e8:
        least = Decimal(instrument.min_notional_e8) / E8
        raise ApiError(-4164, f"Order's notional must be no smaller than {least:f} (unless you choose reduce only).")


def require_symbol(params: Mapping[str, str], instrument: Instrument) -> None:
    """Raise ApiError unless `symbol` is given and is the one traded here."""
    symbol = params.get("symbol", "")
    if not symbol:
        raise missing("symbol")
    if symbol != instrument.symbol:
        raise error("symbol")


def read_int(params: Mapping[str, str], name: str) -> int | None:
    """Return an integer parameter of 64 bits, None when absent. Raises ApiError for anything else."""
    text = params.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise missing(name) from None
    if not -(2**63) <= value < 2**63:
        raise missing(name)
    return value


def claimed_limit(params: Mapping[str, str]) -> int:
    """Return the `limit` that a request weighs by: 500 without one, and for a wrong one, which costs something too."""
    try:
        return read_int(params, "limit") or 500
    except ApiError:
        return 500


def _units(params: Mapping[str, str], name: str, unit_e8: int, digits: int, kind: str) -> int:
    text = params.get(name, "")
    if not text:
        raise missing(name)
    if not _NUMBER.fullmatch(text):
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{_NUMBER.pattern}'.")
    value = Decimal(text)
    if value != round(value, digits):
        raise error("precision")
    units, rest = divmod(value * E8, unit_e8)
    if rest:
        raise error(kind)
    return int(units)
