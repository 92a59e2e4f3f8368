"""Where liquidity rested: the book's depth over time, from the journal's snapshots and diffs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot4_live.events import Kind
from bot4_live.instrument import E8, Instrument
from bot4_live.journal.reader import Journal, Segment

_READ = (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_STALE, Kind.SESSION)


@dataclass(frozen=True)
class Depth:
    """Base currency resting per price bin (rows, ascending) and moment (columns); NaN where no book was known."""

    seconds: np.ndarray  # edges, (columns + 1)
    prices: np.ndarray  # edges, (rows + 1)
    resting: np.ndarray  # (rows, columns)


def read_depth(
    journal_dir: Path,
    instrument: Instrument,
    start_ns: int,
    seconds: tuple[float, float],
    prices: tuple[float, float],
    shape: tuple[int, int] = (90, 300),
) -> Depth:
    """Sample the book between two times (seconds of market time since `start_ns`) and two prices.

    `shape` is (price bins, moments). Each moment shows the book as it was at its right edge.
    """
    rows, columns = shape
    edges_t, edges_p = np.linspace(*seconds, columns + 1), np.linspace(*prices, rows + 1)
    resting = np.full(shape, np.nan)
    column = 0
    for segment in Journal(journal_dir).segments():
        book: dict[int, int] = {}
        at = (segment.headers["recv_ns"] - segment.header.shift_ns - start_ns) / 1e9
        chosen = np.flatnonzero(np.isin(segment.headers["kind"], _READ))
        if not chosen.size or at[-1] < seconds[0]:
            continue
        column = max(column, int(np.searchsorted(edges_t[1:], at[0])))
        for row in (*chosen, -1):
            while column < columns and edges_t[column + 1] <= at[row]:
                resting[:, column] = _binned(book.items(), instrument, edges_p)
                column += 1
            if row >= 0:
                _apply(book, segment, int(row))
    return Depth(edges_t, edges_p, resting)


def _apply(book: dict[int, int], segment: Segment, row: int) -> None:
    """Apply one event; a price is on one side at a time, so one mapping holds both."""
    kind = segment.headers["kind"][row]
    if kind != Kind.DEPTH_DIFF:
        book.clear()
    if kind in (Kind.DEPTH_DIFF, Kind.DEPTH_SNAPSHOT):
        book.update(segment.slots(row)[1:].tolist())


def _binned(levels: Iterable[tuple[int, int]], instrument: Instrument, edges: np.ndarray) -> np.ndarray:
    found = np.array(list(levels), np.float64).reshape(-1, 2)
    if not found.size:
        return np.full(edges.size - 1, np.nan)
    price, quantity = found[:, 0] * (instrument.tick_e8 / E8), found[:, 1] * (instrument.lot_e8 / E8)
    return np.histogram(price, edges, weights=quantity)[0]
