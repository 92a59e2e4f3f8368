"""Trades and funding of the local exchange through ccxt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot4_live.clock import day_start_ns
from bot4_live.simulation.server import Server
from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceUnavailable
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.funding import fetch_funding
from bot4_platform.sources.exchange.trades import Spool, fetch_trades
from tests.local_exchange import MARKET

Connect = Callable[..., HistoryClient]
DAY = "2024-08-09"  # half a day: it ends at the exchange's now


def test_a_day_of_trades_is_whole_and_goes_on_where_it_stopped(
    quiet_exchange: Server, connect: Connect, tmp_path: Path
) -> None:
    lake, client = Lake(tmp_path), connect(quiet_exchange.rest_url)
    told = []
    done = fetch_trades(lake, client, DAY, MARKET, pages=3, tell=told.append)
    past = quiet_exchange.exchange.histories["BTCUSDT"].past
    wanted = past.between(day_start_ns(DAY) // 10**6, past.end_ms)
    frame = lake.read("history_trades", DAY, MARKET)
    old = frame.filter(frame["id"].cast(int) < past.next_id)
    assert old["id"].cast(int).to_list() == wanted.ids.tolist()
    assert old["price"].to_list() == wanted.ticks.tolist()
    assert old["qty"].to_list() == wanted.lots.tolist()
    assert old["sell"].to_list() == wanted.sells.tolist()
    assert frame.height - old.height == len(quiet_exchange.exchange.histories["BTCUSDT"].trades)
    assert (done.missing_ids, done.rejected) == (0, 0)
    assert len(told) > 2
    assert not list((lake.root / ".spool").rglob("*.parquet"))
    again = fetch_trades(lake, client, DAY, MARKET)
    assert (again.added, again.requests) == (0, 2)
    assert lake.read("history_trades", DAY, MARKET).equals(frame)


def test_a_fetch_that_died_goes_on_from_its_spool(
    quiet_exchange: Server, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Lake(tmp_path / "whole")
    fetch_trades(whole, connect(quiet_exchange.rest_url), DAY, MARKET)
    lake, client = Lake(tmp_path / "torn"), connect(quiet_exchange.rest_url)
    asked = client.trades

    def few(market: str, **options: object) -> object:
        if client.requests > 7:
            raise SourceUnavailable("the wire was cut")
        return asked(market, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "trades", few)
    with pytest.raises(SourceUnavailable, match="cut"):
        fetch_trades(lake, client, DAY, MARKET, pages=2)
    spool = Spool(lake.root / ".spool" / "history_trades" / DAY / "binance_usdm_BTCUSDT")
    assert len(spool.read()) == 3, "six pages"
    rest = connect(quiet_exchange.rest_url)
    done = fetch_trades(lake, rest, DAY, MARKET)
    assert done.missing_ids == 0
    assert done.requests < fetch_pages(whole)
    assert lake.read("history_trades").equals(whole.read("history_trades"))


def fetch_pages(lake: Lake) -> int:
    return lake.read("history_trades").height // 1000 + 3


def test_funding_is_kept_to_the_digit(quiet_exchange: Server, connect: Connect, tmp_path: Path) -> None:
    lake, client = Lake(tmp_path), connect(quiet_exchange.rest_url)
    done = fetch_funding(lake, client, "2024-08-07", MARKET)
    frame = lake.read("history_funding", "2024-08-07", MARKET)
    start = day_start_ns("2024-08-07")
    assert (frame["event_ns"] - start).to_list() == [0, 8 * 3600 * 10**9, 16 * 3600 * 10**9]
    assert frame["rate_decimals"].to_list() == [8] * 3
    past = quiet_exchange.exchange.histories["BTCUSDT"].past
    assert frame["rate"].to_list() == past.funding((frame["id"]).to_numpy()).tolist()
    assert [f"{rate}" for _, rate in done.rates] == [f"{n / 1e8:.8f}" for n in frame["rate"]]
    assert (frame["created_ns"] > frame["event_ns"]).all()
    fetch_funding(lake, client, "2024-08-07", MARKET)
    assert lake.read("history_funding", "2024-08-07", MARKET).equals(frame)
