"""The venue's clock as seen from here: an offset, and a rate for a simulated exchange that runs at `speed`."""

from __future__ import annotations

import time
from collections.abc import Callable

_BASE_NS = 200_000_000  # a rate is measured over at least this long
_EXACT = 0.02  # a rate this close to 1 is 1: real clocks drift by parts per million


class ExchangeClock:
    """Samples of (server time, local interval in which it was read) give the server's time now, in ms."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._first: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None
        self.rate = 1.0
        self.rate_known = False

    @property
    def known(self) -> bool:
        """Return whether there is a sample."""
        return self._last is not None

    def sample(self, server_ms: int, before_ns: int, after_ns: int) -> None:
        """Take in the server's time read between two readings of CLOCK_MONOTONIC."""
        now = (server_ms, (before_ns + after_ns) // 2)
        if self._first is None:
            self._first = now
        elapsed_ns = now[1] - self._first[1]
        if elapsed_ns >= _BASE_NS:
            rate = (now[0] - self._first[0]) * 1e6 / elapsed_ns
            self.rate = 1.0 if abs(rate - 1) < _EXACT else max(0.0, rate)
            self.rate_known = True
            self._first = self._last if self._last is not None else now
        self._last = now

    def now_ms(self) -> int:
        """Return the server's time now. Raises ValueError without a sample."""
        if self._last is None:
            raise ValueError("the venue's clock was never read")
        return self._last[0] + int((self._monotonic_ns() - self._last[1]) * self.rate / 1e6)
