"""A UTC day of posts into the lake, each hashtag from the last page read on; a run that stops is gone on with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.lake import Lake
from bot4_platform.sources.days import is_past
from bot4_platform.sources.errors import BadPage
from bot4_platform.sources.http import SourceClient, host_of
from bot4_platform.sources.progress import Progress, Tell, silent
from bot4_platform.sources.publication import Publication
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.sentiment import Scorer, scorer
from bot4_platform.sources.social.mastodon import Status, first_id, timeline
from bot4_platform.sources.social.settings import SocialSettings
from bot4_platform.sources.social.spam import LINK, Spam
from bot4_platform.sources.state import Cursor, add_rows
from bot4_platform.sources.text import coins
from bot4_platform.sources.validation import rejected_page

SOURCE = "social"
SCOPE = "social:ALL"
TABLE = "social_posts"


@dataclass
class SocialResult:
    """What a run did."""

    added: int = 0
    rows: int = 0
    pages: int = 0
    rejected: int = 0


def publication(settings: SocialSettings) -> Publication:
    """Return the lag of a post."""
    return Publication(settings.lag_s * 10**9, "a post is in the hashtag's timeline within this time")


def read_day(
    lake: Lake, client: SourceClient, settings: SocialSettings, day: str, *, now: Callable[[], int], tell: Tell = silent
) -> SocialResult:
    """Add the posts of a UTC day and return what was done; each page is in the lake before the next is asked for.

    Raises SourceUnavailable, SourceRefused, BadPage (quarantined too) and NoModel.
    """
    score = scorer(settings.model_dir)
    result = SocialResult()
    network = f"mastodon:{host_of(settings.url).rpartition(':')[0]}"
    start = day_start_ns(day)
    cursor = Cursor.of(lake, f"social:{day}")
    if not lake.exists(TABLE, day, SCOPE):
        cursor.move({})  # of a partition that is gone
    for number, tag in enumerate(settings.tags):
        after = max(first_id(start) - 1, int(cursor.read().get(f"{network}/{tag}", 0)))
        try:
            for posts, rejected, newest in timeline(client, settings, tag, after, first_id(start + DAY_NS), now()):
                result.pages += 1
                result.rejected += len(rejected)
                quarantine(lake, SOURCE, day, SCOPE, rejected, now_ns=now())
                todays = [post for post in posts if start <= post.created_at_ns < start + DAY_NS]
                result.added += _add(lake, settings, day, network, todays, now(), score)
                if newest:
                    cursor.move(cursor.read() | {f"{network}/{tag}": newest})
                tell(Progress(SOURCE, number, len(settings.tags), result.added, result.pages, result.rejected))
        except BadPage as page:
            quarantine(lake, SOURCE, day, SCOPE, [rejected_page(page)], now_ns=now())
            raise
    result.rows = lake.read(TABLE, day, SCOPE, columns=["id"]).height
    return result


def _add(
    lake: Lake, settings: SocialSettings, day: str, network: str, posts: list[Status], now_ns: int, score: Scorer
) -> int:
    """Add the posts that are new, also none of them; return how many."""
    import polars as pl

    from bot4_platform.tables import TABLES

    spec = TABLES[TABLE]
    stored = lake.read(TABLE, day, SCOPE) if lake.exists(TABLE, day, SCOPE) else spec.empty()
    known, judge = set(stored["id"]), Spam()
    before = deque(stored.sort("event_ns", "id").select("event_ns", "author", "text").rows())
    lag, backfill, host = publication(settings), is_past(day, now_ns), network.partition(":")[2]
    fresh = sorted(
        (post for post in posts if f"{network}:{post.id}" not in known), key=lambda post: (post.created_at_ns, post.id)
    )  # fmt: skip
    texts = [post.text for post in fresh]
    rows: list[dict[str, Any]] = []
    for post, text, sentiment in zip(fresh, texts, score.score(texts), strict=True):
        while before and before[0][0] < post.created_at_ns:
            judge.count(*before.popleft()[1:])
        author = post.author(host)
        rows.append(
            {
                "id": f"{network}:{post.id}", "event_ns": post.created_at_ns,
                "created_ns": lag.created_ns(post.created_at_ns, now_ns, backfill=backfill), "network": network,
                "author": author, "text": text, "language": post.language or "",
                "tags": ",".join(sorted({tag.name.lower() for tag in post.tags})), "coins": coins(text),
                "links": len(LINK.findall(text)), "spam": ",".join(judge.reasons(post, author, text)),
                "sentiment": sentiment, "scorer": score.name,
            }
        )  # fmt: skip
    add_rows(lake, TABLE, day, SCOPE, pl.DataFrame(rows, schema=spec.schema()))
    return len(rows)
