"""The venue's clock as seen from here: what signed requests are stamped with, and what latencies are corrected by.

The venue refuses a request older than recvWindow by its own clock, and that refusal is the fence behind a stopped
runner: so the stamp must be honest. The estimate is the engine's clock plus an offset measured at /fapi/v1/time
(`clock_offset`); over a replayed market both run at the session's speed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

from bot4_live.clock import MS, MarketClock
from bot4_live.execution.clock_offset import EventBound, OffsetEstimator

SAMPLES = 5
FIRST_POLL_S, LONGEST_POLL_S = 1.0, 16.0  # real seconds between two samples; doubled while nothing contradicts


class ExchangeTime:
    """`clock` plus the measured `offset_ns`, right to within `error_ns` (exchange time) when it was last measured.

    `rtt_ns` is the shortest round trip behind it, `steps` how often the venue's clock was found set, `measured` how
    many samples were taken.
    """

    def __init__(self, clock: MarketClock) -> None:
        self.clock = clock
        self.offset_ns = 0
        self.error_ns = 0
        self.rtt_ns = 0
        self.measured = 0
        self.events = EventBound()
        self._estimator = OffsetEstimator()
        self._poll_s = FIRST_POLL_S
        self._due = 0.0
        self._random = random.Random()

    @property
    def steps(self) -> int:
        """Return how often a sample contradicted those before it."""
        return self._estimator.steps

    @property
    def contradicted(self) -> bool:
        """Return whether a market event came from the future, by this estimate: then it is wrong, or events are."""
        least = self.events.at_least(self.clock.now_ns())
        return least is not None and least > self.offset_ns + self.error_ns

    @property
    def due(self) -> bool:
        """Return whether it is time for another sample."""
        return time.monotonic() >= self._due

    def now_ns(self) -> int:
        """Return the venue's time now, estimated."""
        return self.clock.now_ns() + self.offset_ns

    def now_ms(self) -> int:
        """Return the stamp of a request that leaves now."""
        return self.now_ns() // MS

    def real_s(self, exchange_ms: float) -> float:
        """Return how many real seconds `exchange_ms` of the venue's time last."""
        return self.clock.wall_s(int(exchange_ms * MS))

    async def sync(self, ask: Callable[[], Awaitable[int]], samples: int = SAMPLES) -> None:
        """Measure the offset by `samples` questions more; `ask` returns the venue's time in ms."""
        for _ in range(samples):
            await self._sample(ask)

    async def refresh(self, ask: Callable[[], Awaitable[int]]) -> None:
        """Take the sample that is due: more when it contradicts, the next one later when it does not or none came."""
        suspect, steps = self.contradicted, self.steps
        self._schedule(min(2 * self._poll_s, LONGEST_POLL_S))  # also when the question fails
        await self.sync(ask, SAMPLES if suspect else 1)
        if self.steps != steps:
            await self.sync(ask, SAMPLES - 1)
            self._schedule(FIRST_POLL_S)

    async def _sample(self, ask: Callable[[], Awaitable[int]]) -> None:
        sent_ns = self.clock.now_ns()
        server_ms = await ask()
        received_ns = self.clock.now_ns()
        if self._estimator.add(server_ms, sent_ns, received_ns):
            self.events.reset()
        self.measured += 1
        found = self._estimator.estimate(received_ns)
        if found is not None:
            self.offset_ns, self.error_ns, self.rtt_ns = found.offset_ns, found.error_ns, found.rtt_ns

    def _schedule(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._due = time.monotonic() + poll_s * self._random.uniform(0.9, 1.1)
