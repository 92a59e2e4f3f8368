"""A UTC day of news into the lake: every feed asked once, its stories of the day added, copies of a story kept once.

A feed holds its newest stories only: a day can be read back as far as the feeds go, no further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.lake import Lake
from bot4_platform.sources.days import is_past
from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.news.cache import fetch, remember
from bot4_platform.sources.news.feed import Entry, parse_feed
from bot4_platform.sources.news.score import impact
from bot4_platform.sources.news.settings import Feed, NewsSettings
from bot4_platform.sources.progress import Progress, Tell, silent
from bot4_platform.sources.publication import Publication
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.sentiment import lexicon
from bot4_platform.sources.state import add_rows
from bot4_platform.sources.text import coins
from bot4_platform.sources.validation import Rejected, rejected_page

SOURCE = "news"
SCOPE = "news:ALL"
TABLE = "news_items"


@dataclass
class NewsResult:
    """What a run did: feeds asked and unchanged, why others could not be read, stories new and in all."""

    feeds: int = 0
    unchanged: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    added: int = 0
    copies: int = 0
    rows: int = 0
    rejected: int = 0
    oldest_ns: int = 0  # of all stories that the feeds hold now


def publication(settings: NewsSettings) -> Publication:
    """Return the lag of a story."""
    return Publication(settings.lag_s * 10**9, "a feed shows a story within this time of its date")


def read_day(
    lake: Lake, client: SourceClient, settings: NewsSettings, day: str, *, now: Callable[[], int], tell: Tell = silent
) -> NewsResult:
    """Add the stories of a UTC day and return what was done.

    A feed that fails is named in the result and does not keep the others from being read. Raises SourceUnavailable when
    none could be.
    """
    result = NewsResult()
    found: list[tuple[Feed, Entry]] = []
    rejected: list[Rejected] = []
    oldest: list[int] = []
    for feed in settings.feeds:
        try:
            fetched = fetch(lake, client, feed)
            parsed = parse_feed(feed.name, fetched.content, now())
            remember(lake, feed, fetched)
        except BadPage as page:
            rejected.append(rejected_page(page))
            result.failed[feed.name] = page.reason
            continue
        except (SourceUnavailable, SourceRefused) as error:
            result.failed[feed.name] = str(error)
            continue
        result.feeds += 1
        result.unchanged += not fetched.fresh
        rejected += parsed.rejected
        oldest += [entry.published_ns for entry in parsed.entries]
        found += [(feed, entry) for entry in parsed.entries if _within(entry.published_ns, day)]
        tell(Progress(SOURCE, result.feeds, len(settings.feeds), len(found), len(settings.feeds), len(rejected)))
    result.rejected, result.oldest_ns = len(rejected), min(oldest, default=0)
    quarantine(lake, SOURCE, day, SCOPE, rejected, now_ns=now())
    if settings.feeds and not result.feeds:
        raise SourceUnavailable("; ".join(f"{name}: {why}" for name, why in result.failed.items()))
    _add(lake, settings, day, found, now(), result)
    return result


def _within(ns: int, day: str) -> bool:
    return day_start_ns(day) <= ns < day_start_ns(day) + DAY_NS


def _add(
    lake: Lake, settings: NewsSettings, day: str, found: list[tuple[Feed, Entry]], now_ns: int, result: NewsResult
) -> None:
    import polars as pl

    from bot4_platform.tables import TABLES

    spec = TABLES[TABLE]
    stored = lake.read(TABLE, day, SCOPE) if lake.exists(TABLE, day, SCOPE) else spec.empty()
    known = set(stored["id"])
    seen = {Entry("", 0, "", link, title, "").same_as for link, title in stored.select("link", "title").rows()}
    lag, backfill = publication(settings), is_past(day, now_ns)
    rows: list[dict[str, Any]] = []
    for feed, entry in sorted(found, key=lambda one: (one[1].published_ns, -one[0].weight, one[1].id)):
        if entry.id in known:
            continue
        if entry.same_as in seen:
            result.copies += 1
            continue
        known.add(entry.id)
        seen.add(entry.same_as)
        text = f"{entry.title} {entry.summary}"
        scored = impact(entry.title, entry.summary, feed.weight)
        rows.append(
            {
                "id": entry.id, "event_ns": entry.published_ns,
                "created_ns": lag.created_ns(entry.published_ns, now_ns, backfill=backfill), "feed": feed.name,
                "guid": entry.guid, "link": entry.link, "title": entry.title, "summary": entry.summary,
                "categories": ",".join(scored.categories), "terms": ",".join(scored.terms), "impact": scored.score,
                "tone": lexicon().score([entry.title])[0], "coins": coins(text),
            }
        )  # fmt: skip
    result.added = len(rows)
    result.rows = add_rows(lake, TABLE, day, SCOPE, pl.DataFrame(rows, schema=spec.schema())).rows
