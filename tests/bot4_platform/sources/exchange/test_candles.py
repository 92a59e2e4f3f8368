"""Candles of the local exchange through ccxt: exact, asked for once, gaps reported and never filled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests

from bot4_live.clock import day_start_ns
from bot4_live.simulation.past import seeded_outages
from bot4_live.simulation.server import Server
from bot4_platform.lake import Lake
from bot4_platform.sources.exchange.candles import _windows, fetch_candles
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.gaps import MINUTE_NS, find_gaps, report
from tests.local_exchange import MARKET, NOW_MS, local_exchange

Connect = Callable[..., HistoryClient]
DAY = "2024-08-07"


def test_a_day_is_what_the_venue_says_to_the_digit(quiet_exchange: Server, connect: Connect, tmp_path: Path) -> None:
    lake, client = Lake(tmp_path), connect(quiet_exchange.rest_url)
    done = fetch_candles(lake, client, DAY, MARKET)
    frame = lake.read("history_candles_1m", DAY, MARKET)
    assert (done.added, done.gaps, done.rejected, frame.height) == (1440, [], [], 1440)
    start = day_start_ns(DAY) // 10**6
    rows: list[Any] = requests.get(
        f"{quiet_exchange.rest_url}/fapi/v1/klines",
        {"symbol": "BTCUSDT", "interval": "1m", "startTime": start, "limit": 1440}, timeout=10,
    ).json()  # fmt: skip
    wanted = [[row[0] * 10**6, *(int(Decimal(x) * 10) for x in row[1:5]), int(Decimal(row[5]) * 1000)] for row in rows]
    names = ["minute_ns", "open", "high", "low", "close", "volume"]
    assert frame.select(names).rows() == [tuple(row) for row in wanted]
    assert set(frame.select("tick_e8", "lot_e8").rows()) == {(10_000_000, 100_000)}
    assert (frame["event_ns"] == frame["minute_ns"] + MINUTE_NS).all()
    assert (frame["created_ns"] == frame["event_ns"] + 2 * 10**9).all()
    asked = client.requests
    assert fetch_candles(lake, client, DAY, MARKET).added == 0
    assert client.requests == asked + 1, "the venue's time, and no candle again"


def test_today_grows_by_closed_minutes_only(connect: Connect, tmp_path: Path) -> None:
    lake, today = Lake(tmp_path), "2024-08-09"
    with local_exchange(paused=False, speed_milli=1000) as server:
        client = connect(server.rest_url)
        first = fetch_candles(lake, client, today, MARKET)
        assert first.added == 720
        assert first.gaps == []
        last = lake.read("history_candles_1m", today, MARKET)["minute_ns"].max()
        assert last == NOW_MS // 60_000 * MINUTE_NS - MINUTE_NS
        server.exchange.time.set(speed_milli=1_000_000)
        while server.exchange.now_ms() < NOW_MS + 300_000:
            pass
        server.exchange.time.set(paused=True)
        second = fetch_candles(lake, client, today, MARKET)
        closed = server.exchange.now_ms() // 60_000
        assert second.added == closed - NOW_MS // 60_000 >= 5
        assert lake.read("history_candles_1m", today, MARKET).height == 720 + second.added


def test_outages_are_reported_never_filled_and_confirmed_later(connect: Connect, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with local_exchange(outage_seed=11) as server:
        client = connect(server.rest_url)
        out = server.exchange.histories["BTCUSDT"].past.outages
        start, end = day_start_ns(DAY), day_start_ns(DAY) + 1440 * MINUTE_NS
        missing = {at * 10**6 for a, b in out for at in range(a, b, 60_000)}
        inside = {at for at in missing if start <= at < end}
        done = fetch_candles(lake, client, DAY, MARKET)
        assert inside
        assert {gap.cause for gap in done.gaps} == {"unconfirmed"}
        assert sum(gap.minutes for gap in done.gaps) == len(inside)
        frame = lake.read("history_candles_1m", DAY, MARKET)
        assert set(frame["minute_ns"]) | inside == set(range(start, end, MINUTE_NS))
        assert not set(frame["minute_ns"]) & inside
        assert fetch_candles(lake, client, DAY, MARKET).gaps == done.gaps, "too soon to ask"
        sure = fetch_candles(lake, client, DAY, MARKET, confirm_after_s=0).gaps
        assert {(gap.cause, gap.asked) for gap in sure} == {("venue", 2)}
        found = report(lake, MARKET)
        assert [(gap.first_ns, gap.minutes) for gap in found.gaps] == [(gap.first_ns, gap.minutes) for gap in sure]


def test_what_was_lost_on_our_side_is_found_again(quiet_exchange: Server, connect: Connect, tmp_path: Path) -> None:
    lake, client = Lake(tmp_path), connect(quiet_exchange.rest_url)
    fetch_candles(lake, client, DAY, MARKET)
    whole = lake.read("history_candles_1m", DAY, MARKET)
    lake.write("history_candles_1m", DAY, MARKET, pl.concat([whole[:100], whole[103:900], whole[950:]]))
    asked = client.requests
    done = fetch_candles(lake, client, DAY, MARKET)
    assert (done.added, done.gaps) == (53, [])
    assert client.requests - asked == 2, "one page spans both holes"
    assert lake.read("history_candles_1m", DAY, MARKET).equals(whole)


def test_two_at_once_leave_what_one_leaves(quiet_exchange: Server, connect: Connect, tmp_path: Path) -> None:
    alone, shared = Lake(tmp_path / "alone"), Lake(tmp_path / "shared")
    one, two = connect(quiet_exchange.rest_url), connect(quiet_exchange.rest_url)
    fetch_candles(alone, one, DAY, MARKET)
    with ThreadPoolExecutor(2) as both:
        done = [both.submit(fetch_candles, shared, client, DAY, MARKET) for client in (one, two)]
        assert sorted(fetched.result().added for fetched in done) == [0, 1440]
    assert shared.read("history_candles_1m").equals(alone.read("history_candles_1m"))


def test_a_page_asks_for_what_is_missing_and_no_further() -> None:
    minute = MINUTE_NS
    have = {n * minute for n in range(100) if n not in (3, 4, 50, 51)}
    assert list(_windows(have, 0, 100 * minute, 60)) == [(3 * minute, 52 * minute)]
    assert list(_windows(have, 0, 100 * minute, 10)) == [(3 * minute, 5 * minute), (50 * minute, 52 * minute)]
    pages = list(_windows(set(), 0, 1440 * minute, 1000))
    assert pages == [(0, 1000 * minute), (1000 * minute, 1440 * minute)]


def test_seeded_outages_do_not_touch() -> None:
    found = seeded_outages(3, 0, 30 * 86_400_000)
    assert len(found) > 80
    minutes = {at for a, b in found for at in range(a, b, 60_000)}
    assert all(a % 60_000 == b % 60_000 == 0 for a, b in found)
    runs = list(
        find_gaps(
            [at * 10**6 for at in range(0, 30 * 86_400_000, 60_000) if at not in minutes], 0, 30 * 1440 * MINUTE_NS
        )
    )
    assert runs == [(a * 10**6, b * 10**6 - MINUTE_NS) for a, b in found]


def test_a_market_or_venue_that_is_not_there(quiet_exchange: Server, connect: Connect, tmp_path: Path) -> None:
    client = connect(quiet_exchange.rest_url)
    with pytest.raises(ValueError, match="lists no NOPEUSDT"):
        fetch_candles(Lake(tmp_path), client, DAY, "binance_usdm:NOPEUSDT")
    with pytest.raises(ValueError, match="ccxt knows no venue moon"):
        HistoryClient("moon:BTCUSDT", client.policy)
