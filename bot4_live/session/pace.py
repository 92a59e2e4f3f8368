"""The pace of a session: frames that come faster than the engine takes them are journaled first and stepped later.

A turn is what the socket gives without being waited for, and is full with more than FULL_FRAMES. After STALE_S of full
turns, when nothing that is decided may leave any more, reading comes first and the sequencer runs ahead: frames are
sequenced and journaled only, and the engine takes them from the backlog in slices, one a turn of the loop, so that
reading, orders and heartbeat go on between. BACKLOG events in the log say from where to where.

The data is stale by what waits here and by what waits unread in the socket: the first is measured, the second is known
to exist for as long as turns are full. `lag_s` is the greater of both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from bot4_live import engine_events
from bot4_live.clock import MarketClock
from bot4_live.events import HEADER, Kind, header_of
from bot4_live.sequencer import Sequencer

FULL_FRAMES = 256
SLICE = 2048
RETRY_S = 0.002  # the writer has not yet what is next
FULL_TURN_S = 0.25  # a turn this long ago says nothing of the socket any more
STALE_S = 0.5  # what was decided on older data than this is not sent, and a session this far behind holds


class Pace:
    """Decides when the sequencer runs ahead, and lets the engine catch up.

    `taken(headers, commands)` gets each slice. Without a running loop nothing is ever ahead.
    """

    def __init__(
        self, sequencer: Sequencer, clock: MarketClock, taken: Callable[[np.ndarray, list[np.ndarray]], None]
    ) -> None:
        self._sequencer, self._clock, self._taken = sequencer, clock, taken
        self._loop: asyncio.AbstractEventLoop | None = None
        self._frames = 0
        self._turn_at = self._full_since = self._full_at = 0.0  # CLOCK_MONOTONIC, s; since 0: turns are not full
        self._slicing = self._over = False
        self._began_seq = 0
        self.ahead_after_s, self.slice = STALE_S, SLICE
        self.times_ahead = 0

    @property
    def behind(self) -> bool:
        """Return whether the engine has not yet seen all that is in the log."""
        return self._sequencer.ahead

    @property
    def lag_s(self) -> float:
        """Return how old the engine's data is at least, in real seconds; 0 when it is up to date."""
        now = time.monotonic()
        unread = now - self._full_since if self._full_since and now - self._full_at < FULL_TURN_S else 0.0
        if not self.behind:
            return unread
        return max(unread, self._clock.wall_s(self._clock.now_ns() - self._sequencer.stepped_ns))

    def fresh(self, recv_ns: int) -> bool:
        """Return whether a decision caused by an event of this engine time may still be acted on."""
        return self._clock.wall_s(self._clock.now_ns() - recv_ns) <= STALE_S

    def frame(self, recv_ns: int) -> None:
        """Count a frame that is about to be taken, and run ahead when there have been too many for too long."""
        self._frames += 1
        if self._frames == 1:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                self._frames = 0
                return
            self._turn_at = time.monotonic()
            self._loop.call_soon(self._turn)
        elif self._frames > FULL_FRAMES and not self._sequencer.ahead and self._full_s() >= self.ahead_after_s:
            self._begin(recv_ns)

    def _full_s(self) -> float:
        return time.monotonic() - (self._full_since or self._turn_at)

    def _turn(self) -> None:
        """Judge the turn that is over."""
        full, self._frames = self._frames > FULL_FRAMES, 0
        if not full:
            self._full_since = 0.0
        elif not self._full_since or self._turn_at - self._full_at > FULL_TURN_S:
            self._full_since = self._turn_at
        self._full_at = time.monotonic()

    def _begin(self, recv_ns: int) -> None:
        sequencer = self._sequencer
        marker = engine_events.backlog(recv_ns, True, 0, 0)
        due = sequencer.advance(recv_ns)  # the TICKs before it, so that what it names is right after it
        header_of(marker)["b"] = sequencer.next_seq + 1
        self._taken(_NOTHING, due + sequencer.push(marker))
        self._began_seq = sequencer.next_seq
        sequencer.go_ahead()
        self.times_ahead += 1
        self._plan(0.0)

    def _plan(self, wait_s: float) -> None:
        if self._loop is not None and not self._slicing:
            self._slicing = True
            if wait_s:
                self._loop.call_later(wait_s, self._slice)
            else:
                self._loop.call_soon(self._slice)

    def _slice(self) -> None:
        """Step some of what waits; draw level when nothing does and the socket is not full any more."""
        self._slicing = False
        if not self.behind or self._over:
            return
        taken = self.catch_up(self.slice)
        waiting = bool(self._sequencer.backlog)
        if waiting or self._full_since:
            self._plan(0.0 if taken else RETRY_S)
            if not waiting and time.monotonic() - self._full_at > FULL_TURN_S:
                self._full_since = 0.0
        else:
            self._draw_level()

    def catch_up(self, most: int) -> int:
        """Step up to `most` of the events that wait; return how many were."""
        heads, commands = self._sequencer.catch_up(most)
        if heads.size:
            self._taken(heads, commands)
        return int(heads.size)

    def _draw_level(self) -> None:
        sequencer = self._sequencer
        count = sequencer.next_seq - self._began_seq
        sequencer.draw_level()
        record = engine_events.backlog(self._clock.now_ns(), False, sequencer.next_seq, count)
        self._taken(_NOTHING, sequencer.push(record))

    def finish(self, timeout_s: float) -> bool:
        """Step all that waits, without a loop, at the end of a session; False when that takes too long."""
        self._over = True
        deadline = time.monotonic() + timeout_s
        while self.behind:
            if not self._sequencer.backlog:
                self._draw_level()
            elif time.monotonic() > deadline:
                return False
            elif not self.catch_up(self.slice):
                time.sleep(RETRY_S)
        return True


_NOTHING = np.empty(0, HEADER)
_MARKET = np.zeros(256, np.bool_)
_MARKET[[Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE]] = True


def market_times(heads: np.ndarray) -> list[int]:
    """Return the receive times of the market events among these headers."""
    times: list[int] = heads["recv_ns"][_MARKET[heads["kind"]]].tolist()
    return times
