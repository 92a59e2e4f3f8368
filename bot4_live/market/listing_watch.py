"""When to ask a venue whether tick, lot or filters have changed: now and then, and soon after frames lost digits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bot4_live.events import Reason
from bot4_live.market.feed_core import FeedCore

LOOK_S = 0.25
SOONEST_S = 1.0  # between two questions that frames with digits too many make us ask


class ListingWatch:
    """`run` is a task beside a feed; `check` asks the venue and takes over what has changed."""

    def __init__(self, feed: FeedCore, every_s: float, check: Callable[[], Awaitable[None]]) -> None:
        """Begin as if it had been asked now; `every_s` in real seconds."""
        self._feed, self._every_s, self._check = feed, every_s, check

    async def run(self) -> None:
        """Look and ask until cancelled. Raises what `check` raises."""
        seen, asked = 0, time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            lost = self._feed.counts.quarantined[Reason.LOST_DIGITS]
            waited = time.monotonic() - asked
            if waited >= self._every_s or (lost > seen and waited > SOONEST_S):
                seen, asked = lost, time.monotonic()
                await self._check()
