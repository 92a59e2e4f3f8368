"""Proof of a capture's book: snapshot and diffs alone must show the venue's own best quotes.

Each diff is compared with the bookTicker in force at its update id: the one with the greatest u <= the diff's u, by id
and not by arrival (best quotes may run ahead of the depth stream).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import HEADER, HEADER_SIZE, Kind, StaleCause, header_of, slots_of
from bot4_live.instrument import Instrument
from bot4_live.market.book import (
    book_apply,
    book_best_ask,
    book_best_bid,
    book_best_qty,
    book_crossed,
    new_book,
)
from bot4_live.market.capture import read_capture
from bot4_live.market.digits import infer_instrument
from bot4_live.market.feed_core import FeedCore

_DEPTH = (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_STALE)


@dataclass(frozen=True)
class VerifyResult:
    """What the comparison found; `ok` is what the command's exit code says."""

    frames: int
    diffs: int
    diffs_after_bridge: int
    snapshots: int
    best_quotes: int
    compared: int
    matched: int
    gaps: int
    crossed: int
    quarantined: int
    overflow: int
    price_digits: int
    qty_digits: int
    events_per_s: float
    first_mismatch: dict[str, Any] | None

    @property
    def ok(self) -> bool:
        """Return whether the book is proven."""
        enough = self.compared > 0 and self.compared >= 0.99 * self.diffs_after_bridge
        return enough and self.matched == self.compared and not (self.gaps or self.crossed or self.overflow)


@njit(cache=True)
def apply_and_look(books: Any, headers: Any, slots: np.ndarray, out: np.ndarray) -> None:
    """Apply an event; write valid, update id, bid, bid qty, ask, ask qty, crossed."""
    book_apply(books[0], headers[0], slots)
    out[0] = books[0].valid
    out[1] = books[0].update_id
    out[2] = book_best_bid(books[0])
    out[3] = book_best_qty(books[0], 1)
    out[4] = book_best_ask(books[0])
    out[5] = book_best_qty(books[0], -1)
    out[6] = 1 if book_crossed(books[0]) else 0


class _Collector:
    """Keeps the best after each applied diff, and each best quote by id."""

    def __init__(self) -> None:
        self.book = new_book()
        self.quotes: dict[int, tuple[int, int, int, int]] = {}
        self.states: list[tuple[int, int, int, int, int]] = []
        self.crossed = 0
        self.after_bridge = 0
        self._bridged = False
        self._out = np.zeros(7, np.int64)

    def emit(self, record: np.ndarray) -> None:
        """Take one record of the feed."""
        kind = header_of(record)["kind"]
        slots = slots_of(record)
        if kind == Kind.BOOK_TICKER:
            (bid, bid_qty), (ask, ask_qty) = slots.tolist()
            self.quotes[int(header_of(record)["a"])] = (bid, bid_qty, ask, ask_qty)
        elif kind in _DEPTH:
            self._bridged = self._bridged or kind == Kind.DEPTH_SNAPSHOT
            self.after_bridge += int(self._bridged and kind == Kind.DEPTH_DIFF)
            apply_and_look(self.book, record[:HEADER_SIZE].view(HEADER), slots, self._out)
            valid, update_id, bid, bid_qty, ask, ask_qty, crossed = self._out.tolist()
            if valid and kind == Kind.DEPTH_DIFF and update_id == header_of(record)["b"]:
                self.states.append((update_id, bid, bid_qty, ask, ask_qty))
                self.crossed += crossed


def verify_capture(
    path: Path,
    instrument: Instrument | None = None,
    *,
    progress: Callable[[str, int], None] | None = None,
) -> VerifyResult:
    """Compare a capture's book with its best quotes. Without `instrument` its digits are inferred from the data.

    `progress(stage, frames)` is called every 20,000 frames. Raises CaptureError, OSError, ValueError.
    """
    frames = []
    for n, frame in enumerate(read_capture(path)):
        frames.append(frame)
        if progress is not None and n % 20_000 == 0:
            progress("read", n)
    instrument = instrument or infer_instrument((raw for _, raw in frames), path)
    collector = _Collector()
    core = FeedCore(instrument, collector.emit, check_book=False)
    warm_up()
    started = time.perf_counter()
    core.on_connect(frames[0][0])
    for n, (recv_ns, raw) in enumerate(frames):
        core.on_frame(recv_ns, raw)
        if progress is not None and n % 20_000 == 0:
            progress("book", n)
    elapsed = time.perf_counter() - started
    gaps = core.counts.stale[StaleCause.GAP] + int(collector.book["sequence_errors"][0])
    core.on_disconnect(frames[-1][0])
    return _compare(collector, core, instrument, gaps, elapsed)


def warm_up() -> None:
    """Compile before the clock starts: a stale event on an empty book changes nothing."""
    collector = _Collector()
    record = np.zeros(HEADER_SIZE + 16, np.uint8)
    record[:HEADER_SIZE].view(HEADER)["kind"] = Kind.NOTE
    apply_and_look(collector.book, record[:HEADER_SIZE].view(HEADER), slots_of(record), np.zeros(7, np.int64))


def _compare(collector: _Collector, core: FeedCore, instrument: Instrument, gaps: int, elapsed: float) -> VerifyResult:
    ids = sorted(collector.quotes)
    compared = matched = 0
    first_mismatch: dict[str, Any] | None = None
    for update_id, *book in collector.states:
        at = bisect_right(ids, update_id) - 1
        if at < 0:
            continue
        compared += 1
        quote = collector.quotes[ids[at]]
        if tuple(book) == quote:
            matched += 1
        elif first_mismatch is None:
            first_mismatch = {
                "update_id": update_id,
                "quote_id": ids[at],
                "book": _plain(instrument, *book),
                "quote": _plain(instrument, *quote),
            }
    counts = core.counts
    return VerifyResult(
        frames=counts.frames,
        diffs=counts.events[Kind.DEPTH_DIFF],
        diffs_after_bridge=collector.after_bridge,
        snapshots=counts.events[Kind.DEPTH_SNAPSHOT],
        best_quotes=counts.events[Kind.BOOK_TICKER],
        compared=compared,
        matched=matched,
        gaps=gaps,
        crossed=collector.crossed,
        quarantined=sum(counts.quarantined.values()),
        overflow=int(collector.book["overflow"].sum()),
        price_digits=instrument.price_digits,
        qty_digits=instrument.qty_digits,
        events_per_s=counts.frames / elapsed if elapsed > 0 else 0.0,
        first_mismatch=first_mismatch,
    )


def _plain(instrument: Instrument, bid: int, bid_qty: int, ask: int, ask_qty: int) -> dict[str, str]:
    return {
        "bid": str(instrument.price(bid)),
        "bid_qty": str(instrument.qty(bid_qty)),
        "ask": str(instrument.price(ask)),
        "ask_qty": str(instrument.qty(ask_qty)),
    }
