"""A capture or a journal as the engine sees it: features on a grid, and every best quote and trade between.

The features are those of the engine's own batch kernels over the feed's events; the quotes are those of the same book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from bot4_live.benchmarks.inputs import event_log
from bot4_live.events import Flag, Kind
from bot4_live.features.batch import BatchState, apply, compute
from bot4_live.features.registry import NAMES
from bot4_live.instrument import Instrument
from bot4_live.journal.reader import Journal
from bot4_live.kernels import address, header_at, slots_at
from bot4_live.market.capture import read_capture
from bot4_live.market.capture_instrument import instrument_of
from bot4_live.market.venues.verify import venue_of

GRID_MS = 100
PROGRESS_EVERY = 20_000
NS, BID, BID_QTY, ASK, ASK_QTY, PRICE, LOTS = range(7)  # columns of `Market.events`

_TRADE, _SELL = int(Kind.TRADE), int(Flag.SELL)
_MARKET = np.zeros(256, np.bool_)
_MARKET[[_TRADE, Kind.BOOK_TICKER, Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_STALE]] = True


@dataclass(frozen=True)
class Market:
    """A recorded market: n rows on the grid, m events in log order; prices in ticks, sizes in lots."""

    name: str
    venue: str
    symbol: str
    ns: np.ndarray  # int64 (n,): engine time of the rows, one every GRID_MS
    x: np.ndarray  # float64 (n, N_FEATURES), columns as in registry.NAMES
    mid2: np.ndarray  # int64 (n,): doubled mid in ticks, 0 without a usable book
    quotes: np.ndarray  # int64 (n, 4): best bid, its size, best ask, its size; 0 without a usable book
    valid: np.ndarray  # bool (n,)
    events: np.ndarray  # int64 (m, 7): NS, best quotes after it, and PRICE and signed LOTS of a trade (0 for none)

    def column(self, name: str) -> np.ndarray:
        """Return one feature's column. Raises ValueError for an unknown name."""
        if name not in NAMES:
            raise ValueError(f"unknown feature {name!r}; known are: {', '.join(NAMES)}")
        return self.x[:, NAMES.index(name)]

    @property
    def seconds(self) -> float:
        """Return how long the book was usable with every look-back filled."""
        return float(self.valid.sum()) * GRID_MS / 1000


def read_markets(path: Path, progress: Callable[[str, int], None] | None = None) -> list[Market]:
    """Return the market of a Binance capture, or those of a journal's folder, of any venue.

    `progress(stage, n)` is told of every 20,000 frames, or every segment. Raises CaptureError and OSError, and
    ValueError for the capture of another venue or where no book is usable.
    """
    return _journal(path, progress) if path.is_dir() else [_capture(path, progress)]


def _capture(path: Path, progress: Callable[[str, int], None] | None) -> Market:
    other = venue_of(path)
    if other is not None:
        raise ValueError(
            f"{path}: a capture of {other.venue}; journal it first (`bot4 record --capture`) and name the folder, or "
            "name a capture in Binance's format (`<ns> <json>` a line)"
        )
    frames = []
    for n, frame in enumerate(read_capture(path), 1):
        frames.append(frame)
        if progress is not None and n % PROGRESS_EVERY == 0:
            progress("frames read", n)
    instrument = instrument_of((raw for _, raw in frames), path)
    return market_of(frames, instrument, path.name, progress)


def _journal(path: Path, progress: Callable[[str, int], None] | None) -> list[Market]:
    from bot4_platform.journal_source import of_market

    journal = Journal(path)
    names = sorted({name for segment in journal.segments() for name in segment.header.markets.values()})
    if not names:
        raise ValueError(f"{path}: no segment of a journal is in this folder; name the folder that `bot4 record` wrote")
    found, refused = [], []
    for name in names:

        def parts(name: str = name) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for n, segment in enumerate(journal.segments(), 1):
                if name in segment.header.markets.values():
                    yield segment.buffer, segment.offsets[of_market(segment, name)]
                if progress is not None:
                    progress(f"{name}, segments read", n)

        venue, _, symbol = name.rpartition(":")
        try:
            found.append(_build(parts(), venue or name, symbol, path.name))
        except ValueError as why:
            refused.append(str(why))
    if not found:
        raise ValueError("; ".join(refused))
    return found


def market_of(
    frames: Iterable[tuple[int, bytes]],
    instrument: Instrument,
    name: str,
    progress: Callable[[str, int], None] | None = None,
) -> Market:
    """Return the market of frames as (local ns, bytes). Raises ValueError when the book is never usable."""

    def counted() -> Iterable[tuple[int, bytes]]:
        for n, frame in enumerate(frames, 1):
            if progress is not None and n % PROGRESS_EVERY == 0:
                progress("frames fed", n)
            yield frame

    log = event_log(counted(), instrument)
    return _build([(log.buffer, log.offsets)], instrument.venue, instrument.symbol, name)


def _build(parts: Iterable[tuple[np.ndarray, np.ndarray]], venue: str, symbol: str, name: str) -> Market:
    """Build a market from its records, (buffer, offsets) in log order; the state goes on from part to part."""
    state, seen = BatchState(), BatchState()
    tables, pieces = [], []
    for buffer, offsets in parts:
        tables.append(compute(buffer, offsets, GRID_MS, state))
        at = address(buffer) + np.ascontiguousarray(offsets, np.int64)
        out = np.zeros((len(at), 7), np.int64)
        pieces.append(out[: _observe(seen.array[0], at, out)].copy())
    if not state.array[0]["known"]:
        raise ValueError(
            f"{name}: a lot of {symbol} at one tick is worth less than 1e-8 of the quote currency, which the engine's "
            "integers cannot count: there are no features of it"
        )
    if not any(table.valid.any() for table in tables):
        raise ValueError(
            f"{name}: the book of {symbol} is never usable for 5 s on end; check it with `bot4 verify-book`"
        )
    events = np.concatenate(pieces)
    ns, x, mid2, valid = (
        np.concatenate([getattr(t, column) for t in tables]) for column in ("recv_ns", "x", "mid2", "valid")
    )
    at = np.searchsorted(events[:, NS], ns, side="right") - 1
    quotes = np.where((at >= 0)[:, None], events[np.maximum(at, 0), BID : ASK_QTY + 1], 0)
    return Market(name, venue, symbol, ns, x, mid2, quotes, valid, events)


@njit(cache=True)
def _observe(s: Any, at: np.ndarray, out: np.ndarray) -> int:
    row = 0
    for i in range(len(at)):
        h = header_at(at[i])
        slots = slots_at(at[i])
        if not apply(s, h, slots) or not _MARKET[h.kind]:
            continue
        f = s.features
        out[row, 0] = h.recv_ns
        out[row, 1] = f.bid_px
        out[row, 2] = f.bid_qty
        out[row, 3] = f.ask_px
        out[row, 4] = f.ask_qty
        if h.kind == _TRADE:
            out[row, 5] = slots[0, 0]
            out[row, 6] = -slots[0, 1] if h.flags & _SELL else slots[0, 1]
        row += 1
    return row
