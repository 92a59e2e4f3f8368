"""Further symbols of the simulated exchange: markets to follow, by the same clock, on which nobody can trade."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import orjson
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect

from bot4_live.commands.exchange import command
from bot4_live.execution.gateways.binance_usdm import listed
from bot4_live.market.public import stream_url
from bot4_live.market.verify import verify_capture
from bot4_live.simulation.further import LISTED, VENUE, listings
from bot4_live.simulation.generator import generate, write_capture

NAMES = ("ETHUSDT", "XRPUSDT", "AAVEUSDT")
ALSO = listings(",".join(NAMES))


@pytest.mark.parametrize("number", range(1, len(LISTED) + 1, 7))
def test_each_proves_its_own_book(tmp_path, number) -> None:
    listing = LISTED[number - 1]
    instrument = listing.instrument(number)
    frames = generate(
        number, duration_s=12.0, instrument=instrument, price=float(listing.price), pace=1.0 / (number + 1)
    )
    write_capture(tmp_path / "further.gz", frames)
    found = verify_capture(tmp_path / "further.gz", instrument)
    assert found.ok, found


def test_all_are_counted_in_integers_and_far_from_zero() -> None:
    for number, one in enumerate(LISTED, 1):
        assert one.instrument(number).unit_e8 > 0
        assert Decimal(one.price) / Decimal(one.tick) > 8_000
    assert len({one.symbol for one in LISTED}) == len(LISTED) >= 20


async def test_the_listing_says_the_tick_lot_and_filters_of_each(serve) -> None:
    async with serve(also=ALSO) as client:
        status, info = await client.call("GET", "/fapi/v1/exchangeInfo", signed=False)
        assert status == 200
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", *NAMES]
        for number, (name, one) in enumerate(zip(NAMES, ALSO, strict=True), 1):
            assert listed(info, VENUE, name, number) == one.instrument(number)
        with pytest.raises(ValueError, match="SOLUSDT is not listed"):
            listed(info, VENUE, "SOLUSDT", 9)


async def test_rest_answers_for_the_symbol_that_is_asked_for(serve) -> None:
    async with serve(also=ALSO) as client:
        for one in ALSO:
            status, depth = await client.call("GET", "/fapi/v1/depth", signed=False, symbol=one.symbol, limit=5)
            assert status == 200
            bid, ask = (Decimal(depth[side][0][0]) for side in ("bids", "asks"))
            assert abs(bid / Decimal(one.price) - 1) < Decimal("0.01")
            assert bid < ask
            assert bid % Decimal(one.tick) == 0
            status, quote = await client.call("GET", "/fapi/v1/ticker/bookTicker", signed=False, symbol=one.symbol)
            assert (status, quote["symbol"]) == (200, one.symbol)
        status, quotes = await client.call("GET", "/fapi/v1/ticker/bookTicker", signed=False)
        assert [row["symbol"] for row in quotes] == ["BTCUSDT", *NAMES]
        status, trades = await client.call("GET", "/fapi/v1/trades", signed=False, symbol="ETHUSDT")
        assert status == 200
        assert all(2_500 < float(trade["price"]) < 2_700 for trade in trades)
        status, answer = await client.call("GET", "/fapi/v1/depth", signed=False, symbol="SOLUSDT")
        assert (status, answer["code"]) == (400, -1121)


async def test_orders_on_them_are_refused(serve) -> None:
    async with serve(also=ALSO) as client:
        for path in ("/fapi/v1/order", "/fapi/v1/order/test"):
            status, answer = await client.call(
                "POST", path, symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="1", price="2600"
            )
            assert (status, answer["code"]) == (400, -4140)


async def test_all_streams_come_in_order_of_time_and_each_is_bridged(serve) -> None:
    async with (
        serve(also=ALSO) as client,
        connect(
            stream_url(client.server.ws_url, "BTCUSDT", *NAMES), compression=None, max_size=None, close_timeout=0.2
        ) as socket,
    ):
        while not client.server.exchange.hub.listeners:
            await asyncio.sleep(0.005)
        ids = {}
        for name in NAMES:
            _, depth = await client.call("GET", "/fapi/v1/depth", signed=False, symbol=name, limit=1000)
            ids[name] = depth["lastUpdateId"]
        sent = client.server.exchange.sent
        await client.clock(paused=False, speed_milli=20_000)
        last, kinds, bridged, traded = 0, set(), {}, 0
        while len(bridged) < len(NAMES) or len(kinds) < 12:
            data = orjson.loads(await asyncio.wait_for(socket.recv(decode=False), 20))["data"]
            assert data["E"] >= last - 3, "the wire takes up to 2 ms"
            last = max(last, data["E"])
            kinds.add((data["s"], data["e"]))
            traded += data["s"] == "BTCUSDT"
            if data["e"] == "depthUpdate" and data["s"] in ids and data["u"] >= ids[data["s"]]:
                first = bridged.setdefault(data["s"], data)
                assert first["U"] <= ids[data["s"]] + 1 or first["pu"] <= ids[data["s"]]
        assert client.server.exchange.sent - sent >= traded, "what is counted as sent is the traded market's"


async def test_the_traded_market_is_the_same_with_and_without_them(serve) -> None:
    def market_of(client):
        book = client.server.exchange.venue.book
        return book.last_id, book.quote, list(book.levels(bids=True)), client.server.exchange.sent

    async with serve() as alone, serve(also=ALSO) as beside:
        assert market_of(alone) == market_of(beside)


@pytest.mark.parametrize(
    ("also", "said"),
    [("99", "there are"), ("NOPE", "no symbol 'NOPE'"), ("ETHUSDT,,SOLUSDT", "no symbol ''")],
)
def test_wrong_symbols_are_one_line(also, said) -> None:
    done = CliRunner().invoke(command, ["--seed", "1", "--duration", "5", "--port", "0", "--also", also])
    assert isinstance(done.exception, ValueError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
