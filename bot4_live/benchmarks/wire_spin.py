"""From the polled socket to the decision in compiled code, for `bot4 bench wire`.

One call takes the messages that a poll found: each goes through the hot loop where it lies (parser, validation,
sequence rules, due TICKs, engine), and its records into the journal's ring. Python hears of it when there are commands,
or when a frame has to go the ordinary way through the feed. This is all that the `async` feed does, and the journals
are equal, byte for byte.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.benchmarks.session import Session
from bot4_live.events import FIRST_COMMAND
from bot4_live.hot_loop import HotLoop
from bot4_live.hot_step import COMMANDS, DECLINED, DISTRUSTED, HOT, frame_at
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.writer import RECORD
from bot4_live.kernels import address, pointer
from bot4_live.market.fast_parser import MAX_RECORD, parse_at, parser_config
from bot4_live.market.hot_feed import HotFeed
from bot4_live.sequencer import split
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing, push_at

_RECORD = int(RECORD)

PATH = np.dtype(
    [
        ("buffer", "<i8"),  # addresses, from here
        ("starts", "<i8"),
        ("sizes", "<i8"),
        ("times", "<i8"),  # receive times of the whole input
        ("hot", "<i8"),
        ("ring", "<i8"),
        ("index", "<i8"),  # messages taken since the beginning
        ("result", "<i8"),  # of the last one
    ]
)


@njit(cache=True)
def _journal(ring: int, records: int, size: int) -> None:
    """Hand records, which lie back to back, to the journal's writer."""
    at = 0
    while at < size:
        length: Any = np.int64(carray(pointer(records + at), 1, np.uint32)[0])
        while push_at(ring, records + at, length, _RECORD, 0) == 0:
            pass  # the writer process makes room
        at += length


@njit("i8(i8, i8, i8)", cache=True)
def decide_at(path: int, first: int, count: int) -> int:
    """Take messages from `first` on; return the first one not taken: after one with a result, or one declined."""
    p = carray(pointer(path), 1, PATH)[0]
    h = carray(pointer(p.hot), 1, HOT)[0]
    starts = carray(pointer(p.starts), count, np.int64)
    sizes = carray(pointer(p.sizes), count, np.int64)
    p.result = 0
    for i in range(first, count):
        recv_ns = carray(pointer(p.times), p.index + 1, np.int64)[p.index]
        p.result = frame_at(p.hot, p.buffer + starts[i], sizes[i], recv_ns)
        if p.result < 0:
            return i
        _journal(p.ring, h.log, h.before)
        length: Any = np.int64(carray(pointer(h.event), 1, np.uint32)[0])
        _journal(p.ring, h.event, length)
        _journal(p.ring, h.log + h.before, h.after)
        p.index += 1
        if p.result != 0:
            return i + 1
    return count


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
    """Joins a wire, a session (of a HotFeed) and the ring of the session's journal."""

    def __init__(self, wire: SpinSocket, session: Session, ring: SpscRing, times: np.ndarray) -> None:
        """Take the addresses. `times` are the receive times of the input (int64 ns): engine time, at any speed."""
        assert isinstance(session.core, HotFeed)
        self.loop = HotLoop(session.core, session.sequencer, session.engine, None)
        self.count = 0  # messages that became decisions
        self.declined = 0
        self._wire, self._session, self._core, self._ring = wire, session, session.core, ring
        self._times = np.ascontiguousarray(times, np.int64)
        self._path = np.zeros(1, PATH)
        framer = wire.framer
        self._path["buffer"], self._path["times"] = address(framer.buffer), address(self._times)
        self._path["starts"], self._path["sizes"] = address(framer.starts), address(framer.sizes)
        self._path["hot"], self._path["ring"] = self.loop._address, ring.base
        self._address = address(self._path)
        self._result = self._path["result"]

    def run(self, done: np.ndarray, seconds: float) -> None:
        """Poll until every message is a decision; done[i] becomes when message i was one (CLOCK_MONOTONIC ns).

        Messages that one call took count as done when it came back. Raises OSError when the wire ends before,
        TimeoutError after `seconds`.
        """
        n, clock, poll, result = len(done), time.monotonic_ns, self._wire.poll, self._result
        give_up = clock() + int(seconds * 1e9)
        while self.count < n:
            count = poll()
            if count == 0:
                if clock() > give_up:
                    raise TimeoutError(f"only {self.count} of {n} messages came in {seconds:.0f} s")
                continue
            begin = 0
            while begin < count:
                after = decide_at(self._address, begin, count)
                done[self.count : self.count + after - begin] = clock()
                self.count += after - begin
                begin = after
                if result[0] == DECLINED:
                    self._ordinary(begin, done)
                    begin += 1
                elif result[0] != 0:
                    self._finish(int(result[0]))

    def _ordinary(self, i: int, done: np.ndarray) -> None:
        """Take a message through the feed in Python."""
        session = self._session
        with self.loop.paused():
            self._core.on_frame(int(self._times[self.count]), self._wire.framer.message(i))
            done[self.count] = time.monotonic_ns()
            session.answer()
        self.count += 1
        self.declined += 1
        self._path["index"] = self.count

    def _finish(self, result: int) -> None:
        """Say what the check of the book found, and let the venue answer the commands."""
        session, row, log = self._session, self.loop._row, self.loop._log
        if result & COMMANDS:
            made = split(log[: int(row["before"]) + int(row["after"])].tobytes())
            session.commands.extend(record for record in made if record[8] >= FIRST_COMMAND)
        with self.loop.paused():
            if result & DISTRUSTED:
                size = int(self.loop._event[:4].view("<u4")[0])
                self._core.confirm(self.loop._event[:size].copy())
            session.answer()


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
