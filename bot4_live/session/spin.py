"""The market's side of a session in `spin`: the loop polls the socket between everything else that it does.

A bounded number of polls, then one turn of asyncio for timers, REST and user stream, and again: at once when a frame
had commands, so that they leave. Nothing is lent to the compiled path during asyncio's turn (`wire.spin_path`), so
all others use engine, sequencer and journal as in `async`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import numpy as np

from bot4_live.hot_loop import HotLoop
from bot4_live.hot_step import DECLINED
from bot4_live.kernels import address
from bot4_live.market.hot_feed import HotFeed
from bot4_live.market.stream_gauge import StreamGauge
from bot4_live.session.core import Core
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spin_path import SpinPath
from bot4_live.wire.spin_stream import Fetching, SpinStream
from bot4_live.wire.spsc import SpscRing

POLLS = 32  # of the socket for one turn of asyncio
ALONE_S = 0.001  # between two turns while there is no connection
SWITCH_S = 0.0005


class SpinMarket:
    """Keeps a session's feed fed by polling; `run` is a task of the session."""

    def __init__(
        self,
        core: Core,
        feed: HotFeed,
        url: str,
        fetch_snapshot: Callable[[], Fetching],
        quiet: Callable[[], bool],
        workers: Executor,
        gauge: StreamGauge,
    ) -> None:
        """Prepare; the engine knows the feed's instrument already. `gauge` hears of every record."""
        self._core, self._gauge = core, gauge
        self._ring = SpscRing(core.journal.ring.path)
        loop = HotLoop(feed, core.sequencer, core.engine, None)
        self.path = SpinPath(loop, feed, self._ring, core.journal, self._taken, self._commands)
        self.stream = SpinStream(
            feed, url, fetch_snapshot, core.clock.now_ns, take=self._take, quiet=quiet, workers=workers
        )
        self._now = np.zeros(1, np.int64)
        self._now_at = address(self._now)
        self._received = 0
        self._commanded = False

    async def run(self) -> None:
        """Poll until cancelled. Raises what the core's consumers raise, e.g. for a full disk."""
        poll, ready, stream = self.stream.poll, self.path.ready, self.stream
        with _quick_switches():
            try:
                while True:
                    ready()
                    self._commanded = False
                    for _ in range(POLLS):
                        poll()
                        if self._commanded:
                            break
                    await asyncio.sleep(0 if stream.connected else ALONE_S)
            finally:
                stream.close()
                self._ring.unmap()

    def _take(self, wire: SpinSocket, count: int) -> None:
        """Take messages; all that one poll found were received now."""
        self._received = time.monotonic_ns()
        recv_ns = self._core.clock.now_ns()
        self._now[0] = recv_ns
        self.path.take(wire, count, self._now_at, 0)
        kinds, hear, market = self._core.kinds, self._gauge.hear, self._core.latency.market
        for kind, exch_ns in self.path.seen[:count].tolist():
            if kind:
                kinds[kind] += 1
                hear(kind, self._received)
                market(recv_ns, exch_ns)

    def _taken(self, first: int, after: int, result: int) -> None:
        if result != DECLINED:  # the others were counted on the ordinary way
            self._core.latency.decision.add(time.monotonic_ns() - self._received, after - first)

    def _commands(self, commands: list[np.ndarray]) -> None:
        self._commanded = True
        self._core.route(commands, self._received, frame=True)


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """Let a thread that works meanwhile keep the interpreter for half a millisecond, not five, before it is asked."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
