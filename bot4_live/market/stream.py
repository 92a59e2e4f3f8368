"""The market stream of one symbol: a FeedCore kept fed over one connection, which is renewed before it is cut.

A pool of one (`market.live`): reconnects with jittered backoff behind a circuit breaker, drops a connection that is
silent, fetches snapshots until the core is content, and hands the book over to a new connection before a day is over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.binance_reader import BinanceReader
from bot4_live.market.live.connection import MAX_FRAME, surroundings
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.shard import Shard
from bot4_live.market.live.status import PoolStatus
from bot4_live.market.venues.dialects import BinanceDialect

__all__ = ["MAX_FRAME", "MarketStream", "StreamCounts", "StreamTimes"]


@dataclass
class StreamCounts:
    """What happened to the connections."""

    connects: int = 0
    failures: int = 0
    silences: int = 0
    snapshots: int = 0
    snapshot_failures: int = 0
    renewals: int = 0


class MarketStream:
    """Keeps a FeedCore fed. `run()` ends when `stop()` was called; it never raises for what the network does, only
    what the core's consumers raise, e.g. a full disk.

    `now_ns` is the engine's clock, `fetch_snapshot` returns the raw depth snapshot (OSError, TimeoutError and
    ValueError are tried again), `on_batch` runs after frames were taken (to let a sequencer advance), `quiet` says
    that silence is expected, e.g. while a replayed market is paused.
    """

    def __init__(
        self,
        core: FeedCore,
        url: str,
        fetch_snapshot: Callable[[], Awaitable[bytes]],
        now_ns: Callable[[], int],
        *,
        times: StreamTimes | None = None,
        on_batch: Callable[[], None] | None = None,
        quiet: Callable[[], bool] = lambda: False,
        room: Callable[[], bool] = lambda: True,
        seed: int | None = None,
    ) -> None:
        """Prepare; nothing is opened before `run()`. While there is no `room` the socket is not read."""
        self.core = core
        times = times or StreamTimes()
        symbol = core.instrument.symbol.lower()
        self._around = surroundings(
            BinanceDialect.limits, now_ns, times, random.Random(seed), quiet=quiet, on_batch=on_batch, room=room
        )
        self._reader = BinanceReader({symbol: core}, lambda _: fetch_snapshot(), now_ns, times)
        self._shard = Shard(symbol, url, self._reader, BinanceDialect, self._around)

    @property
    def counts(self) -> StreamCounts:
        """Return what happened to the connections so far."""
        tally = self._shard.tally
        return StreamCounts(
            tally.connects, tally.failures, tally.silences, self._reader.snapshots, self._reader.snapshot_failures,
            tally.renewals,
        )  # fmt: skip

    @property
    def connected(self) -> asyncio.Event:
        """Return what is set while the connection is open."""
        return self._shard.connection.connected

    @property
    def url(self) -> str:
        """Return the address."""
        return self._shard.url

    @property
    def open_s(self) -> float:
        """Return for how long the connection is open, in seconds; 0 when it is not."""
        opened = self._shard.connection.opened_at
        return time.monotonic() - opened if opened else 0.0

    @property
    def last_error(self) -> str:
        """Return what the last connection ended with."""
        return self._shard.tally.last_error

    def status(self) -> PoolStatus:
        """Return what a pool would say of itself."""
        return PoolStatus(BinanceDialect.venue, self._around.breaker.state, tuple(self._shard.status()))

    def stop(self) -> None:
        """End `run()` soon."""
        self._shard.stop()

    async def run(self) -> None:
        """Connect, read, reconnect and renew until stopped."""
        await self._shard.run()
