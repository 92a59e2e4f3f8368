"""The simulated exchange's clock: market time at a speed that may change, may stand still, and never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_SPEED_MILLI, MAX_SPEED_MILLI = 1, 1_000_000


class MarketTime:
    """Exchange time in ns: anchor + (CLOCK_MONOTONIC - anchor) x speed, re-anchored at each change.

    With `until_ns` it stands still by itself on reaching that time, exactly there.
    """

    def __init__(
        self,
        start_ns: int,
        *,
        speed_milli: int = 1000,
        paused: bool = False,
        until_ns: int | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin at `start_ns`. Raises ValueError for a speed outside 0.001 to 1000."""
        self._monotonic_ns = monotonic_ns
        self._anchor_ns = start_ns
        self._anchor_mono = monotonic_ns()
        self._speed_milli = _speed(speed_milli)
        self._paused = paused
        self._until_ns = until_ns

    @property
    def speed_milli(self) -> int:
        """Return the speed, 1000 for real time; a pause keeps it."""
        return self._speed_milli

    @property
    def until_ns(self) -> int | None:
        """Return the time at which it will stand still, None when it will not."""
        return self._until_ns

    @property
    def paused(self) -> bool:
        """Return whether time stands still."""
        self.now_ns()
        return self._paused

    def now_ns(self) -> int:
        """Return market time now."""
        if self._paused:
            return self._anchor_ns
        now = self._anchor_ns + (self._monotonic_ns() - self._anchor_mono) * self._speed_milli // 1000
        if self._until_ns is not None and now >= self._until_ns:
            self._anchor_ns = max(self._anchor_ns, self._until_ns)
            self._paused, self._until_ns = True, None
            return self._anchor_ns
        return now

    def set(self, *, speed_milli: int | None = None, paused: bool | None = None, until_ns: int | None = None) -> None:
        """Change the pace from now on. `until_ns` may only be ahead. Raises ValueError, changing nothing."""
        speed = self._speed_milli if speed_milli is None else _speed(speed_milli)
        now = self.now_ns()
        if until_ns is not None and until_ns < now:
            raise ValueError(f"until_ns {until_ns} is past: market time is {now}")
        self._anchor_ns, self._anchor_mono = now, self._monotonic_ns()
        self._speed_milli = speed
        if paused is not None:
            self._paused = paused
        if until_ns is not None:
            self._until_ns = until_ns

    def real_s(self, market_ns: int) -> float | None:
        """Return the real seconds until `market_ns` (0 when it is past), None while time stands still."""
        now = self.now_ns()
        if market_ns <= now:
            return 0.0
        return None if self._paused else (market_ns - now) * 1000 / self._speed_milli / 1e9


def _speed(speed_milli: int) -> int:
    if not MIN_SPEED_MILLI <= speed_milli <= MAX_SPEED_MILLI:
        raise ValueError(f"speed must be 0.001 to 1000, not {speed_milli / 1000:g}")
    return speed_milli
