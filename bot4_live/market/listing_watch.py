"""When to ask a venue whether tick, lot or filters have changed: now and then, and soon after frames lost digits.

Digits that go on being lost after it was asked are not answered by asking more: those questions come ever more rarely.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK_S = 0.25
SOONEST_S = 1.0  # after a question, one that frames with digits too many make us ask; then twice as long, and so on


class ListingWatch:
    """`run` is a task beside a feed; `check` asks the venue, takes over what changed, and returns whether to end."""

    def __init__(self, lost_digits: Callable[[], int], every_s: float, check: Callable[[], Awaitable[bool]]) -> None:
        """Begin as if it had been asked now; `every_s` in real seconds. `lost_digits` counts such frames."""
        self._lost_digits, self._every_s, self._check = lost_digits, every_s, check

    async def run(self) -> None:
        """Look and ask until cancelled, or until the check ends it. Raises what `check` raises."""
        seen, asked, patience_s = self._lost_digits(), time.monotonic(), SOONEST_S
        while True:
            await asyncio.sleep(min(LOOK_S, self._every_s))
            lost, waited = self._lost_digits(), time.monotonic() - asked
            due, losing = waited >= self._every_s, lost > seen
            if due or (losing and waited >= patience_s):
                patience_s = min(2 * patience_s, self._every_s) if losing else SOONEST_S
                seen, asked = lost, time.monotonic()
                if await self._check():
                    return
