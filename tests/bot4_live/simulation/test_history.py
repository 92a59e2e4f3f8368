"""Klines, aggregate trades and funding of the simulated exchange: ranges, limits, and that they tell one story."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.simulation.further import listings
from bot4_live.simulation.history import MarketHistory, Print, read_candles
from bot4_live.simulation.past import MINUTE_MS, Past, seeded_outages

DAY_MS = 86_400_000
SYMBOL = {"symbol": "BTCUSDT"}


async def get(client: Any, name: str, **params: Any) -> Any:
    status, found = await client.call("GET", f"/fapi/v1/{name}", signed=False, **SYMBOL | params)
    assert status == 200, found
    return found


async def klines(client: Any, **params: Any) -> Any:
    return await get(client, "klines", **{"interval": "1m"} | params)


async def test_klines_are_paged_by_open_time(serve: Any) -> None:
    async with serve() as client:
        now = client.server.exchange.now_ms()
        begin = (now - 3 * DAY_MS) // MINUTE_MS * MINUTE_MS
        day = await klines(client, startTime=begin, limit=1500)
        assert [row[0] for row in day] == [begin + i * MINUTE_MS for i in range(1500)]
        assert (await klines(client, startTime=begin, endTime=begin + 9 * MINUTE_MS)) == day[:10]
        assert (await klines(client, startTime=begin + 1, endTime=begin + 9 * MINUTE_MS - 1)) == day[1:9]
        assert len(await klines(client, startTime=begin)) == 500
        assert (await klines(client, endTime=begin + 9 * MINUTE_MS, limit=4)) == day[6:10]
        latest = await klines(client, limit=3)
        assert latest[-1][0] == now // MINUTE_MS * MINUTE_MS, "the last one is not over"
        assert latest[-1][6] > now
        assert await klines(client, startTime=now + MINUTE_MS) == []
        first = (await klines(client, startTime=0, limit=1))[0][0]
        assert first == client.server.exchange.histories["BTCUSDT"].begin_ms


async def test_candles_and_trades_and_longer_candles_agree(serve: Any) -> None:
    async with serve() as client:
        begin = (client.server.exchange.now_ms() - DAY_MS) // 900_000 * 900_000
        minutes = await klines(client, startTime=begin, limit=15)
        (quarter,) = await klines(client, interval="15m", startTime=begin, limit=1)
        trades = await get(client, "aggTrades", startTime=begin, endTime=begin + 900_000 - 1, limit=1000)
        for row, rows in (
            (minutes[3], [t for t in trades if t["T"] // 60_000 * 60_000 == minutes[3][0]]),
            (quarter, trades),
        ):
            prices = [Decimal(trade["p"]) for trade in rows]
            assert [Decimal(text) for text in row[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
            assert Decimal(row[5]) == sum(Decimal(trade["q"]) for trade in rows)
            assert Decimal(row[7]) == sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in rows)
            assert Decimal(row[9]) == sum(Decimal(trade["q"]) for trade in rows if not trade["m"])
            assert row[8] == len(rows)
        assert [trade["a"] for trade in trades] == list(range(trades[0]["a"], trades[-1]["a"] + 1))
        assert all(a["T"] <= b["T"] for a, b in pairwise(trades))


async def test_trades_by_id_lead_from_the_past_into_the_market(serve: Any) -> None:
    async with serve(paused=False, speed_milli=20_000) as client:
        while not client.server.exchange.ended:
            await asyncio.sleep(0.01)
        recent = await get(client, "aggTrades", limit=1000)
        history = client.server.exchange.histories["BTCUSDT"]
        edge = history.past.next_id
        across = await get(client, "aggTrades", fromId=edge - 5, limit=50)
        assert [trade["a"] for trade in across] == list(range(edge - 5, edge + 45))
        ends = [row[0] for row in await klines(client, limit=5)]
        assert all(b - a == MINUTE_MS for a, b in pairwise(ends))
        (minute,) = await klines(client, startTime=history.past.end_ms // MINUTE_MS * MINUTE_MS, limit=1)
        within = [t for t in history.trades if t.at_ms // MINUTE_MS * MINUTE_MS == minute[0]]
        old = history.past.between(minute[0], history.past.end_ms)
        assert minute[8] == len(within) + len(old.ids)
        assert within
        assert recent[-1]["a"] == history.trades[-1].id


async def test_funding(serve: Any) -> None:
    async with serve() as client:
        now = client.server.exchange.now_ms()
        rows = await get(client, "fundingRate", startTime=now - 10 * DAY_MS, endTime=now)
        assert len(rows) == 30
        assert all(row["fundingTime"] % 28_800_000 == 0 for row in rows)
        assert {len(row["fundingRate"].partition(".")[2]) for row in rows} == {8}
        assert (await get(client, "fundingRate", limit=5)) == rows[-5:]
        assert (await get(client, "fundingRate", startTime=now - 10 * DAY_MS, limit=5)) == rows[:5]
        assert len(await get(client, "fundingRate")) == 100


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("klines", {"interval": "7m"}, -1120),
        ("klines", {}, -1102),
        ("klines", {"interval": "1m", "limit": 1501}, -1130),
        ("klines", {"interval": "1m", "startTime": "x"}, -1102),
        ("klines", {"interval": "1m", "startTime": 2, "endTime": 1}, -1023),
        ("klines", {"interval": "1m", "symbol": "NOPE"}, -1121),
        ("aggTrades", {"startTime": 0, "endTime": 3_600_001}, -4166),
        ("aggTrades", {"limit": 1001}, -1130),
        ("aggTrades", {"fromId": 2**63}, -1102),
        ("klines", {"interval": "1m", "limit": "²"}, -1102),
        ("depth", {"limit": "9" * 5000}, -1102),
        ("fundingRate", {"limit": 0}, -1130),
    ],
)
async def test_refusals(serve: Any, name: str, params: dict[str, Any], code: int) -> None:
    async with serve() as client:
        status, found = await client.call("GET", f"/fapi/v1/{name}", signed=False, **SYMBOL | params)
        assert (status, found["code"]) == (400, code)


async def test_every_market_has_a_past_of_its_own(serve: Any) -> None:
    async with serve(also=listings("ETHUSDT"), also_seed=3) as client:
        begin = client.server.exchange.now_ms() - DAY_MS
        found = [await klines(client, symbol=symbol, startTime=begin, limit=2) for symbol in ("BTCUSDT", "ETHUSDT")]
        assert 50_000 < float(found[0][0][1]) < 70_000
        assert 2_000 < float(found[1][0][1]) < 3_000


@pytest.mark.parametrize("after_s", [0, 20])
async def test_a_further_market_goes_on_where_its_past_ends(serve: Any, market: Any, after_s: int) -> None:
    options = {"from_ns": market.start_ns + after_s * 1_000_000_000, "paused": False, "speed_milli": 100_000}
    async with serve(also=listings("ETHUSDT"), **options) as client:
        while not client.server.exchange.ended:
            await asyncio.sleep(0.01)
        edge = client.server.exchange.histories["ETHUSDT"].past.next_id
        times = [trade["T"] for trade in await get(client, "aggTrades", symbol="ETHUSDT", fromId=edge - 5, limit=10)]
    assert len(times) > 5
    assert all(0 <= b - a <= 8_000 for a, b in pairwise(times)), times


async def test_a_finer_tick_leaves_prices_what_they_were(serve: Any) -> None:
    async with serve() as client:
        begin = client.server.exchange.now_ms() - DAY_MS
        before = await klines(client, startTime=begin, limit=30)
        status, _ = await client.raw(
            "POST", "/bot4/instrument", json={"tick": "0.01"}, headers={"X-Bot4-Token": "token-of-the-test"}
        )
        assert status == 200
        after = await klines(client, startTime=begin, limit=30)
        assert [[Decimal(x) for x in row] for row in after] == [[Decimal(x) for x in row] for row in before]


async def test_an_outage_has_no_candles_and_loses_no_trade(serve: Any) -> None:
    async with serve() as client:
        end = client.server.exchange.histories["BTCUSDT"].past.end_ms
    first = (end - DAY_MS) // MINUTE_MS * MINUTE_MS
    out = (first + 10 * MINUTE_MS, first + 13 * MINUTE_MS)
    async with serve(outages=[out], shift_ms=end - client.server.exchange.source.start_ns // 1_000_000) as client:
        rows = await klines(client, startTime=first, limit=20)
        minutes = [(row[0] - first) // MINUTE_MS for row in rows]
        assert minutes == [*range(10), *range(13, 23)]
        assert rows[10][8] > 50, "those who waited"
        trades = await get(client, "aggTrades", startTime=out[0] - MINUTE_MS, endTime=out[1] + MINUTE_MS)
        assert [trade["a"] for trade in trades] == list(range(trades[0]["a"], trades[-1]["a"] + 1))
        assert (await klines(client, endTime=first + 15 * MINUTE_MS, limit=10))[0][0] == first + 3 * MINUTE_MS


def test_the_past_is_the_same_however_it_is_asked_for() -> None:
    past = Past(
        7, 1_723_204_800_000, 618_000, 5_000_000_000, outages=seeded_outages(7, 1_722_000_000_000, 1_723_204_800_000)
    )
    begin = past.end_ms - 2 * DAY_MS
    whole = past.between(begin, begin + DAY_MS)
    parts = [past.between(begin + h * 3_600_000, begin + (h + 1) * 3_600_000) for h in range(24)]
    for name in vars(whole):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    by_id = past.trades(int(whole.ids[0]), int(whole.ids[-1]))
    assert np.array_equal(by_id.times_ms, whole.times_ms)
    assert np.array_equal(np.diff(whole.ids), np.ones(len(whole.ids) - 1))
    assert (np.diff(whole.times_ms) >= 0).all()
    assert 0.002 < whole.ticks.std() / whole.ticks.mean() < 0.05


def test_the_minute_in_which_the_market_begins_counts_once() -> None:
    """Also where it is the first of a longer candle that there is."""
    begin = 1_723_204_800_000 + 2 * MINUTE_MS
    history = MarketHistory(BTCUSDT_USDM, Past(7, begin + 30_000, 618_000, 5_000_000, days=0))
    for i in range(20):
        history.add(Print(5_000_000 + i, begin + 31_000 + i * 5_000, 618_000 + i, 100, sells=False))
    now = begin + 2 * MINUTE_MS + 30_000
    minutes = list(history.candles(0, now, MINUTE_MS, now))
    (longer,) = history.candles(0, now, 5 * MINUTE_MS, now)
    assert [minute.trades for minute in minutes[1:]] == [12, 2]
    assert longer.trades == sum(minute.trades for minute in minutes) > 20
    assert longer.volume == sum(minute.volume for minute in minutes)


def test_a_file_of_candles(tmp_path: Path) -> None:
    file = tmp_path / "candles.csv"
    file.write_text("time_ms,open,high,low,close,volume\n60000,100.0,101,99.9,100.5,1.5\n180000,1,1,1,1,0\n")
    found = read_candles(file, BTCUSDT_USDM)
    assert sorted(found) == [60_000, 180_000]
    assert (found[60_000].high, found[60_000].volume) == (1010, 1500)
    for line in ("x,1,1,1,1,1", "60000,1,1,1,1", "60001,1,1,1,1,1", "60000,1,0.5,1,1,1", "60000,0.01,1,1,1,1"):
        file.write_text(f"60000,1,1,1,1,1\n{line}\n")
        with pytest.raises(ValueError, match="line 2"):
            read_candles(file, BTCUSDT_USDM)
    file.write_text("time_ms,open,high,low,close,volume\n")
    with pytest.raises(ValueError, match="holds no candles"):
        read_candles(file, BTCUSDT_USDM)
