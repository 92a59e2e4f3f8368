"""The exchange's tick becomes finer: prices, orders, positions and money stay what they are."""

from __future__ import annotations

import pytest

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.simulation.instrument_change import read_change

TOKEN = {"X-Bot4-Token": "token-of-the-test"}


async def change(client, **values):
    return await client.raw("POST", "/bot4/instrument", json=values, headers=TOKEN)


async def test_everything_is_worth_what_it_was(serve):
    async with serve() as client:
        bid, ask = await client.quote()
        _, filled = await client.order("BUY", client.price(ask + 50), "0.010", newOrderRespType="RESULT")
        assert filled["status"] == "FILLED"
        _, resting = await client.order("BUY", client.price(bid - 5), "0.020")
        asked = [
            ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 1000}), ("/fapi/v1/openOrders", {}),
            ("/fapi/v2/positionRisk", {}), ("/fapi/v2/account", {}), ("/fapi/v1/userTrades", {"symbol": "BTCUSDT"}),
            ("/fapi/v1/allOrders", {"symbol": "BTCUSDT"}), ("/fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}),
        ]  # fmt: skip
        before = [(await client.call("GET", path, **params))[1] for path, params in asked]
        status, info = await change(client, tick="0.01", min_notional="50", max_qty="7.5")
        assert status == 200
        filters = {f["filterType"]: f for f in info["symbols"][0]["filters"]}
        assert filters["PRICE_FILTER"]["tickSize"] == "0.01"
        assert filters["MIN_NOTIONAL"]["notional"] == "50"
        assert filters["LOT_SIZE"]["maxQty"] == "7.500"
        assert [(await client.call("GET", path, **params))[1] for path, params in asked] == before
        # Orders at new prices, and what rested fills as before.
        status, finer = await client.order("BUY", f"{(bid - 5) / 10 + 0.03:.2f}", "0.010")
        assert (status, finer["status"]) == (200, "NEW")
        _, sold = await client.order("SELL", client.price(bid - 50), "0.010", newOrderRespType="RESULT")
        assert sold["status"] == "FILLED"
        _, position = await client.call("GET", "/fapi/v2/positionRisk")
        assert float(position[0]["positionAmt"]) == 0
        _, cancelled = await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=resting["orderId"])
        assert cancelled["price"] == resting["price"]


async def test_the_market_goes_on_in_the_new_ticks(serve):
    async with serve() as client:
        await change(client, tick="0.05")
        venue = client.server.exchange.venue
        before = venue.book.last_id
        client.server.exchange.set_clock(speed_milli=50_000, paused=False, until_ns=None)
        while venue.book.last_id < before + 500:
            client.server.exchange.catch_up()
        bid, ask = await client.quote()
        assert bid % 2 == ask % 2 == 0  # recorded at 0.1
        assert 0 < bid < ask < bid * 1.01
        book = venue.book
        assert all(price % 2 == 0 for ladder in (book.bids, book.asks) for price in ladder.prices)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "any of tick"), ({"lot": "1"}, "any of tick"), ({"tick": 0.01}, "text"), ({"tick": "x"}, "not a number"),
        ({"tick": "0"}, "more than 0"), ({"tick": "0.03"}, "does not divide"), ({"tick": "1"}, "does not divide"),
        ({"min_qty": "9999999"}, "max_qty"), ({"tick": "0.000001"}, "finer than 1e-8"), ("no", "any of tick"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_change(values, BTCUSDT_USDM)


async def test_only_with_the_token(serve):
    async with serve() as client:
        status, _ = await client.raw("POST", "/bot4/instrument", json={"tick": "0.01"})
        assert status == 403
        status, said = await change(client, tick="0.3")
        assert (status, "does not divide" in said["error"]) == (400, True)
