"""The engine's clock over a simulated exchange: market time that runs at the exchange's speed and stands with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bot4_live.clock import MarketClock
from bot4_live.market.public import ExchangeClock

POLL_PAUSED_S = 0.02
POLL_RUNNING_S = 0.5
DRIFT_NS = 20_000_000  # of real time; smaller disagreements are the request's own delay


class FollowedClock:
    """Reads `GET /bot4/clock` now and then; `now_ns()` never goes back and needs no request.

    `on_anchor(offset_ns, error_ns)` is told whenever the clock is set anew: market time minus CLOCK_MONOTONIC, and
    how far the answer may be off.
    """

    def __init__(self, read: Callable[[], Awaitable[ExchangeClock]]) -> None:
        """`read` asks the exchange. Call `sync()` before `now_ns()`."""
        self._read = read
        self.on_anchor: Callable[[int, int], None] | None = None
        self._clock = MarketClock(0, 0, 0)
        self._last = 0
        self.said = ExchangeClock(0, 1000, 0, True, "", "")
        self.anchor = (0, 0)  # what `on_anchor` was told last, or would have been

    @property
    def paused(self) -> bool:
        """Return whether the exchange said that its market stands still."""
        return self.said.paused

    def now_ns(self) -> int:
        """Return market time now."""
        self._last = max(self._last, self._clock.now_ns())
        return self._last

    async def sync(self) -> ExchangeClock:
        """Ask the exchange and set the clock if it was wrong; return the answer. Raises OSError, ValueError."""
        before = time.monotonic_ns()
        said = await self._read()
        after = time.monotonic_ns()
        middle = (before + after) // 2
        # A standing market is a clock of speed 0.
        speed = 0 if said.paused else said.speed_milli
        clock = MarketClock(said.market_ns, middle, speed)
        ours = self._clock.now_ns()
        changed = self.said.paused != said.paused or speed != self._clock.speed_milli
        if changed or abs(clock.now_ns() - ours) > DRIFT_NS * max(said.speed_milli, 1000) // 1000:
            self._clock = clock
            self.anchor = said.market_ns - middle, (after - before) // 2
            if self.on_anchor is not None:
                self.on_anchor(*self.anchor)
        self.said = said
        return said

    async def follow(self) -> None:
        """Keep in step until cancelled; an exchange that does not answer leaves the clock running as it was."""
        while True:
            await asyncio.sleep(POLL_PAUSED_S if self.paused else POLL_RUNNING_S)
            try:
                await self.sync()
            except (OSError, ValueError):
                continue
