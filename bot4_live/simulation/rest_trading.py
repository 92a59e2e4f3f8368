"""Signed paths of the simulated exchange: orders, account, listen keys."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from bot4_live.instrument import E8
from bot4_live.simulation import payloads
from bot4_live.simulation.accounts import Account
from bot4_live.simulation.errors import ApiError, error, missing
from bot4_live.simulation.order_request import OrderRequest, read_int, read_order, require_symbol
from bot4_live.simulation.orders import Order
from bot4_live.simulation.rest import Call, per_symbol, route

USER, TRADE, KEY = "USER_DATA", "TRADE", "MARKET_DATA"


def routes() -> list[web.RouteDef]:
    """Return the signed routes with Binance's weights."""
    found = [
        route("POST", "/fapi/v1/order", _new_order, 0, TRADE),
        route("POST", "/fapi/v1/order/test", _test_order, 1, TRADE),
        route("DELETE", "/fapi/v1/order", _cancel, 1, TRADE),
        route("DELETE", "/fapi/v1/allOpenOrders", _cancel_all, 1, TRADE),
        route("POST", "/fapi/v1/countdownCancelAll", _countdown, 10, USER),
        route("GET", "/fapi/v1/order", _query, 1, USER),
        route("GET", "/fapi/v1/openOrder", _query_open, 1, USER),
        route("GET", "/fapi/v1/openOrders", _open_orders, per_symbol(1, 40), USER),
        route("GET", "/fapi/v1/allOrders", _all_orders, 5, USER),
        route("GET", "/fapi/v1/userTrades", _user_trades, 5, USER),
        route("GET", "/fapi/v1/income", _income, 30, USER),
        route("POST", "/fapi/v1/leverage", _leverage, 1, USER),
        route("POST", "/fapi/v1/marginType", _margin_type, 1, USER),
        route("GET", "/fapi/v1/positionSide/dual", lambda call: {"dualSidePosition": False}, 30, USER),
        route("POST", "/fapi/v1/positionSide/dual", _position_mode, 1, USER),
        route("GET", "/fapi/v1/multiAssetsMargin", lambda call: {"multiAssetsMargin": False}, 30, USER),
        route("GET", "/fapi/v1/commissionRate", _commission, 20, USER),
        route("GET", "/fapi/v1/leverageBracket", _brackets, 1, USER),
        route("GET", "/fapi/v1/symbolConfig", _symbol_config, 5, USER),
        route("GET", "/fapi/v1/accountConfig", _account_config, 5, USER),
        route("POST", "/fapi/v1/listenKey", _create_key, 1, KEY),
        route("PUT", "/fapi/v1/listenKey", _renew_key, 1, KEY),
        route("DELETE", "/fapi/v1/listenKey", _close_key, 1, KEY),
    ]
    for version in ("v2", "v3"):
        found += [
            route("GET", f"/fapi/{version}/account", _account, 5, USER),
            route("GET", f"/fapi/{version}/balance", _balance, 5, USER),
            route("GET", f"/fapi/{version}/positionRisk", _positions, 5, USER),
        ]
    return found


def _held(call: Call) -> Account:
    return call.exchange.venue.accounts[call.account]


def _show(call: Call, order: Order) -> dict[str, Any]:
    return payloads.order_json(call.exchange.instrument, order)


# Orders.


def _read_order(call: Call) -> OrderRequest:
    if call.params.get("symbol") in call.exchange.further:
        raise error("not_traded")
    return read_order(call.params, call.exchange.instrument)


def _new_order(call: Call) -> Any:
    request = _read_order(call)
    order = call.exchange.venue.place(call.account, request)
    shown = _show(call, order)
    if not request.wants_result:
        # ACK: accepted, and not a word about what matching made of it.
        zero = str(call.exchange.instrument.qty(0))
        shown |= {"status": "NEW", "executedQty": zero, "cumQty": zero, "cumQuote": "0", "avgPrice": "0.00"}
    return shown


def _test_order(call: Call) -> Any:
    _read_order(call)
    return {}


def _ids(call: Call) -> tuple[int | None, str]:
    require_symbol(call.params, call.exchange.instrument)
    order_id, client_id = read_int(call.params, "orderId"), call.params.get("origClientOrderId", "")
    if order_id is None and not client_id:
        raise ApiError(-1102, "Either 'origClientOrderId' or 'orderId' must be sent.")
    return order_id, client_id


def _cancel(call: Call) -> Any:
    return _show(call, call.exchange.venue.cancel(call.account, *_ids(call)))


def _cancel_all(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    call.exchange.venue.cancel_all(call.account)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _countdown(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    ms = read_int(call.params, "countdownTime")
    if ms is None or ms < 0:
        raise missing("countdownTime")
    call.exchange.venue.set_countdown(call.account, ms)
    return {"symbol": call.exchange.instrument.symbol, "countdownTime": str(ms)}


def _query(call: Call) -> Any:
    return _show(call, call.exchange.venue.query(call.account, *_ids(call)))


def _query_open(call: Call) -> Any:
    order = call.exchange.venue.query(call.account, *_ids(call))
    if not order.open:
        raise error("no_order")
    return _show(call, order)


def _open_orders(call: Call) -> Any:
    if call.params.get("symbol"):
        require_symbol(call.params, call.exchange.instrument)
    return [_show(call, order) for order in call.exchange.venue.open_orders(call.account)]


def _all_orders(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    first, (start, end, limit) = read_int(call.params, "orderId"), _span(call, 500)
    orders = call.exchange.venue.orders(call.account)
    if first is not None:
        return [_show(call, order) for order in orders if order.id >= first][:limit]
    rows = [_show(call, order) for order in orders if start <= order.created_ms <= end]
    return rows[:limit] if call.params.get("startTime") else rows[-limit:]


def _user_trades(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    first, (start, end, limit) = read_int(call.params, "fromId"), _span(call, 500)
    order_id = read_int(call.params, "orderId")
    trades = [trade for trade in _held(call).trades if order_id is None or trade.order_id == order_id]
    if first is not None:
        found = [trade for trade in trades if trade.id >= first][:limit]
    else:
        found = [trade for trade in trades if start <= trade.time_ms <= end]
        found = found[:limit] if call.params.get("startTime") else found[-limit:]
    return [payloads.trade_json(call.exchange.instrument, trade) for trade in found]


def _span(call: Call, limit: int) -> tuple[int, int, int]:
    """Return (first ms, last ms, rows) of a query for history."""
    start, end = read_int(call.params, "startTime"), read_int(call.params, "endTime")
    rows = min(1000, max(1, read_int(call.params, "limit") or limit))
    return start or 0, end if end is not None else call.now_ms, rows


# Account.


def _account(call: Call) -> Any:
    venue = call.exchange.venue
    return payloads.account_json(_held(call), venue.book.mid2, venue.available_e8(call.account))


def _balance(call: Call) -> Any:
    venue = call.exchange.venue
    return payloads.balance_json(_held(call), venue.book.mid2, venue.available_e8(call.account))


def _positions(call: Call) -> Any:
    if call.params.get("symbol"):
        require_symbol(call.params, call.exchange.instrument)
    return [payloads.position_json(_held(call), call.exchange.venue.book.mid2)]


def _income(call: Call) -> Any:
    kind, (start, end, limit) = call.params.get("incomeType", ""), _span(call, 100)
    rows = [row for row in _held(call).income if start <= row["time"] <= end and kind in ("", row["incomeType"])]
    return rows[:limit] if call.params.get("startTime") else rows[-limit:]


def _leverage(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    leverage = read_int(call.params, "leverage")
    if leverage is None:
        raise missing("leverage")
    if not 1 <= leverage <= payloads.MAX_LEVERAGE:
        raise error("leverage")
    _held(call).leverage = leverage
    return {"symbol": call.exchange.instrument.symbol, "leverage": leverage, "maxNotionalValue": "250000000"}


def _margin_type(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    if call.params.get("marginType", "").upper() == "CROSSED":
        raise error("margin_type")
    raise ApiError(-4045, "The simulated exchange has cross margin only.")


def _position_mode(call: Call) -> Any:
    if call.params.get("dualSidePosition", "").lower() == "false":
        raise error("position_mode")
    raise ApiError(-4060, "The simulated exchange has one-way positions only.")


def _commission(call: Call) -> Any:
    require_symbol(call.params, call.exchange.instrument)
    instrument = call.exchange.instrument
    return {
        "symbol": instrument.symbol,
        "makerCommissionRate": f"{instrument.maker_fee_e8 / E8:.6f}",
        "takerCommissionRate": f"{instrument.taker_fee_e8 / E8:.6f}",
    }


def _brackets(call: Call) -> Any:
    bracket = {
        "bracket": 1,
        "initialLeverage": payloads.MAX_LEVERAGE,
        "notionalCap": 250_000_000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.004,
        "cum": 0.0,
    }
    row = {"symbol": call.exchange.instrument.symbol, "brackets": [bracket]}
    return row if call.params.get("symbol") else [row]


def _symbol_config(call: Call) -> Any:
    row = {
        "symbol": call.exchange.instrument.symbol,
        "marginType": "CROSSED",
        "isAutoAddMargin": False,
        "leverage": _held(call).leverage,
        "maxNotionalValue": "250000000",
    }
    return [row]


def _account_config(call: Call) -> Any:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


# User streams.


def _create_key(call: Call) -> Any:
    return {"listenKey": call.exchange.listen_keys.create(call.account, call.now_ms)}


def _renew_key(call: Call) -> Any:
    return {"listenKey": call.exchange.listen_keys.renew(call.account, call.now_ms)}


def _close_key(call: Call) -> Any:
    call.exchange.listen_keys.close(call.account)
    return {}
