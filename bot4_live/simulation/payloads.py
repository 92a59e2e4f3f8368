"""JSON as Binance USD-M sends it. Shapes: Binance USD-M futures API, REST and user data streams."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bot4_live.instrument import E8, Instrument
from bot4_live.simulation.accounts import Account, AccountTrade
from bot4_live.simulation.frames import Update
from bot4_live.simulation.orders import Order

PERCENT_UP, PERCENT_DOWN = Decimal("1.0500"), Decimal("0.9500")
MAX_ORDERS = 200
WEIGHT_LIMIT, ORDER_LIMIT_10S, ORDER_LIMIT_1M = 2400, 300, 1200
MAX_LEVERAGE = 125


def money(e8: int) -> str:
    """Return 1e-8 units as text with 8 decimals."""
    return f"{Decimal(e8) / E8:.8f}"


def mark_price(instrument: Instrument, mid2: int) -> str:
    """Return the mark price: here the mid."""
    return f"{Decimal(mid2) * instrument.tick_e8 / (2 * E8):.8f}"


def public_trade(instrument: Instrument, trade: Update, now_ms: int) -> dict[str, Any]:
    """Return a row of GET /fapi/v1/trades."""
    return {
        "id": trade.trade_id,
        "price": str(instrument.price(trade.price)),
        "qty": str(instrument.qty(trade.qty)),
        "quoteQty": money(trade.price * trade.qty * instrument.unit_e8),
        "time": now_ms,
        "isBuyerMaker": trade.sells,
    }


def average_price(instrument: Instrument, order: Order) -> str:
    """Return the mean fill price, "0.00" before the first."""
    if not order.filled:
        return "0.00"
    return f"{Decimal(order.value) * instrument.tick_e8 / (E8 * order.filled):.5f}"


def entry_price(account: Account) -> str:
    """Return the mean entry price of the position, "0.0" when flat."""
    if not account.position:
        return "0.0"
    return f"{Decimal(account.cost) * account.instrument.tick_e8 / (E8 * account.position):.8f}"


def _symbol(instrument: Instrument) -> dict[str, Any]:
    tick = f"{Decimal(instrument.tick_e8) / E8:.{instrument.price_digits}f}"
    lots = {
        "minQty": str(instrument.qty(instrument.min_qty)),
        "maxQty": str(instrument.qty(instrument.max_qty)),
        "stepSize": str(instrument.qty(1)),
    }
    base = instrument.symbol.removesuffix("USDT")
    return {
        "symbol": instrument.symbol, "pair": instrument.symbol, "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000, "onboardDate": 1569398400000, "status": "TRADING",
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "baseAsset": base, "quoteAsset": "USDT", "marginAsset": "USDT",
        "pricePrecision": instrument.price_digits, "quantityPrecision": instrument.qty_digits,
        "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500", "liquidationFee": "0.012500", "marketTakeBound": "0.05", "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", **lots},
            {"filterType": "MARKET_LOT_SIZE", **lots},
            {"filterType": "MAX_NUM_ORDERS", "limit": MAX_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": f"{Decimal(instrument.min_notional_e8) / E8:f}"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": str(PERCENT_UP), "multiplierDown": str(PERCENT_DOWN),
             "multiplierDecimal": "4"},
        ],
        "orderTypes": ["LIMIT", "MARKET"], "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }  # fmt: skip


def exchange_info(instruments: Iterable[Instrument], now_ms: int, weight_limit: int = WEIGHT_LIMIT) -> dict[str, Any]:
    """Return GET /fapi/v1/exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDER_LIMIT_1M},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDER_LIMIT_10S},
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
        ],
        "symbols": [_symbol(instrument) for instrument in instruments],
    }


def order_json(instrument: Instrument, order: Order) -> dict[str, Any]:
    """Return an order as queries and answers show it."""
    price = str(instrument.price(order.price)) if order.price else "0"
    return {
        "orderId": order.id, "symbol": instrument.symbol, "status": order.status, "clientOrderId": order.client_id,
        "price": price, "avgPrice": average_price(instrument, order),
        "origQty": str(instrument.qty(order.qty)), "executedQty": str(instrument.qty(order.filled)),
        "cumQty": str(instrument.qty(order.filled)), "cumQuote": money(order.value * instrument.unit_e8),
        "timeInForce": order.life, "type": order.kind, "reduceOnly": order.reduce_only, "closePosition": False,
        "side": order.side, "positionSide": "BOTH", "stopPrice": "0", "workingType": "CONTRACT_PRICE",
        "priceProtect": False, "origType": order.kind, "priceMatch": "NONE", "selfTradePreventionMode": "NONE",
        "goodTillDate": 0, "time": order.created_ms, "updateTime": order.updated_ms,
    }  # fmt: skip


def order_update(
    instrument: Instrument, order: Order, what: str, now_ms: int, trade: AccountTrade | None = None
) -> dict[str, Any]:
    """Return ORDER_TRADE_UPDATE; `what` is the execution type x: NEW, TRADE, CANCELED or EXPIRED."""
    price = str(instrument.price(order.price)) if order.price else "0"
    body: dict[str, Any] = {
        "s": instrument.symbol, "c": order.client_id, "S": order.side, "o": order.kind, "f": order.life,
        "q": str(instrument.qty(order.qty)), "p": price, "ap": average_price(instrument, order), "sp": "0",
        "x": what, "X": order.status, "i": order.id,
        "l": str(instrument.qty(trade.qty if trade else 0)), "z": str(instrument.qty(order.filled)),
        "L": str(instrument.price(trade.price)) if trade else "0",
    }  # fmt: skip
    if trade:
        body |= {"n": money(trade.fee_e8), "N": "USDT"}
    body |= {
        "T": now_ms, "t": trade.id if trade else 0, "b": "0", "a": "0", "m": trade.maker if trade else False,
        "R": order.reduce_only, "wt": "CONTRACT_PRICE", "ot": order.kind, "ps": "BOTH", "cp": False,
        "rp": money(trade.realized_e8 if trade else 0), "pP": False, "si": 0, "ss": 0, "V": "NONE", "pm": "NONE",
        "gtd": 0,
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def account_update(account: Account, now_ms: int, mid2: int) -> dict[str, Any]:
    """Return ACCOUNT_UPDATE after a fill."""
    wallet, entry = money(account.wallet_e8), entry_price(account)
    return {
        "e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms,
        "a": {
            "B": [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}],
            "P": [{"s": account.instrument.symbol, "pa": str(account.instrument.qty(account.position)), "ep": entry,
                   "bep": entry, "cr": "0", "up": money(account.unrealized_e8(mid2)), "mt": "cross", "iw": "0",
                   "ps": "BOTH", "ma": "USDT"}],
            "m": "ORDER",
        },
    }  # fmt: skip


def trade_json(instrument: Instrument, trade: AccountTrade) -> dict[str, Any]:
    """Return a row of GET /fapi/v1/userTrades."""
    return {
        "symbol": instrument.symbol, "id": trade.id, "orderId": trade.order_id, "side": "BUY" if trade.buys else "SELL",
        "price": str(instrument.price(trade.price)), "qty": str(instrument.qty(trade.qty)),
        "realizedPnl": money(trade.realized_e8), "quoteQty": money(trade.price * trade.qty * instrument.unit_e8),
        "commission": money(trade.fee_e8), "commissionAsset": "USDT", "time": trade.time_ms, "positionSide": "BOTH",
        "buyer": trade.buys, "maker": trade.maker,
    }  # fmt: skip


def balance_json(account: Account, mid2: int, available_e8: int) -> list[dict[str, Any]]:
    """Return GET /fapi/v2/balance and v3."""
    wallet = money(account.wallet_e8)
    return [
        {"accountAlias": "SgsR", "asset": "USDT", "balance": wallet, "crossWalletBalance": wallet,
         "crossUnPnl": money(account.unrealized_e8(mid2)), "availableBalance": money(available_e8),
         "maxWithdrawAmount": money(max(0, available_e8)), "marginAvailable": True, "updateTime": account.updated_ms}
    ]  # fmt: skip


def position_json(account: Account, mid2: int) -> dict[str, Any]:
    """Return a row of GET /fapi/v2/positionRisk and v3."""
    instrument = account.instrument
    margin = money(account.margin_e8(account.position, mid2))
    return {
        "symbol": instrument.symbol, "positionSide": "BOTH", "positionAmt": str(instrument.qty(account.position)),
        "entryPrice": entry_price(account), "breakEvenPrice": entry_price(account),
        "markPrice": mark_price(instrument, mid2), "unRealizedProfit": money(account.unrealized_e8(mid2)),
        "liquidationPrice": "0", "isolatedMargin": "0", "isolatedWallet": "0", "isAutoAddMargin": "false",
        "maxNotionalValue": "250000000", "marginType": "cross", "leverage": str(account.leverage),
        "notional": money(account.position * mid2 * instrument.unit_e8 // 2), "marginAsset": "USDT",
        "initialMargin": margin, "maintMargin": margin, "positionInitialMargin": margin, "openOrderInitialMargin": "0",
        "adl": 1, "bidNotional": "0", "askNotional": "0", "updateTime": account.updated_ms,
    }  # fmt: skip


def account_json(account: Account, mid2: int, available_e8: int) -> dict[str, Any]:
    """Return GET /fapi/v2/account and v3."""
    unrealized = account.unrealized_e8(mid2)
    margin = money(account.margin_e8(account.position, mid2))
    wallet, equity = money(account.wallet_e8), money(account.wallet_e8 + unrealized)
    held = {
        "walletBalance": wallet, "unrealizedProfit": money(unrealized), "marginBalance": equity, "maintMargin": margin,
        "initialMargin": margin, "positionInitialMargin": margin, "openOrderInitialMargin": "0",
        "crossWalletBalance": wallet, "crossUnPnl": money(unrealized), "availableBalance": money(available_e8),
        "maxWithdrawAmount": money(max(0, available_e8)),
    }  # fmt: skip
    position = position_json(account, mid2)
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "tradeGroupId": -1, "updateTime": 0,
        "multiAssetsMargin": False, "totalInitialMargin": margin, "totalMaintMargin": margin,
        "totalWalletBalance": wallet, "totalUnrealizedProfit": money(unrealized), "totalMarginBalance": equity,
        "totalPositionInitialMargin": margin, "totalOpenOrderInitialMargin": "0", "totalCrossWalletBalance": wallet,
        "totalCrossUnPnl": money(unrealized), "availableBalance": money(available_e8),
        "maxWithdrawAmount": money(max(0, available_e8)),
        "assets": [{"asset": "USDT", **held, "marginAvailable": True, "updateTime": account.updated_ms}],
        "positions": [{**position, "unrealizedProfit": position["unRealizedProfit"], "isolated": False,
                       "maxNotional": "250000000"}],
    }  # fmt: skip
