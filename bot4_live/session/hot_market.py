"""The market's side of a session: frames to commands, measured, whatever the transport.

A frame takes the compiled path (`wire.path`) into engine and journal; what is out of the ordinary goes through the feed
in Python, whose records reach the core as they always did. Nothing is lent between two frames, so account events,
TICKs and modes use engine, sequencer and journal freely. While the sequencer is ahead (`session.pace`) the path makes
and journals records, and does not step them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from bot4_live.hot_loop import HotLoop
from bot4_live.hot_step import DECLINED
from bot4_live.kernels import address
from bot4_live.session.core import Core
from bot4_live.wire.path import PathFeed, WirePath
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing


class HotMarket:
    """A session's feed with the compiled path before it."""

    def __init__(self, core: Core, feed: PathFeed, hear: Callable[[int, int], None] | None = None) -> None:
        """Begin; the engine knows the feed's instrument already. `hear` is told kind and time of every record."""
        feed.front = self.take_frame
        self._core, self._hear = core, hear
        ring = SpscRing(core.journal.ring)
        self._loop = HotLoop(feed, core.sequencer, core.engine, None)
        self.path = WirePath(self._loop, feed, ring, core.journal, self._taken, self._commands)
        self._now = np.zeros(1, np.int64)
        self._now_at = address(self._now)
        self._received = 0
        self.commanded = False  # a frame had commands since this was last set to False

    def take_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame. Raises what the core's consumers raise, e.g. for a full disk."""
        if self._core.pace is not None:
            self._core.pace.frame(recv_ns)
        self._received = self._core.received_mono(recv_ns)
        self.path.take_frame(recv_ns, raw)
        self._measure(recv_ns, 1)

    def take_poll(self, wire: SpinSocket, count: int) -> None:
        """Take the messages that a poll has just found: all were received now."""
        self._received = time.monotonic_ns()
        recv_ns = self._core.clock.now_ns()
        self._now[0] = recv_ns
        self.path.take(wire, count, self._now_at, 0)
        self._measure(recv_ns, count)

    def _taken(self, first: int, after: int, result: int) -> None:
        if result == DECLINED:  # what goes the ordinary way is counted there
            return
        if self._core.behind:  # one frame at a time then: spin is never ahead
            self._core.sequencer.wait(self._loop.ticks + self._loop.event.tobytes())
        else:
            self._core.latency.decision.add(time.monotonic_ns() - self._received, after - first)

    def _commands(self, commands: list[np.ndarray]) -> None:
        self.commanded = True
        self._core.route(commands, self._received, frame=True)

    def _measure(self, recv_ns: int, count: int) -> None:
        kinds, hear, market = self._core.kinds, self._hear, self._core.latency.market
        for kind, exch_ns in self.path.seen[:count].tolist():
            if kind:
                kinds[kind] += 1
                if hear is not None:
                    hear(kind, self._received)
                market(recv_ns, exch_ns)
