"""What happened, read from the journal alone: market, quotes, fills, position, PnL, verdicts.

Times are seconds of market time since the journal's first event; prices are quote currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot4_live.events import HEADER, Flag, Kind, Reason
from bot4_live.instrument import E8, Instrument
from bot4_live.journal.reader import Journal, Segment


@dataclass
class Story:
    """Columns of equal length by subject; all numpy arrays unless said otherwise."""

    start_ns: int
    events: int = 0
    commands: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    mid_t: np.ndarray = field(default_factory=lambda: np.empty(0))
    mid: np.ndarray = field(default_factory=lambda: np.empty(0))
    quote_t: np.ndarray = field(default_factory=lambda: np.empty(0))
    quote_px: np.ndarray = field(default_factory=lambda: np.empty(0))
    quote_sell: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    fill_t: np.ndarray = field(default_factory=lambda: np.empty(0))
    fill_px: np.ndarray = field(default_factory=lambda: np.empty(0))
    fill_qty: np.ndarray = field(default_factory=lambda: np.empty(0))  # signed, base currency
    fill_fee: np.ndarray = field(default_factory=lambda: np.empty(0))
    sessions: list[tuple[float, float]] = field(default_factory=list)  # (seconds, speed)
    quarantined: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0
    slow_values: int = 0

    @property
    def position(self) -> np.ndarray:
        """Return the position after each fill, base currency."""
        return np.cumsum(self.fill_qty)

    def equity(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (time, PnL after fees marked at mid), on the mid's grid."""
        if not self.mid_t.size:
            return self.mid_t, self.mid
        cash = np.cumsum(-self.fill_qty * self.fill_px - self.fill_fee)
        index = np.searchsorted(self.fill_t, self.mid_t, side="right") - 1
        held = np.where(index >= 0, self.position[index] if self.fill_t.size else 0.0, 0.0)
        money = np.where(index >= 0, cash[index] if self.fill_t.size else 0.0, 0.0)
        return self.mid_t, money + held * self.mid


def read(journal_dirs: list[Path], instrument: Instrument, mid_step_s: float = 0.25) -> Story:
    """Read journals in order into one story."""
    segments = [segment for folder in journal_dirs for segment in Journal(folder).segments()]
    heads = [segment.headers for segment in segments]
    if not heads or not sum(head.size for head in heads):
        return Story(start_ns=0)
    shift = segments[0].header.shift_ns
    start = int(heads[0]["recv_ns"][0]) - shift
    story = Story(start_ns=start)
    parts: dict[str, list[np.ndarray]] = {}
    for segment in segments:
        _read_segment(story, segment, instrument, parts, mid_step_s)

    def joined(name: str, dtype: type = float) -> np.ndarray:
        return np.concatenate(parts[name]) if parts.get(name) else np.empty(0, dtype)

    for name in ("mid_t", "mid", "quote_t", "quote_px", "fill_t", "fill_px", "fill_qty", "fill_fee"):
        setattr(story, name, joined(name))
    story.quote_sell = joined("quote_sell", bool)
    return story


def _slot(segment: Segment, rows: np.ndarray, index: int) -> np.ndarray:
    """Return slot `index` of the given records, int64 of shape (rows, 2)."""
    slots = segment.buffer[: segment.buffer.size // 16 * 16].view(np.int64).reshape(-1, 2)
    return slots[segment.offsets[rows] // 16 + HEADER.itemsize // 16 + index]


def _read_segment(
    story: Story, segment: Segment, instrument: Instrument, parts: dict[str, list[np.ndarray]], mid_step_s: float
) -> None:
    head = segment.headers
    seconds = (head["recv_ns"] - segment.header.shift_ns - story.start_ns) / 1e9
    kinds = head["kind"]
    tick, lot = instrument.tick_e8 / E8, instrument.lot_e8 / E8

    def keep(name: str, value: np.ndarray) -> None:
        parts.setdefault(name, []).append(value)

    for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
        name = Kind(int(kind)).name
        story.kinds[name] = story.kinds.get(name, 0) + int(count)
    commands = int(segment.is_command.sum())
    story.commands += commands
    story.events += head.size - commands

    rows = np.flatnonzero((kinds == Kind.BOOK_TICKER) & (head["flags"] & Flag.INVALID == 0))
    if rows.size:
        # The last quote of each step is enough for people.
        step = (seconds[rows] / mid_step_s).astype(np.int64)
        rows = rows[np.append(step[1:] != step[:-1], True)]
        bid, ask = _slot(segment, rows, 0)[:, 0], _slot(segment, rows, 1)[:, 0]
        keep("mid_t", seconds[rows])
        keep("mid", (bid + ask) / 2 * tick)

    # An operator's INTENT takes what is there at any price of the collar: an order, no quote.
    rows = np.flatnonzero((kinds == Kind.CMD_NEW) & (head["flags"] & Flag.IOC == 0))
    keep("quote_t", seconds[rows])
    keep("quote_px", _slot(segment, rows, 0)[:, 0] * tick)
    keep("quote_sell", (head["flags"][rows] & Flag.SELL) != 0)

    rows = np.flatnonzero(kinds == Kind.ORDER_FILL)
    if rows.size:
        # One fill may be learnt twice (stream and query): venue trade id and order make it one.
        _, first = np.unique(np.stack([head["b"][rows], head["a"][rows]], axis=1), axis=0, return_index=True)
        rows = rows[np.sort(first)]
        sign = np.where(head["flags"][rows] & Flag.SELL, -1.0, 1.0)
        keep("fill_t", seconds[rows])
        keep("fill_px", _slot(segment, rows, 0)[:, 0] * tick)
        keep("fill_qty", sign * _slot(segment, rows, 0)[:, 1] * lot)
        keep("fill_fee", _slot(segment, rows, 1)[:, 1] / E8)

    for row in np.flatnonzero(kinds == Kind.SESSION):
        story.sessions.append((float(seconds[row]), float(head["b"][row]) / 1000))
    for reason in head["a"][kinds == Kind.QUARANTINE]:
        name = Reason(int(reason)).name
        story.quarantined[name] = story.quarantined.get(name, 0) + 1
    story.suppressed += int((kinds == Kind.SUPPRESSED).sum())
    story.slow_values += int((kinds == Kind.SLOW_FEATURE).sum())
