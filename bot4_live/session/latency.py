"""Latency histograms of a session, always in real time: log-linear bins, at most 0.8 % wide."""

from __future__ import annotations

from typing import Any

_SUB = 7  # 2**7 bins an octave


class Histogram:
    """Counts of durations in ns; quantiles are the upper edges of their bins."""

    def __init__(self) -> None:
        self._bins = [0] * (64 << _SUB)
        self.count = 0
        self.max_ns = 0

    def add(self, ns: int) -> None:
        """Count one duration; a negative one counts as 0."""
        ns = max(ns, 0)
        shift = max(ns.bit_length() - _SUB - 1, 0)
        self._bins[(shift << _SUB) + (ns >> shift)] += 1
        self.count += 1
        self.max_ns = max(self.max_ns, ns)

    @staticmethod
    def _upper_ns(index: int) -> int:
        shift = max((index >> _SUB) - 1, 0)
        return ((index - (shift << _SUB)) + 1 << shift) - 1

    def quantile_us(self, q: float) -> float | None:
        """Return the `q` quantile (0..1) in microseconds, None when nothing was counted."""
        if not self.count:
            return None
        left = min(int(q * self.count) + 1, self.count)
        for index, n in enumerate(self._bins):
            left -= n
            if left <= 0:
                return min(self._upper_ns(index), self.max_ns) / 1000
        return self.max_ns / 1000

    def as_dict(self) -> dict[str, Any]:
        """Return count, p50, p99, p999 and max in us, and the bins that hold anything as [upper edge us, count]."""
        return {
            "count": self.count,
            "p50": self.quantile_us(0.5),
            "p99": self.quantile_us(0.99),
            "p999": self.quantile_us(0.999),
            "max": self.max_ns / 1000 if self.count else None,
            "histogram": [[self._upper_ns(i) / 1000, n] for i, n in enumerate(self._bins) if n],
        }


class Latency:
    """What is measured: `decision` (frame received -> commands ready) and `wire` (wake-up -> request written).

    The wake-up is the frame in whose wake the command came or, for requotes on the grid of TICKs, the timer;
    `wire_frame` holds the former alone. "Written" is the loop's turn after the request went to the socket.
    """

    def __init__(self) -> None:
        self.decision = Histogram()
        self.wire = Histogram()
        self.wire_frame = Histogram()

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "decision_us": self.decision.as_dict(),
            "wire_us": self.wire.as_dict(),
            "wire_frame_us": self.wire_frame.as_dict(),
        }
