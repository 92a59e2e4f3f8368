"""The venue's clock as seen from here: what signed requests are stamped with.

The venue refuses a request older than recvWindow by its own clock, and that refusal is the fence behind a stopped
runner: so the stamp must be honest. The estimate is the engine's clock plus an offset measured at /fapi/v1/time;
over a replayed market both run at the session's speed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot4_live.clock import MS, MarketClock

SAMPLES = 5


class ExchangeTime:
    """`clock` plus the measured `offset_ns`; `error_ns` is half the best round trip, in exchange time."""

    def __init__(self, clock: MarketClock) -> None:
        self.clock = clock
        self.offset_ns = 0
        self.error_ns = 0

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
        """Measure the offset: `ask` returns the venue's time in ms; the sample with the shortest round trip counts."""
        best: tuple[int, int] | None = None
        for _ in range(samples):
            sent = self.clock.now_ns()
            server_ms = await ask()
            trip = self.clock.now_ns() - sent
            # The venue cuts to whole ms: its true time is half a ms later on average.
            offset = server_ms * MS + MS // 2 - (sent + trip // 2)
            if best is None or trip < best[0]:
                best = (trip, offset)
        if best is not None:
            self.error_ns, self.offset_ns = best[0] // 2, best[1]
