"""When to ask a venue whether tick, lot or filters have changed: now and then, and soon after frames lost digits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK_S = 0.25
SOONEST_S = 1.0  # between two questions that frames with digits too many make us ask


class ListingWatch:
    """`run` is a task beside a feed; `check` asks the venue, takes over what changed, and returns whether to end."""

    def __init__(self, lost_digits: Callable[[], int], every_s: float, check: Callable[[], Awaitable[bool]]) -> None:
        """Begin as if it had been asked now; `every_s` in real seconds. `lost_digits` counts such frames."""
        self._lost_digits, self._every_s, self._check = lost_digits, every_s, check

    async def run(self) -> None:
        """Look and ask until cancelled, or until the check ends it. Raises what `check` raises."""
        seen, asked = self._lost_digits(), time.monotonic()
        while True:
            await asyncio.sleep(min(LOOK_S, self._every_s))
            lost = self._lost_digits()
            waited = time.monotonic() - asked
            if waited >= self._every_s or (lost > seen and waited > SOONEST_S):
                seen, asked = lost, time.monotonic()
                if await self._check():
                    return
