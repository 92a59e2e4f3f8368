"""Proof of the books in another venue's capture: by the venue's checksums, by its chain of ids, or by both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot4_live.events import Kind, Reason, StaleCause
from bot4_live.market.validation import UNLIMITED
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.claims import Claims
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.orders_feed import OrdersFeed
from bot4_live.market.venues.registry import Instruments


@dataclass(frozen=True)
class VenueVerifyResult:
    """What was found; `ok` is what the command's exit code says. None: the venue has no such thing."""

    venue: str
    frames: int
    instruments: int
    snapshots: int
    diffs: int
    trades: int
    tickers: int
    best_quotes: int
    compared: int | None
    matched: int | None
    checksums: int | None
    checksums_matched: int | None
    links: int | None
    links_unbroken: int | None
    gaps: int
    crossed: int
    quarantined: int
    ignored: int
    events_per_s: float
    first_mismatch: dict[str, Any] | None
    orders: int | None = None  # level 3: orders that rest at the end
    heads: int | None = None  # level 3: trades whose maker is known, and how many of these were first in line
    heads_matched: int | None = None

    @property
    def ok(self) -> bool:
        """Return whether every book is proven."""
        proven = (self.checksums or 0) + (self.links or 0) + (self.compared or 0) > 0
        whole = self.checksums == self.checksums_matched and self.links == self.links_unbroken
        whole = whole and self.compared == self.matched and self.heads == self.heads_matched
        return proven and whole and not (self.gaps or self.crossed or self.quarantined or self.ignored)


def venue_of(path: Path) -> type[VenueFeed] | None:
    """Return the feed that reads a capture, None when it is none of the other venues'. Raises CaptureError, OSError."""
    return feed_of(raw for _, raw in read_venue_capture(path))


def verify_venue_capture(
    path: Path, kind: type[VenueFeed], *, progress: Callable[[str, int], None] | None = None
) -> VenueVerifyResult:
    """Follow all books of a capture by the venue's own rules; digits are inferred from the data.

    `progress(stage, frames)` is called every 20,000 frames. Raises CaptureError, OSError, ValueError.
    """
    frames = list(read_venue_capture(path))
    instruments = Instruments(kind.venue)
    instruments.infer(kind.measure(raw for _, raw in frames))
    feed = kind(instruments)
    feed.limits = UNLIMITED
    claims = Claims(feed)
    first_mismatch: dict[str, Any] | None = None
    started = time.perf_counter()
    feed.on_connect(frames[0][0])
    for n, (recv_ns, raw) in enumerate(frames):
        claims.take(feed.on_frame(recv_ns, raw))
        if first_mismatch is None and _faults(feed):
            first_mismatch = _mismatch(feed, n + 1)
        if progress is not None and n % 20_000 == 0:
            progress("book", n)
    elapsed = time.perf_counter() - started
    return _result(feed, claims, elapsed, first_mismatch or claims.first_mismatch)


def _faults(feed: VenueFeed) -> int:
    """Return how often a book went stale or a frame was refused since the connection."""
    counts = feed.counts
    return sum(counts.stale.values()) - counts.stale[StaleCause.START] + sum(counts.quarantined.values())


def _mismatch(feed: VenueFeed, frame: int) -> dict[str, Any]:
    causes = {book.name: book.stale_cause for book in feed.books.values()}
    said = {name: cause.name.lower() for name, cause in causes.items() if cause and cause is not StaleCause.START}
    refused = feed.last_refused
    return {"frame": frame, "stale": said} | ({"refused": _words(*refused)} if refused else {})


def _words(reason: Reason, detail: str) -> str:
    return f"{reason.name.lower()}: {detail}"


def _result(
    feed: VenueFeed, claims: Claims, elapsed: float, first_mismatch: dict[str, Any] | None
) -> VenueVerifyResult:
    counts = feed.counts
    return VenueVerifyResult(
        venue=feed.venue,
        frames=counts.frames,
        instruments=len(feed.books),
        snapshots=counts.events[Kind.DEPTH_SNAPSHOT],
        diffs=counts.events[Kind.DEPTH_DIFF],
        trades=counts.events[Kind.TRADE],
        tickers=counts.events[Kind.TICKER],
        best_quotes=counts.events[Kind.BOOK_TICKER],
        compared=claims.compared or None,
        matched=claims.matched if claims.compared else None,
        checksums=counts.checksums or None,
        checksums_matched=counts.checksums_matched if counts.checksums else None,
        links=counts.links or None,
        links_unbroken=counts.links_unbroken if counts.links else None,
        gaps=counts.stale[StaleCause.GAP],
        crossed=counts.stale[StaleCause.CROSSED],
        quarantined=sum(counts.quarantined.values()),
        ignored=counts.ignored,
        events_per_s=counts.frames / elapsed if elapsed > 0 else 0.0,
        first_mismatch=first_mismatch,
        orders=sum(map(len, feed.orders.values())) if isinstance(feed, OrdersFeed) else None,
        heads=counts.heads or None,
        heads_matched=counts.heads_matched if counts.heads else None,
    )
