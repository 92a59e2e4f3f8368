"""News of a day: conditional requests, copies, arrival and lag, feeds that fail beside feeds that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceUnavailable
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.local.feeds import FeedServer, Story, make_stories
from bot4_platform.sources.local.http import HTML, Reply
from bot4_platform.sources.news.day import SCOPE, TABLE, NewsResult, read_day
from bot4_platform.sources.news.settings import Feed, NewsSettings

DAY = "2024-08-08"
START_S = 1_723_075_200
LATER_NS = (START_S + 10 * 86_400) * 10**9


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def settings_of(server: FeedServer) -> NewsSettings:
    kinds = {"desk": "rss", "wire": "atom"}
    feeds = [Feed(name=name, url=f"{server.url}/{kinds[name]}/{name}", weight=0.8) for name in server.stories]
    return NewsSettings(feeds=tuple(feeds))


def read(lake: Lake, client: SourceClient, server: FeedServer, now_ns: int = LATER_NS, day: str = DAY) -> NewsResult:
    return read_day(lake, client, settings_of(server), day, now=lambda: now_ns)


def test_every_story_of_the_day_once(lake: Lake, client: Callable[..., SourceClient]) -> None:
    stories = make_stories(1, START_S - 7200, 60)
    copy = Story("other", stories[20].link.replace("rss", "atom"), stories[20].title, "", stories[20].time_s + 60)
    wire = [*make_stories(2, START_S, 10), copy]
    with FeedServer({"desk": stories, "wire": wire}) as server:
        result = read(lake, client(), server)
        todays = [one for one in stories + wire[:-1] if START_S <= one.time_s < START_S + 86_400]
        frame = lake.read(TABLE, DAY, SCOPE)
        assert sorted(frame["title"]) == sorted(one.title for one in todays)
        assert (result.feeds, result.copies, result.added, result.rejected) == (2, 1, len(todays), 0)
        assert ((frame["created_ns"] - frame["event_ns"]) == 300 * 10**9).all()
        assert frame["impact"].is_between(0, 0.8).all()
        assert {"BTC", "ETH"} <= set(",".join(frame["coins"]).split(","))
        before = lake.path(TABLE, DAY, SCOPE).read_bytes()
        again = read(lake, client(), server)
        assert (again.added, again.unchanged) == (0, 2)
        assert lake.path(TABLE, DAY, SCOPE).read_bytes() == before


def test_an_unchanged_feed_is_not_sent_again_and_other_days_lose_nothing(
    lake: Lake, client: Callable[..., SourceClient]
) -> None:
    with FeedServer({"desk": make_stories(1, START_S, 80)}) as server:
        read(lake, client(), server)
        result = read(lake, client(), server, day="2024-08-09")
        assert result.unchanged == 1
        assert result.rows > 20
        assert server.seen[-1].headers["if-none-match"]
        server.stories["desk"] = make_stories(1, START_S, 81)
        assert read(lake, client(), server, day="2024-08-09").added == 1


def test_today_is_known_from_its_arrival(lake: Lake, client: Callable[..., SourceClient]) -> None:
    now = (START_S + 8 * 3600) * 10**9
    with FeedServer({"desk": make_stories(1, START_S, 10)}) as server:
        read(lake, client(), server, now)
        server.stories["desk"] = make_stories(1, START_S, 12)
        read(lake, client(), server, now + 3600 * 10**9)
        frame = lake.read(TABLE, DAY, SCOPE)
        assert sorted(set(frame["created_ns"])) == [now, now + 3600 * 10**9]
        assert frame.filter(frame["created_ns"] > now).height == 2


def test_a_feed_that_fails_does_not_stop_the_others(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with FeedServer({"desk": make_stories(1, START_S, 10), "wire": make_stories(2, START_S, 10)}) as server:
        server.fail_next(HTML)
        result = read(lake, client(), server)
        assert result.feeds == 1
        assert result.failed == {"desk": "neither RSS nor Atom came"}
        assert lake.read("source_quarantine", DAY)["rule"].to_list() == ["html"]
        assert read(lake, client(), server).added == 10  # a page that could not be read was not remembered


def test_no_feed_at_all_is_an_error(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with FeedServer({"desk": []}) as server:
        server.fail_next(*[Reply(b"", 503)] * 3)
        with pytest.raises(SourceUnavailable, match="desk"):
            read(lake, client(attempts=3), server)


def test_a_limit_is_waited_for(lake: Lake, client: Callable[..., SourceClient], hands) -> None:
    with FeedServer({"desk": make_stories(1, START_S, 10)}) as server:
        server.fail_next(Reply(b"", 429, headers={"Retry-After": "7"}))
        assert read(lake, client(), server).added == 10
        assert max(hands.slept) >= 6.5


def test_an_enormous_feed_is_cut_off_and_quarantined(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with FeedServer({"desk": make_stories(1, START_S, 10), "wire": make_stories(2, START_S, 9)}) as server:
        server.fail_next(Reply(b"<rss>" + b"x" * 400_000))
        assert read(lake, client(page_mb=0.2), server).added == 9
        assert lake.read("source_quarantine", DAY)["rule"].to_list() == ["too_large"]
