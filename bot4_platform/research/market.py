"""A capture as the engine sees it: features on a grid, and every best quote and trade between.

The features are those of the engine's own batch kernels over the feed's events; the quotes are those of the same book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from bot4_live.benchmarks.inputs import EventLog, event_log
from bot4_live.events import Flag, Kind
from bot4_live.features.batch import BATCH, apply, compute
from bot4_live.features.registry import NAMES
from bot4_live.instrument import Instrument
from bot4_live.kernels import address, header_at, slots_at
from bot4_live.market.capture import read_capture
from bot4_live.market.digits import infer_instrument
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


def read_market(path: Path, progress: Callable[[str, int], None] | None = None) -> Market:
    """Return the market of a Binance capture. `progress(stage, frames)` is called every 20,000 frames.

    Raises CaptureError and OSError, and ValueError for the capture of another venue or one without a usable book.
    """
    other = venue_of(path)
    if other is not None:
        raise ValueError(
            f"{path}: a capture of {other.venue}; the fast features are computed on Binance's streams so far: name one "
            "in its format (`<ns> <json>` a line)"
        )
    frames = []
    for n, frame in enumerate(read_capture(path), 1):
        frames.append(frame)
        if progress is not None and n % PROGRESS_EVERY == 0:
            progress("read", n)
    instrument = infer_instrument((raw for _, raw in frames), path)
    return market_of(frames, instrument, path.name, progress)


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
                progress("features", n)
            yield frame

    log = event_log(counted(), instrument)
    table = compute(log.buffer, log.offsets, GRID_MS)
    if not table.valid.any():
        raise ValueError(f"{name}: the book is never usable for 5 s on end; check it with `bot4 verify-book`")
    events = observe(log)
    at = np.searchsorted(events[:, NS], table.recv_ns, side="right") - 1
    quotes = np.where((at >= 0)[:, None], events[np.maximum(at, 0), BID : ASK_QTY + 1], 0)
    return Market(
        name, instrument.venue, instrument.symbol, table.recv_ns, table.x, table.mid2, quotes, table.valid, events,
    )  # fmt: skip


def observe(log: EventLog) -> np.ndarray:
    """Return the events of a log with the best quotes after each, int64 (m, 7) as in `Market.events`."""
    at = address(log.buffer) + np.ascontiguousarray(log.offsets, np.int64)
    out = np.zeros((len(at), 7), np.int64)
    return out[: _observe(np.zeros(1, BATCH)[0], at, out)].copy()


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
