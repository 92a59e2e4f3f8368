"""Time bases: the engine's clock (market time) and the safety clock (CLOCK_BOOTTIME).

Over a live venue market time is real time. Over a replayed market it runs at `speed`: start + (CLOCK_MONOTONIC -
start) x speed, so that decays, volatilities and labels mean the same at any speed. Latencies and safety timers are
never scaled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

MS = 1_000_000  # ns
DAY_NS = 86_400_000_000_000
TICK_NS = 10 * MS  # the grid of TICK events, of engine clock


def day_of(ns: int) -> str:
    """Return the UTC day of a time in ns, as YYYY-MM-DD."""
    return (date(1970, 1, 1) + timedelta(days=ns // DAY_NS)).isoformat()


def day_start_ns(day: str) -> int:
    """Return the first nanosecond of a UTC day (YYYY-MM-DD). Raises ValueError for anything else."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_NS


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in ns: it goes on through suspend and is never set back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class MarketClock:
    """The engine's clock: never goes back, never reads wall time after its start.

    `speed_milli` is 1000 for real time; integers keep it exact.
    """

    start_market_ns: int
    start_mono_ns: int
    speed_milli: int = 1000
    monotonic_ns: Callable[[], int] = time.monotonic_ns

    def now_ns(self) -> int:
        """Return market time now."""
        return self.start_market_ns + (self.monotonic_ns() - self.start_mono_ns) * self.speed_milli // 1000

    def wall_s(self, market_ns: int) -> float:
        """Return how many real seconds `market_ns` of market time last."""
        return market_ns * 1000 / self.speed_milli / 1e9
