"""Binance USD-M messages, as its documentation and streams give them, to event records and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.events import Flag, Kind, Source, header_of, new_record, slots_of
from bot4_live.execution.gateways.binance_usdm import Gateway, instrument_of
from bot4_live.execution.order_id import from_client_id, pack, to_client_id
from bot4_live.instrument import BTCUSDT_USDM

GATEWAY = Gateway(BTCUSDT_USDM)
ORDER = pack(3, 7)


def update(**fields):
    """An ORDER_TRADE_UPDATE with the fields Binance sends for a futures order."""
    order = {
        "s": "BTCUSDT", "c": to_client_id(ORDER), "S": "SELL", "o": "LIMIT", "f": "GTX", "q": "0.004", "p": "61234.50",
        "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 8886774, "l": "0", "z": "0", "L": "0", "n": "0", "N": "USDT",
        "T": 1568879465650, "t": 0, "b": "0", "a": "9.91", "m": False, "R": False, "wt": "CONTRACT_PRICE",
        "ot": "LIMIT", "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0, "V": "NONE", "pm": "NONE",
        "gtd": 0,
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": 1568879465651, "T": 1568879465650, "o": order | fields}


def one(records):
    assert len(records) == 1
    return header_of(records[0]), slots_of(records[0])


def test_new_order_request_carries_exact_decimals():
    command = new_record(Kind.CMD_NEW, 1)
    header_of(command)["a"] = ORDER
    header_of(command)["flags"] = Flag.SELL | Flag.POST_ONLY
    slots_of(command)[0] = (612345, 4)
    request = GATEWAY.request(command)
    assert (request.method, request.path, request.signed) == ("POST", "/fapi/v1/order", True)
    assert request.params == {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTX", "quantity": "0.004",
        "price": "61234.50", "newClientOrderId": "b4-00000003-00000007", "newOrderRespType": "ACK",
    }  # fmt: skip


def test_flags_become_time_in_force_and_reduce_only():
    assert GATEWAY.new_order(ORDER, 1, 1, Flag.IOC | Flag.REDUCE_ONLY).params["timeInForce"] == "IOC"
    assert GATEWAY.new_order(ORDER, 1, 1, Flag.IOC | Flag.REDUCE_ONLY).params["reduceOnly"] == "true"
    assert GATEWAY.new_order(ORDER, 1, 1, 0).params["timeInForce"] == "GTC"
    assert "reduceOnly" not in GATEWAY.new_order(ORDER, 1, 1, 0).params
    with pytest.raises(ValueError, match="post-only"):
        GATEWAY.new_order(ORDER, 1, 1, Flag.IOC | Flag.POST_ONLY)


def test_cancel_and_cancel_all():
    command = new_record(Kind.CMD_CANCEL)
    header_of(command)["a"] = ORDER
    request = GATEWAY.request(command)
    assert (request.method, request.params["origClientOrderId"]) == ("DELETE", to_client_id(ORDER))
    assert GATEWAY.request(new_record(Kind.CMD_CANCEL_ALL)).path == "/fapi/v1/allOpenOrders"
    with pytest.raises(ValueError, match="not a command"):
        GATEWAY.request(new_record(Kind.TICK))


@given(ticks=st.integers(1, 10**9), lots=st.integers(1, 10**6))
def test_prices_and_quantities_survive_the_wire(ticks, lots):
    params = GATEWAY.new_order(ORDER, ticks, lots, 0).params
    answer = {"status": "NEW", "orderId": 1, "price": params["price"], "origQty": params["quantity"],
              "executedQty": "0", "side": "BUY", "updateTime": 5}  # fmt: skip
    _, slots = one(GATEWAY.on_order(ORDER, answer))
    assert tuple(slots[0]) == (ticks, lots)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("NEW", Kind.ORDER_ACCEPTED),
        ("PARTIALLY_FILLED", Kind.ORDER_ACCEPTED),
        ("FILLED", Kind.ORDER_ACCEPTED),
        ("CANCELED", Kind.ORDER_CANCELED),
        ("EXPIRED", Kind.ORDER_EXPIRED),
        ("EXPIRED_IN_MATCH", Kind.ORDER_EXPIRED),
        ("REJECTED", Kind.ORDER_REJECTED),
    ],
)
def test_answers_by_status(status, kind):
    answer = {"status": status, "orderId": 22542179, "price": "61234.50", "origQty": "0.004", "executedQty": "0.001",
              "side": "SELL", "updateTime": 1566818724722}  # fmt: skip
    head, _ = one(GATEWAY.on_order(ORDER, answer))
    assert (head["kind"], head["a"], head["source"]) == (kind, ORDER, Source.ORDER_REST)
    if kind != Kind.ORDER_REJECTED:
        assert (head["b"], head["c"], head["exch_ns"]) == (22542179, 1, 1566818724722 * 10**6)


def test_unknown_status_is_an_error():
    with pytest.raises(ValueError, match="NEW_ADL"):
        GATEWAY.on_order(ORDER, {"status": "NEW_ADL", "orderId": 1, "executedQty": "0"})


def test_fill_from_the_stream():
    message = update(x="TRADE", X="PARTIALLY_FILLED", l="0.001", z="0.003", L="61234.50", n="0.01224690", t=991, m=True)
    head, slots = one(GATEWAY.on_user_message(message))
    assert (head["kind"], head["a"], head["b"], head["c"]) == (Kind.ORDER_FILL, ORDER, 991, 8886774)
    assert head["flags"] == Flag.SELL | Flag.MAKER
    assert head["exch_ns"] == 1568879465650 * 10**6
    assert slots.tolist() == [[612345, 1], [3, 1224690]]


def test_fee_in_another_asset_is_said_and_not_counted():
    records = GATEWAY.on_user_message(update(x="TRADE", l="0.001", z="0.001", L="61234.50", n="0.0001", N="BNB", t=1))
    assert [int(header_of(r)["kind"]) for r in records] == [Kind.ORDER_FILL, Kind.NOTE]
    assert slots_of(records[0])[1, 1] == 0
    assert b"BNB" in records[1].tobytes()


def test_fill_of_a_foreign_order_is_taken_and_noted():
    records = GATEWAY.on_user_message(
        update(c="autoclose-1698", x="CALCULATED", X="FILLED", l="0.001", z="0.001", L="61234.50", n="0", t=5)
    )
    assert [int(header_of(r)["kind"]) for r in records] == [Kind.ORDER_FILL, Kind.NOTE]
    assert header_of(records[0])["a"] == 0


@pytest.mark.parametrize(
    ("execution", "kind"),
    [
        ("NEW", Kind.ORDER_ACCEPTED),
        ("AMENDMENT", Kind.ORDER_ACCEPTED),
        ("CANCELED", Kind.ORDER_CANCELED),
        ("EXPIRED", Kind.ORDER_EXPIRED),
        ("REJECTED", Kind.ORDER_REJECTED),
    ],
)
def test_order_updates_by_execution_type(execution, kind):
    head, _ = one(GATEWAY.on_user_message(update(x=execution, z="0.002")))
    assert (head["kind"], head["a"], head["source"]) == (kind, ORDER, Source.USER_STREAM)


def test_orders_of_others_and_other_symbols_are_left_out():
    assert GATEWAY.on_user_message(update(c="web_abc")) == []
    assert GATEWAY.on_user_message(update(s="ETHUSDT")) == []
    assert GATEWAY.on_user_message({"e": "MARGIN_CALL", "E": 1}) == []


def test_account_update():
    message = {
        "e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938,
        "a": {
            "m": "ORDER",
            "B": [{"a": "USDT", "wb": "122624.12345678", "cw": "100.12345678", "bc": "50.12345678"},
                  {"a": "BUSD", "wb": "1.00000000", "cw": "0.00000000", "bc": "-49.12345678"}],
            "P": [{"s": "BTCUSDT", "pa": "-0.020", "ep": "6563.66500", "cr": "200", "up": "0", "mt": "cross",
                   "iw": "0.00000000", "ps": "BOTH"},
                  {"s": "ETHUSDT", "pa": "20", "ep": "6563.6", "ps": "BOTH"}],
        },
    }  # fmt: skip
    balance, position = GATEWAY.on_user_message(message)
    head = header_of(balance)
    assert (head["kind"], head["a"], head["b"]) == (Kind.BALANCE, 12262412345678, 10012345678)
    head = header_of(position)
    assert (head["kind"], head["a"], head["b"]) == (Kind.POSITION, -20, 656366500000)
    assert head["c"] == 1564745798938 * 10**6


def test_lost_digits_are_an_error():
    with pytest.raises(ValueError, match="multiple"):
        GATEWAY.on_user_message(update(p="61234.55"))
    with pytest.raises(ValueError, match="multiple"):
        GATEWAY.on_user_message(update(x="TRADE", l="0.0005", z="0.0005", L="61234.50", t=1))


def test_trades_positions_and_balances_by_query():
    trade = {"buyer": False, "commission": "0.02449380", "commissionAsset": "USDT", "id": 698759, "maker": True,
             "orderId": 25851813, "price": "61234.50", "qty": "0.002", "quoteQty": "122.469", "realizedPnl": "0",
             "side": "SELL", "positionSide": "BOTH", "symbol": "BTCUSDT", "time": 1569514978020}  # fmt: skip
    head, slots = one(GATEWAY.on_trade(ORDER, trade, 3))
    assert head["flags"] == Flag.SELL | Flag.MAKER | Flag.REPLAYED
    assert slots.tolist() == [[612345, 2], [3, 2449380]]
    rows = [{"symbol": "BTCUSDT", "positionAmt": "-0.002", "entryPrice": "61234.5", "positionSide": "BOTH",
             "updateTime": 1625474304765}]  # fmt: skip
    head = header_of(GATEWAY.on_position(rows))
    assert (head["a"], head["b"], head["c"]) == (-2, 6123450000000, 1625474304765 * 10**6)
    assert header_of(GATEWAY.on_position([]))["a"] == 0
    head = header_of(GATEWAY.on_balance([{"asset": "USDT", "balance": "23.72469206", "availableBalance": "20.5"}]))
    assert (head["a"], head["b"]) == (2372469206, 2050000000)
    with pytest.raises(ValueError, match="USDT"):
        GATEWAY.on_balance([{"asset": "BNB", "balance": "1"}])


def test_adopted_order_keeps_its_side_and_what_is_filled():
    row = {"status": "PARTIALLY_FILLED", "orderId": 5, "price": "61234.50", "origQty": "0.004", "executedQty": "0.001",
           "side": "SELL", "updateTime": 5, "clientOrderId": to_client_id(ORDER)}  # fmt: skip
    head = header_of(GATEWAY.adopted(ORDER, row))
    assert (head["kind"], head["b"], head["c"]) == (Kind.ORDER_ADOPTED, 5, 1)
    assert head["flags"] == Flag.SELL | Flag.REPLAYED


def exchange_info(**fields):
    symbol = {
        "symbol": "BTCUSDT", "status": "TRADING", "pricePrecision": 2, "quantityPrecision": 3,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "maxQty": "1000", "minQty": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
    } | fields  # fmt: skip
    return {"symbols": [symbol]}


def test_instrument_of_exchange_info():
    assert instrument_of(exchange_info(), BTCUSDT_USDM) is BTCUSDT_USDM
    changed = exchange_info()
    changed["symbols"][0]["filters"][0]["tickSize"] = "0.01"
    found = instrument_of(changed, BTCUSDT_USDM)
    assert (found.version, found.price(1)) == (2, Decimal("0.01"))
    with pytest.raises(ValueError, match="SETTLING"):
        instrument_of(exchange_info(status="SETTLING"), BTCUSDT_USDM)
    with pytest.raises(ValueError, match="not listed"):
        instrument_of({"symbols": []}, BTCUSDT_USDM)


def test_client_ids_are_ours_or_not():
    assert from_client_id(to_client_id(ORDER)) == ORDER
    assert from_client_id("b4-3-7") == 0
