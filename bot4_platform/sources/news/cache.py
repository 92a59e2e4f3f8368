"""The last good body of a feed with its ETag, so that a feed that has not changed is not sent again (RFC 9110, 13.1).

The body is kept, not only its mark: a 304 on the way to another day's partition must not lose what the last answer had.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bot4_live.safety.durable import write_bytes
from bot4_platform.lake import Lake
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.news.settings import Feed
from bot4_platform.sources.state import Cursor


@dataclass(frozen=True)
class Fetched:
    """A feed's body, whether it came now, and the marks it came with."""

    content: bytes
    fresh: bool
    etag: str | None = None
    modified: str | None = None


def fetch(lake: Lake, client: SourceClient, feed: Feed) -> Fetched:
    """Return what a feed holds now. Raises as SourceClient.get."""
    cursor = Cursor.of(lake, f"news:{feed.name}")
    body, mark = _body(cursor), cursor.read()
    kept = body.read_bytes() if body.is_file() else b""
    usable = mark.get("url") == feed.url and mark.get("sha256") == hashlib.sha256(kept).hexdigest()
    headers = {"Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5"}
    if usable and mark.get("etag"):
        headers["If-None-Match"] = str(mark["etag"])
    if usable and mark.get("modified"):
        headers["If-Modified-Since"] = str(mark["modified"])
    page = client.get(feed.url, headers=headers)
    if page.status == 304 and usable:
        return Fetched(kept, False)
    return Fetched(page.content, True, page.headers.get("ETag"), page.headers.get("Last-Modified"))


def remember(lake: Lake, feed: Feed, fetched: Fetched) -> None:
    """Keep a body that could be read; one that could not is asked for again."""
    if not fetched.fresh:
        return
    cursor = Cursor.of(lake, f"news:{feed.name}")
    body = _body(cursor)
    body.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(body, fetched.content)
    digest = hashlib.sha256(fetched.content).hexdigest()
    cursor.move({"url": feed.url, "etag": fetched.etag, "modified": fetched.modified, "sha256": digest})


def _body(cursor: Cursor) -> Path:
    return cursor.path.with_suffix(".body")
