"""The venue's dead man's switch: it cancels everything when we stop renewing (countdownCancelAll).

It cancels, it does not flatten. It is renewed through the gate like any order: a runner that has lost its lease lets
it run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot4_live.execution.gateways.binance_usdm import Gateway
from bot4_live.execution.rest import NotSent, RestClient, UnknownFate, VenueRejected, Withheld

RENEWALS = 3  # in one countdown: two may be lost


class Countdown:
    """Renews every third of `countdown_ms` (exchange time) while `run` runs. `armed` after a first success."""

    def __init__(
        self,
        rest: RestClient,
        gateway: Gateway,
        check: Callable[[], int],
        countdown_ms: int,
        warn: Callable[[str], None],
    ) -> None:
        """`check` returns 0 when something may leave, else a SuppressCause."""
        self._rest, self._gateway, self._check = rest, gateway, check
        self.countdown_ms = countdown_ms
        self._warn = warn
        self.renewals = 0
        self.failures = 0

    @property
    def armed(self) -> bool:
        """Return whether the venue has ever taken a renewal."""
        return self.renewals > 0

    def _guard(self) -> None:
        cause = self._check()
        if cause:
            raise Withheld(cause)

    async def renew(self) -> bool:
        """Renew once; False when it did not get through."""
        try:
            await self._rest.call(self._gateway.countdown(self.countdown_ms), self._guard)
        except Withheld:
            return False
        except (NotSent, UnknownFate, VenueRejected) as error:
            self.failures += 1
            self._warn(f"the countdown cancel was not renewed: {error}")
            return False
        self.renewals += 1
        return True

    async def run(self) -> None:
        """Renew until cancelled; after a failure sooner than usual."""
        interval = self._rest.time.real_s(self.countdown_ms / RENEWALS)
        while True:
            await asyncio.sleep(interval if await self.renew() else interval / RENEWALS)
