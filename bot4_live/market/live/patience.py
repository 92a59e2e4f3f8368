"""When to try again: backoff with jitter, a circuit breaker for a venue, and the venue's rate limits."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Clock = Callable[[], float]


@dataclass(frozen=True)
class StreamTimes:
    """Patience of a connection, in real seconds."""

    first_backoff_s: float = 0.1
    longest_backoff_s: float = 30.0
    stable_s: float = 5.0  # a connection that lasted this long resets the backoff, and closes a half-open breaker
    silence_s: float = 10.0  # of the whole connection; never shorter than 2.5 of the venue's heartbeats
    heartbeat_s: float | None = None  # None: the venue's own
    ping_s: float = 10.0  # protocol pings, which find a peer that is gone
    ping_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    snapshot_retry_s: float = 0.25
    snapshot_slowest_s: float = 5.0
    resync_retry_s: float = 5.0  # a book that was asked for and has not come is asked for again, ever more slowly
    lifetime_s: float | None = None  # of a connection, before the venue cuts it; None: the venue's own
    haste_s: float = 5.0  # a connection of which the venue says that it will close it is renewed within this time
    handover_s: float = 20.0  # for a new connection to reach the old one's books; then they are stated anew
    linger_s: float = 1.0  # the old connection is read this long after all books went over
    breaker_failures: int = 10
    breaker_window_s: float = 60.0
    breaker_open_s: float = 15.0


class Backoff:
    """Full jitter: uniform between 0 and a limit that doubles (Brooker, "Exponential Backoff And Jitter", AWS 2015)."""

    def __init__(self, first_s: float, longest_s: float, rng: random.Random) -> None:
        """Begin at the first limit."""
        self._first, self._longest, self._rng = first_s, longest_s, rng
        self._limit = first_s

    def reset(self) -> None:
        """Begin anew."""
        self._limit = self._first

    def next(self) -> float:
        """Return how many seconds to wait."""
        limit, self._limit = self._limit, min(2 * self._limit, self._longest)
        return self._rng.uniform(0, limit)


class BreakerState(StrEnum):
    """CLOSED lets all through, OPEN none, HALF_OPEN one, to see whether the venue is there again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Circuit breaker of the connections to one venue: after too many failures in a while nobody tries for a while."""

    def __init__(self, times: StreamTimes, rng: random.Random, clock: Clock = time.monotonic) -> None:
        """Begin closed."""
        self._times, self._rng, self._clock = times, rng, clock
        self._failures: deque[float] = deque()
        self._until = 0.0
        self._probe: object | None = None
        self.opened = 0
        self.state = BreakerState.CLOSED

    def wait_s(self, who: object) -> float:
        """Return 0 when `who` may connect now, else after how many seconds to ask again."""
        now = self._clock()
        if self.state is BreakerState.OPEN:
            if now < self._until:
                return self._until - now
            self.state, self._probe = BreakerState.HALF_OPEN, who
        if self.state is BreakerState.HALF_OPEN and self._probe not in (None, who):
            return self._times.breaker_open_s / 4
        if self.state is BreakerState.HALF_OPEN:
            self._probe = who
        return 0.0

    def failed(self, who: object) -> None:
        """Count a connection that could not be opened or did not last."""
        now = self._clock()
        self._failures.append(now)
        while self._failures[0] < now - self._times.breaker_window_s:
            self._failures.popleft()
        probed = self.state is BreakerState.HALF_OPEN and self._probe is who
        if probed or (self.state is BreakerState.CLOSED and len(self._failures) >= self._times.breaker_failures):
            self.state, self._probe = BreakerState.OPEN, None
            self._until = now + self._times.breaker_open_s * self._rng.uniform(0.75, 1.25)
            self.opened += 1
            self._failures.clear()

    def lasted(self, who: object) -> None:
        """Say that a connection has proven good: a half-open breaker closes."""
        if self.state is BreakerState.HALF_OPEN and self._probe in (None, who):
            self.state, self._probe = BreakerState.CLOSED, None
            self._failures.clear()

    def left(self, who: object) -> None:
        """Say that `who` no longer tries: another may probe."""
        if self._probe is who:
            self._probe = None


class Pacer:
    """A token bucket of half the limit that refills by half the limit: no window ever holds more than the limit."""

    def __init__(self, count: int, per_s: float, clock: Clock = time.monotonic) -> None:
        """Begin full."""
        self._size = max(count / 2, 1.0)
        self._per_s = count / 2 / per_s
        self._clock = clock
        self._tokens, self._at = self._size, clock()

    def take(self) -> float:
        """Take a token; return how many seconds to wait before using it."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_s) - 1
        self._at = now
        return max(-self._tokens / self._per_s, 0.0)

    async def turn(self) -> None:
        """Wait for a turn."""
        wait = self.take()
        if wait > 0:
            await asyncio.sleep(wait)
