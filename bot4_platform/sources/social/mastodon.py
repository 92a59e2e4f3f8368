"""Hashtag timelines of a Mastodon server, forwards in time.

`GET /api/v1/timelines/tag/:hashtag` with `min_id` gives the posts right after an id, newest first, 40 at most
(docs.joinmastodon.org, methods/timelines, api/guidelines). Ids are times: milliseconds shifted by 16 bits
(Mastodon::Snowflake), so a day begins at an id that can be computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from bot4_platform.sources.errors import BadPage, SourceRefused
from bot4_platform.sources.http import SHOWN, Page, SourceClient, host_of
from bot4_platform.sources.social.settings import SocialSettings
from bot4_platform.sources.text import plain
from bot4_platform.sources.validation import FUTURE_NS, Rejected, check_rows

PAGE = 40
TEXT = 1000  # characters kept of a post
Count = Annotated[int, msgspec.Meta(ge=0)]
Id = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$")]


class Account(msgspec.Struct, frozen=True):
    """What of an account is looked at."""

    acct: Annotated[str, msgspec.Meta(min_length=1)]
    created_at: datetime
    followers_count: Count
    bot: bool = False


class Hashtag(msgspec.Struct, frozen=True):
    """A hashtag of a post."""

    name: str


class Status(msgspec.Struct, frozen=True):
    """What of a post is read."""

    id: Id
    created_at: datetime
    content: str
    account: Account
    visibility: str
    tags: list[Hashtag]
    language: str | None = None
    spoiler_text: str = ""

    @property
    def created_at_ns(self) -> int:
        """Return its time."""
        return nanoseconds(self.created_at)

    @property
    def text(self) -> str:
        """Return what it says, the warning before it first."""
        return plain(f"{self.spoiler_text} {self.content}", TEXT)

    def author(self, host: str) -> str:
        """Return a digest for its author: enough to count voices."""
        name = self.account.acct if "@" in self.account.acct else f"{self.account.acct}@{host}"
        return hashlib.sha256(name.lower().encode()).hexdigest()[:16]


def nanoseconds(at: datetime) -> int:
    """Return a time in ns; one without a zone is UTC. Exact to the microsecond."""
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def first_id(ns: int) -> int:
    """Return the smallest id that a post of this time can have."""
    return ns // 1_000_000 << 16


def timeline(
    client: SourceClient, settings: SocialSettings, tag: str, after: int, before: int, now_ns: int
) -> Iterator[tuple[list[Status], list[Rejected], int]]:
    """Yield (posts with ids in (after, before), rejected, newest id) a page, oldest page first, each oldest post first.

    Ends at `before`, at the newest post, or after `most_pages`. Raises BadPage, SourceRefused, SourceUnavailable.
    """
    url = f"{settings.url.rstrip('/')}/api/v1/timelines/tag/{tag}"
    token = settings.token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for _ in range(settings.most_pages):
        try:
            page = client.get(url, params={"limit": PAGE, "min_id": after}, headers=headers)
        except SourceRefused as error:
            if error.status in (401, 403, 422):
                raise SourceRefused(
                    f"social: {host_of(url)} shows timelines to users only ({error.status}); set "
                    "BOT4_PLATFORM__SOURCES__SOCIAL__TOKEN or another server",
                    error.status,
                ) from None
            raise
        posts, rejected, newest = parse_page(page, now_ns)
        yield [post for post in posts if int(post.id) < before], rejected, newest
        if newest <= after or newest >= before:
            return
        after = newest


def parse_page(page: Page, now_ns: int) -> tuple[list[Status], list[Rejected], int]:
    """Return the posts of a page, oldest first, what could not be one, and the newest id (0 for none).

    Posts that are not public are passed over. Raises BadPage when the page is no list of posts.
    """
    raws = page.json()
    if not isinstance(raws, list):
        raise BadPage("schema", "a timeline is a list of posts", page.content[:SHOWN])
    if len(raws) > 2 * PAGE:
        raise BadPage("too_large", f"{len(raws)} posts; {PAGE} were asked for", page.content[:SHOWN])
    end = first_id(now_ns + FUTURE_NS)

    def dated(post: Status) -> tuple[str, str] | None:
        return ("future", f"its id {post.id} is of a time to come") if int(post.id) >= end else None

    found = check_rows(raws, Status, now_ns=now_ns, event_ns=lambda post: post.created_at_ns, rules=[dated])
    # The ids of what was rejected count too, or the same page would come again; not one behind which nothing would.
    newest = max((number for raw in raws if (number := _id(raw)) < end), default=0)
    posts = sorted((post for post in found.rows if post.visibility == "public"), key=lambda post: int(post.id))
    return posts, found.rejected, newest


def _id(raw: Any) -> int:
    text = raw.get("id") if isinstance(raw, dict) else None
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 20 else 0
