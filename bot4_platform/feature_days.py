"""Features of one exchange day from the journal, by the engine's own kernels.

Features depend on everything before them in the log, so a day is a range of seqs: it begins at the first event whose
exchange day is that day or a later one and ends before the first of the next. The state at its end is kept, and the
next day goes on from it; where it is missing or does not fit, everything is computed from the journal's beginning.
The result is the same, only slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from bot4_live.features.batch import BatchState, FeatureTable, compute
from bot4_live.features.registry import NAMES
from bot4_live.journal.reader import Segment
from bot4_platform.journal_source import Seal, of_market, read
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

GRID_MS = 100


@dataclass(frozen=True)
class FeatureDay:
    """A day's rows, the state after its last event, that event's seq, and how many events were computed."""

    rows: pl.DataFrame
    state: BatchState
    first_seq: int
    last_seq: int
    events: int
    resumed: bool


def first_on(segment: Segment, market: str, start_ns: int) -> int | None:
    """Return the index of the market's first record whose original exchange time is `start_ns` or later, if any."""
    heads = segment.headers
    known = (heads["exch_ns"] != 0) & of_market(segment, market)
    found = np.flatnonzero(known & (heads["exch_ns"] - segment.header.shift_ns >= start_ns))
    return int(found[0]) if found.size else None


def cut(seals: list[Seal], part: MarketDay) -> int | None:
    """Return the seq at which the log of a market reaches an exchange day, None when it does not."""
    for seal in seals:
        if seal.days and seal.days[-1] >= part.day:
            segment = read(seal)
            at = first_on(segment, part.market, part.start_ns)
            if at is not None:
                return int(segment.headers["seq"][at])
    return None


def compute_day(seals: list[Seal], part: MarketDay, previous: tuple[int, BatchState] | None) -> FeatureDay:
    """Return the features of one day. `seals` are all of the market's, in log order.

    `previous` is (last seq, state) of the day before; it is used when it ends just where this day begins.
    Raises ValueError when the log does not reach the day.
    """
    if not any(part.day in seal.days for seal in seals):
        raise ValueError(f"no sealed segment holds an event of {part.market} on {part.day}")
    earlier = any(day < part.day for seal in seals for day in seal.days)
    begin = cut(seals, part) if earlier else seals[0].first_seq
    end = cut(seals, part.shifted(1))
    if begin is None or (end is not None and end <= begin):
        raise ValueError(
            f"the log of {part.market} goes from before {part.day} to after it: there is no such day in it"
        )
    resumed = previous is not None and previous[0] == begin - 1
    state = previous[1] if previous is not None and resumed else BatchState()
    tables, last_seq, events = [TABLES["features"].empty()], begin - 1, 0
    for segment, offsets in _ranges(seals, part.market, begin if resumed else 0, end):
        table = compute(segment.buffer, offsets, GRID_MS, state)
        frame = to_frame(table, segment.header.shift_ns)
        tables.append(frame.filter(pl.col("seq") >= begin))
        events += int(offsets.size)
        last_seq = max(last_seq, int(state.array["last_seq"][0]))
    if end is not None:  # what comes before it was all looked at, also where it is another market's
        last_seq = state.array["last_seq"][0] = end - 1
    return FeatureDay(pl.concat(tables), state, begin, last_seq, events, resumed)


def to_frame(table: FeatureTable, shift_ns: int) -> pl.DataFrame:
    """Return a feature table as the lake's columns; `exch_ns` as original time, 0 before the first event."""
    columns = {
        "seq": table.seq,
        "recv_ns": table.recv_ns,
        "exch_ns": np.where(table.exch_ns == 0, 0, table.exch_ns - shift_ns),
        "valid": table.valid,
        "mid2": table.mid2,
        "mid": table.mid,
    }
    frame = pl.DataFrame(columns | {name: table.column(name) for name in NAMES})
    return frame.with_columns(pl.col("mid").fill_nan(None))


def _ranges(seals: list[Seal], market: str, begin: int, end: int | None) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield each segment with the offsets of the market's records whose seq is in [begin, end)."""
    for seal in seals:
        if seal.last_seq < begin or (end is not None and seal.first_seq >= end):
            continue
        segment = read(seal)
        seq = segment.headers["seq"].astype(np.int64)
        inside = (seq >= begin) & (seq < (end if end is not None else np.iinfo(np.int64).max))
        inside &= of_market(segment, market)
        if inside.any():
            yield segment, segment.offsets[inside]
