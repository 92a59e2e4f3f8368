"""The report's section on sources beyond the market."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bot4_platform.demo import slow_sources
from bot4_platform.lake import Lake
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.local.feeds import FeedServer, make_stories
from bot4_platform.sources.news.day import read_day
from bot4_platform.sources.news.settings import Feed, NewsSettings
from bot4_platform.sources.settings import HttpSettings
from bot4_platform.tables import TABLES

DAY, START_S = "2024-08-08", 1_723_075_200


def test_without_sources_there_is_no_section(tmp_path: Path) -> None:
    assert slow_sources.section(Lake(tmp_path)) == []


def test_the_section_shows_counts_lags_flows_and_headlines(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with FeedServer({"desk": make_stories(1, START_S, 20)}) as server:
        client = SourceClient("news", HttpSettings(), hosts=Hosts(), sleep=lambda _: None)
        settings = NewsSettings(feeds=(Feed(name="desk", url=f"{server.url}/rss/desk"),))
        read_day(lake, client, settings, DAY, now=lambda: (START_S + 200_000) * 10**9)
        client.close()
    row = dict.fromkeys(TABLES["onchain_signals"].columns, 0) | {
        "id": "onchain:2024-08-08T23:45",
        "net_inflow_cents": -(10**10),
    }
    frame = pl.DataFrame([row], schema=TABLES["onchain_signals"].schema())
    lake.write("onchain_signals", DAY, "ethereum:MAINNET", frame)
    ((name, title, text),) = slow_sources.section(lake)
    assert (name, title) == ("sources", "Beyond the market")
    assert "<td>news stories</td>" in text
    assert ">20</td>" in text
    assert ">300</td>" in text
    assert "23:45" in text
    assert "-100.0" in text
    assert "halts withdrawals" in text
