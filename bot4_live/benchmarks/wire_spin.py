"""The compiled path for `bot4 bench wire`: the runner's own `WirePath` on a polled socket, each decision timed."""

from __future__ import annotations

import time

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.benchmarks.session import Session
from bot4_live.hot_loop import HotLoop
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.kernels import address, pointer
from bot4_live.market.fast_parser import MAX_RECORD, parse_at, parser_config
from bot4_live.market.hot_feed import HotFeed
from bot4_live.wire.path import WirePath
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing


@njit("i8(i8, i8, i8, i8, i8, i8, i8)", cache=True)
def parse_all_at(buffer: int, safe: int, starts: int, sizes: int, count: int, config: int, record: int) -> int:
    """Parse messages and nothing else; return how many became records."""
    at, size = carray(pointer(starts), count, np.int64), carray(pointer(sizes), count, np.int64)
    parsed = 0
    for i in range(count):
        if parse_at(buffer + at[i], size[i], safe, config, record) > 0:
            parsed += 1
    return parsed


class CompiledPath:
    """Joins a wire and a session (of a HotFeed) with its journal."""

    def __init__(self, wire: SpinSocket, session: Session, journal: JournalClient, times: np.ndarray) -> None:
        """Map the journal's ring. `times` are the receive times of the input (int64 ns): engine time, at any speed."""
        assert isinstance(session.core, HotFeed)
        self.count = 0  # messages that became decisions
        self._wire = wire
        self._times = np.ascontiguousarray(times, np.int64)
        ring = SpscRing(journal.ring)
        loop = HotLoop(session.core, session.sequencer, session.engine, None)
        self.path = WirePath(loop, session.core, ring, journal, self._taken, session.commands.extend, session.answer)

    def run(self, done: np.ndarray, seconds: float) -> None:
        """Poll until every message is a decision; done[i] becomes when message i was one (CLOCK_MONOTONIC ns).

        Messages that one call took count as done when it came back. Raises OSError when the wire ends before,
        TimeoutError after `seconds`.
        """
        self._done = done
        n, clock, wire, path = len(done), time.monotonic_ns, self._wire, self.path
        begin = address(self._times)
        give_up = clock() + int(seconds * 1e9)
        while self.count < n:
            count = wire.poll()
            if count:
                path.take(wire, count, begin + 8 * self.count, 8)
                path.ready()
            elif clock() > give_up:
                raise TimeoutError(f"only {self.count} of {n} messages came in {seconds:.0f} s")

    def _taken(self, first: int, after: int, result: int) -> None:
        count = self.count
        self._done[count : count + after - first] = time.monotonic_ns()
        self.count = count + after - first


def parse_all(wire: SpinSocket, n: int, seconds: float) -> tuple[int, int]:
    """Poll until n messages came, each parsed and dropped; return (ns when the last was, how many became records)."""
    config, record = parser_config(BTCUSDT_USDM), np.zeros(MAX_RECORD, np.uint8)
    framer = wire.framer
    begin = address(framer.buffer)
    places = (begin, begin + framer.buffer.size, address(framer.starts), address(framer.sizes))
    came = parsed = 0
    give_up = time.monotonic() + seconds
    while came < n:
        count = wire.poll()
        if count:
            parsed += int(parse_all_at(*places, count, address(config), address(record)))
            came += count
        elif time.monotonic() > give_up:
            raise TimeoutError(f"only {came} of {n} messages came in {seconds:.0f} s")
    return time.monotonic_ns(), parsed
