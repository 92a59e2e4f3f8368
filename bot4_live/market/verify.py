"""Proof of a capture's book: snapshot and diffs alone must show the venue's own best quotes.

Each diff is compared with the bookTicker in force at its update id: the one with the greatest u <= the diff's u, by id
and not by arrival (best quotes may run ahead of the depth stream). What is proven is the book, so the rules that judge
the recorder's clock and the size of a move are off, and a snapshot may come as late as it likes.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from bot4_live.market.capture import CaptureError, read_capture
from bot4_live.market.capture_instrument import instrument_of
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.validation import UNLIMITED

_ANY = 2**62
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

    damage: str | None = None  # where the file is not whole, and was read as far as it is

    @property
    def ok(self) -> bool:
        """Return whether the book is proven.

        Far levels that were dropped (`overflow`) are no fault: a book that comes near one is stale, and not compared.
        """
        enough = self.compared > 0 and self.compared >= 0.99 * self.diffs_after_bridge
        return enough and self.matched == self.compared and not (self.gaps or self.crossed)


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
        self.after_bridge = 0  # diffs that no snapshot holds; they count whether or not they could be applied
        self._snapshot_id = _ANY
        self._out = np.zeros(7, np.int64)

    def emit(self, record: np.ndarray) -> None:
        """Take one record of the feed."""
        kind = header_of(record)["kind"]
        slots = slots_of(record)
        if kind == Kind.BOOK_TICKER:
            (bid, bid_qty), (ask, ask_qty) = slots.tolist()
            self.quotes[int(header_of(record)["a"])] = (bid, bid_qty, ask, ask_qty)
        elif kind in _DEPTH:
            if kind == Kind.DEPTH_SNAPSHOT:
                self._snapshot_id = int(header_of(record)["b"])
            apply_and_look(self.book, record[:HEADER_SIZE].view(HEADER), slots, self._out)
            valid, update_id, bid, bid_qty, ask, ask_qty, crossed = self._out.tolist()
            last = int(header_of(record)["b"])
            applied = bool(valid) and update_id == last
            if kind == Kind.DEPTH_DIFF and (applied or last > self._snapshot_id):
                self.after_bridge += 1
            if kind == Kind.DEPTH_DIFF and applied:
                self.states.append((update_id, bid, bid_qty, ask, ask_qty))
                self.crossed += crossed


def verify_capture(
    path: Path,
    instrument: Instrument | None = None,
    *,
    keep_whole: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> VerifyResult:
    """Compare a capture's book with its best quotes. Without `instrument` its digits are inferred from the data.

    `keep_whole` reads a damaged file as far as it is whole (said in `damage`). `progress(stage, frames)` is called
    every 20,000 frames. Raises CaptureError, OSError, and ValueError for what is no capture of one symbol.
    """
    frames = []
    damage: list[CaptureError] = []
    for n, frame in enumerate(read_capture(path, on_damage=damage.append if keep_whole else None)):
        frames.append(frame)
        if progress is not None and n % 20_000 == 0:
            progress("read", n)
    if not frames:
        raise damage[0]
    instrument = instrument or instrument_of((raw for _, raw in frames), path)
    collector = _Collector()
    core = FeedCore(instrument, collector.emit, limits=UNLIMITED, check_book=False, max_waiting=sys.maxsize)
    warm_up()
    started = time.perf_counter()
    core.on_connect(frames[0][0])
    for n, (recv_ns, raw) in enumerate(frames):
        core.on_frame(recv_ns, raw)
        if progress is not None and n % 20_000 == 0:
            progress("book", n)
    elapsed = time.perf_counter() - started
    gaps = core.counts.stale[StaleCause.GAP] + int(collector.book["sequence_errors"][0])
    if not core.counts.events[Kind.DEPTH_SNAPSHOT] and core.counts.snapshots_too_old:
        gaps += 1  # a snapshot is there, and of the diffs behind it none connects to it
    core.on_disconnect(frames[-1][0])
    result = _compare(collector, core, instrument, gaps, elapsed)
    return replace(result, damage=str(damage[0])) if damage else result


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
        quote = collector.quotes[ids[at]]
        if tuple(book) != quote and ids[at] == ids[-1] < update_id:
            continue  # the file ends before the next best quote, which may have been the one in force
        compared += 1
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
        "bid": f"{instrument.price(bid):f}",
        "bid_qty": f"{instrument.qty(bid_qty):f}",
        "ask": f"{instrument.price(ask):f}",
        "ask_qty": f"{instrument.qty(ask_qty):f}",
    }
