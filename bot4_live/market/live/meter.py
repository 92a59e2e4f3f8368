"""How often a channel speaks: its rate, and the gaps between its frames.

A channel is stale by its own habit: silent for longer than max(500 ms, 5 x the 99.9th percentile of its gaps). Gaps are
counted in bins of an eighth of an octave, so a quantile is at most 12.5 % too high; memory does not grow.
"""

from __future__ import annotations

import math

LEAST_LIMIT_NS = 500_000_000
TIMES_GAP = 5
FEWEST_GAPS = 20  # before that, what is usual is not known
_MEMORY_NS = 10e9
_BINS = 64 * 8


class Meter:
    """One channel. All times in ns of one monotonic clock."""

    __slots__ = ("_bins", "_heard", "_rate", "frames", "gaps", "last_ns")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self.frames = 0
        self.gaps = 0  # between frames, those that were measured
        self.last_ns = 0
        self._heard = False
        self._rate = 0.0
        self._bins = [0] * _BINS

    def hear(self, now_ns: int) -> None:
        """Count a frame."""
        gap = now_ns - self.last_ns
        if self._heard:
            self._bins[_bin(gap)] += 1
            self.gaps += 1
        self._rate = self._rate * math.exp(-gap / _MEMORY_NS) + 1e9 / _MEMORY_NS
        self._heard = True
        self.frames += 1
        self.last_ns = now_ns

    def interrupt(self) -> None:
        """Say that the connection ended: the time until the next frame is no gap of the channel."""
        self._heard = False

    def include(self, earlier: Meter) -> None:
        """Add what was heard before, on another connection."""
        self.frames += earlier.frames
        self.gaps += earlier.gaps
        self.last_ns = max(self.last_ns, earlier.last_ns)
        self._rate = max(self._rate, earlier._rate)
        self._bins = [ours + theirs for ours, theirs in zip(self._bins, earlier._bins, strict=True)]

    def rate(self, now_ns: int) -> float:
        """Return frames a second, those of ten seconds ago weighing 1/e."""
        return self._rate * math.exp(-(now_ns - self.last_ns) / _MEMORY_NS)

    def quantile_ns(self, q: float) -> int | None:
        """Return a gap that the fraction `q` of all gaps does not exceed, None without any."""
        if not self.gaps:
            return None
        rank, seen = math.ceil(q * self.gaps), 0
        for index, count in enumerate(self._bins):
            seen += count
            if seen >= rank:
                return _upper(index)
        return None

    def limit_ns(self) -> int | None:
        """Return the silence from which on the channel is stale, None while too few gaps are known."""
        gap = self.quantile_ns(0.999) if self.gaps >= FEWEST_GAPS else None
        return None if gap is None else max(LEAST_LIMIT_NS, TIMES_GAP * gap)


def _bin(gap_ns: int) -> int:
    """Return the bin of a gap: below 16 ns one a value, then eight an octave."""
    gap_ns = max(gap_ns, 0)
    shift = gap_ns.bit_length() - 4
    return gap_ns if shift <= 0 else (shift + 1) * 8 + (gap_ns >> shift & 7)


def _upper(index: int) -> int:
    """Return the greatest gap of a bin."""
    if index < 16:
        return index
    shift = index // 8 - 1
    return ((8 + index % 8 + 1) << shift) - 1
