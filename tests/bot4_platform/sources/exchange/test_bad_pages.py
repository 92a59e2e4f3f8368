"""Every kind of bad answer to a question about history: quarantined with a reason, the rest of the page kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.clock import day_start_ns
from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceRefused, SourceUnavailable
from bot4_platform.sources.exchange.candles import CandleDay, fetch_candles
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.funding import fetch_funding
from bot4_platform.sources.exchange.trades import fetch_trades
from bot4_platform.sources.settings import HttpSettings
from tests.http_script import Answer, Script, serve
from tests.local_exchange import MARKET

from .conftest import exchange_info

Connect = Callable[..., HistoryClient]
DAY = "2024-08-09"
START_MS = day_start_ns(DAY) // 10**6
NOW_MS = START_MS + 5 * 60_000  # five minutes are over
KLINES, TRADES, FUNDING = "/fapi/v1/klines", "/fapi/v1/aggTrades", "/fapi/v1/fundingRate"


def kline(minute: int, *, at_ms: int | None = None, **wrong: Any) -> list[Any]:
    """Return a good row, but for what is wrong by column."""
    at = START_MS + minute * 60_000 if at_ms is None else at_ms
    row = [at, "61000.1", "61010.0", "60990.0", "61005.5", "12.345", at + 59_999, "0", 5, "0", "0", "0"]
    for column, value in wrong.items():
        row[["at", "open", "high", "low", "close", "volume"].index(column)] = value
    return row


def trade(number: int, **wrong: Any) -> dict[str, Any]:
    return {"a": number, "p": "61000.1", "q": "0.5", "f": 1, "l": 1, "T": START_MS + number, "m": False} | wrong


@pytest.fixture(scope="module")
def server() -> Iterator[Script]:
    with serve() as script:
        yield script


@pytest.fixture(scope="module")
def client(server: Script) -> Iterator[HistoryClient]:
    """Return a client that all tests share: it takes longer to make than a day to fetch."""
    dressed(server)
    made = HistoryClient(MARKET, HttpSettings(per_s=1000, first_wait_s=0.001), endpoint=server.url, budget=False)
    yield made
    made.close()


@pytest.fixture
def venue(server: Script) -> Script:
    """Return a venue that lists its market and tells the time; all else is the test's."""
    return dressed(server)


def dressed(script: Script) -> Script:
    script.asked.clear()
    script.by_path = {
        "/fapi/v1/exchangeInfo": [Answer(exchange_info())],
        "/fapi/v1/time": [Answer(json.dumps({"serverTime": NOW_MS}).encode())],
    }
    return script


def answer(rows: Any) -> list[Answer]:
    return [Answer(json.dumps(rows).encode())]


def fetch(client: HistoryClient, folder: Path) -> tuple[Lake, CandleDay]:
    lake = Lake(folder)
    return lake, fetch_candles(lake, client, DAY, MARKET, confirm_after_s=0)


def rules(lake: Lake) -> list[str]:
    return sorted(lake.read("source_quarantine")["rule"])


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (kline(2)[:4], "schema"),
        ({"openTime": START_MS + 120_000, "open": "61000.1"}, "schema"),
        (kline(2, close=None), "schema"),
        (kline(2, open="about 61000"), "schema"),
        (kline(2, at="yesterday"), "schema"),
        ("a row that is a text", "schema"),
        (None, "schema"),
        (kline(2, high="NaN"), "not_finite"),
        (kline(2, volume=float("nan")), "not_finite"),  # a bare NaN, which is no JSON
        (kline(2, high="Infinity"), "not_finite"),
        (kline(2, low="-5"), "negative"),
        (kline(2, volume="-0.001"), "negative"),
        (kline(2, at_ms=NOW_MS + 3_600_000), "future"),
        (kline(2, at_ms=10**17), "future"),
        (kline(2, at_ms=START_MS + 120_001), "grid"),
        (kline(2, low="0"), "price"),
        (kline(2, high="61000.0"), "ohlc"),
        (kline(2, open="61000.15"), "tick"),
        (kline(2, volume="0.0001"), "lot"),
        (kline(2, high="1e40"), "tick"),
    ],
)
def test_a_bad_row_is_quarantined_and_the_rest_stays(
    venue: Script, client: HistoryClient, tmp_path: Path, bad: Any, rule: str
) -> None:
    venue.by_path[KLINES] = answer([kline(0), kline(1), bad, kline(3), kline(4)])
    lake, done = fetch(client, tmp_path)
    assert [(item.rule, bool(item.reason)) for item in done.rejected] == [(rule, True)]
    kept = lake.read("source_quarantine")["raw"][0].decode()
    assert kept.replace('"NaN"', "NaN") == (bad if isinstance(bad, str) else json.dumps(bad).replace('"NaN"', "NaN"))
    assert (lake.read("history_candles_1m")["minute_ns"] // 10**6 - START_MS).to_list() == [0, 60_000, 180_000, 240_000]
    assert [(gap.first_ns // 10**6 - START_MS, gap.minutes) for gap in done.gaps] == [(120_000, 1)]
    told = isinstance(bad, list) and str(bad[0]).startswith(str(START_MS + 120_000)[:-3])
    assert done.gaps[0].cause == ("quarantined" if told else "unconfirmed")


HTML = b"<!DOCTYPE html><html><title>502</title><body>We will be back soon</body></html>"


@pytest.mark.parametrize(
    ("page", "rule"),
    [
        (Answer(HTML, headers={"Content-Type": "text/html"}), "html"),
        (Answer(HTML), "html"),
        (Answer(json.dumps([kline(0)]).encode()[:-9]), "not_json"),
        (Answer(b""), "not_json"),
        (Answer(b'{"rows": []}'), "schema"),
        (Answer(b"[" + b'"enormous",' * 20_000 + b'""]'), "too_large"),
    ],
)
def test_a_bad_page_is_quarantined_whole_and_asked_for_again(
    venue: Script, connect: Connect, tmp_path: Path, page: Answer, rule: str
) -> None:
    good = answer([kline(n) for n in range(5)])
    venue.by_path[KLINES] = [page, *good]
    lake, done = fetch(connect(venue.url, budget=False, page_mb=0.1), tmp_path)
    assert rules(lake) == [rule]
    assert [(gap.minutes, gap.cause) for gap in done.gaps] == [(5, "quarantined")]
    again = fetch_candles(lake, connect(venue.url, budget=False), DAY, MARKET)
    assert (again.added, again.gaps, again.rejected) == (5, [], [])
    assert rules(lake) == [rule], "what came once is kept"


def test_rows_twice_out_of_order_and_not_asked_for(venue: Script, client: HistoryClient, tmp_path: Path) -> None:
    other = kline(1, open="61001.0")
    venue.by_path[KLINES] = answer([kline(3), kline(1), other, kline(0), kline(5), kline(4), kline(2), kline(-1)])
    lake, done = fetch(client, tmp_path)
    frame = lake.read("history_candles_1m")
    assert (frame["minute_ns"] // 10**6 - START_MS).to_list() == [n * 60_000 for n in range(5)], "minute 5 is not over"
    assert frame["open"][1] == 610_001, "the first of two"
    assert done.gaps == []


def test_a_listing_or_a_time_that_is_none_is_quarantined(venue: Script, connect: Connect, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for path, bad in (("/fapi/v1/exchangeInfo", HTML), ("/fapi/v1/time", b'{"serverTime": -5}')):
        dressed(venue).by_path[path] = [Answer(bad)]
        with pytest.raises(SourceUnavailable, match="quarantined"):
            fetch_candles(lake, connect(venue.url, budget=False), DAY, MARKET)
    found = [lake.read("source_quarantine", day) for day, _ in lake.partitions("source_quarantine")]
    assert sorted(rule for frame in found for rule in frame["rule"]) == ["html", "schema"]
    assert not lake.exists("history_candles_1m", DAY, MARKET)


def test_a_refusal_says_why(venue: Script, client: HistoryClient, tmp_path: Path) -> None:
    venue.by_path[KLINES] = [Answer(b'{"code": -1121, "msg": "Invalid symbol."}', 400)]
    with pytest.raises(SourceRefused, match="Invalid symbol"):
        fetch(client, tmp_path)
    assert venue.asked.count(venue.asked[-1]) == 1


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"a": 2, "T": START_MS}, "schema"),
        (trade(2, a="x7"), "schema"),
        (trade(2, p="NaN"), "not_finite"),
        (trade(2, q="-1"), "negative"),
        (trade(2, T=NOW_MS + 10**7), "future"),
        (trade(2, p="61000.123"), "tick"),
        (trade(2, q="0"), "price"),
    ],
)
def test_a_bad_trade(venue: Script, client: HistoryClient, tmp_path: Path, bad: Any, rule: str) -> None:
    lake = Lake(tmp_path)
    venue.by_path[TRADES] = [*answer([trade(1), bad, trade(3)]), *answer([])]
    done = fetch_trades(lake, client, DAY, MARKET)
    assert (done.rejected, rules(lake)) == (1, [rule])
    assert lake.read("history_trades")["id"].to_list() == ["1", "3"]
    assert done.missing_ids == 1


def test_a_bad_page_of_trades_stops_the_day_and_the_next_run_goes_on(
    venue: Script, client: HistoryClient, tmp_path: Path
) -> None:
    lake = Lake(tmp_path)
    venue.by_path[TRADES] = [*answer([trade(1), trade(2)]), Answer(HTML), *answer([trade(3)]), *answer([])]
    with pytest.raises(SourceUnavailable, match="quarantined"):
        fetch_trades(lake, client, DAY, MARKET)
    assert rules(lake) == ["html"]
    assert fetch_trades(lake, client, DAY, MARKET).missing_ids == 0
    assert lake.read("history_trades")["id"].to_list() == ["1", "2", "3"]


def test_a_first_page_without_a_readable_row_is_not_passed_over(
    venue: Script, client: HistoryClient, tmp_path: Path
) -> None:
    lake = Lake(tmp_path)
    venue.by_path[TRADES] = [*answer([trade(1, p="x"), trade(2, p="y")]), *answer([trade(1), trade(2)]), *answer([])]
    with pytest.raises(SourceUnavailable, match="no row of the first page"):
        fetch_trades(lake, client, DAY, MARKET)
    assert b'"p": "y"' in lake.read("source_quarantine")["raw"][0]
    assert fetch_trades(lake, client, DAY, MARKET).added == 2


def test_bad_funding(venue: Script, client: HistoryClient, tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def row(rate: Any, at: int = START_MS) -> dict[str, Any]:
        return {"symbol": "BTCUSDT", "fundingRate": rate, "fundingTime": at, "markPrice": "61000.0"}

    wrong = [row("NaN"), row("2.5"), row(None), row("0.0001", NOW_MS + 3_600_000), {"symbol": "BTCUSDT"}]
    venue.by_path[FUNDING] = answer([*wrong, row("-0.00012500")])
    done = fetch_funding(lake, client, DAY, MARKET)
    assert rules(lake) == ["future", "not_finite", "rate", "schema", "schema"]
    assert done.rates == [(START_MS, "-0.00012500")]
    assert lake.read("history_funding").select("rate", "rate_decimals").rows() == [(-12_500, 8)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(["openTime", "open", "x"]), inner),
    max_leaves=10,
)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(JSON, max_size=5))
def test_whatever_the_venue_sends_the_day_is_accounted_for(
    server: Script, client: HistoryClient, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    dressed(server).by_path[KLINES] = answer([kline(0), *rows, kline(4)])
    lake, done = fetch(client, tmp_path_factory.mktemp("fuzz"))
    assert lake.read("history_candles_1m").height + sum(gap.minutes for gap in done.gaps) == 5
    assert lake.read("history_candles_1m").height >= 2
