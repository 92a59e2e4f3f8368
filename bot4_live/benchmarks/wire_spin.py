"""From the polled socket to the decision in compiled code, for `bot4 bench wire`.

One call takes the messages that a poll found: each is parsed where it lies, becomes an event with its seq and the TICKs
due before it, goes into the journal's ring ahead of the engine, and is stepped. Python hears of it when there are
commands. This is the way of the `async` feed without two of its parts: the validation rules, and the feed's own book
with its sequence rules (the engine's book follows the same rules by itself). The book is bridged by the feed, in
Python, before the compiled path takes over; frames that the compiled parser declines take the reference parser.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.benchmarks.session import Session
from bot4_live.clock import TICK_NS
from bot4_live.engine_state import OUT_BYTES, STATE
from bot4_live.events import HEADER_SIZE, Kind, Source, header_of, new_record
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.writer import RECORD
from bot4_live.kernels import address, pointer
from bot4_live.market.fast_parser import MAX_RECORD, parse_at, parser_config
from bot4_live.market.parser import Rejected, parse
from bot4_live.sequencer import split
from bot4_live.step import step_at
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing, copy, push_at

NEXT, COMMANDS, DECLINED = 0, 1, 2
_OUT_AT = int(STATE.fields["out"][1]) if STATE.fields else 0
_RECORD = int(RECORD)
_SEQ, _RECV = 2, 3  # words of a record's header

PATH = np.dtype(
    [
        ("buffer", "<i8"),  # addresses, from here
        ("safe", "<i8"),
        ("starts", "<i8"),
        ("sizes", "<i8"),
        ("times", "<i8"),  # receive times of the whole input
        ("config", "<i8"),
        ("record", "<i8"),
        ("tick", "<i8"),
        ("engine", "<i8"),
        ("engine_out", "<i8"),
        ("ring", "<i8"),
        ("out", "<i8"),  # commands of one message and the TICKs before it
        ("out_size", "<i8"),
        ("out_limit", "<i8"),
        ("index", "<i8"),  # messages taken since the beginning
        ("next_seq", "<i8"),
        ("last_ns", "<i8"),
        ("next_tick", "<i8"),
        ("why", "<i8"),  # why the call came back
    ]
)


@njit(cache=True)
def _journal(p: Any, record: int, size: int) -> None:
    while push_at(p.ring, record, size, _RECORD, 0) == 0:
        pass  # the writer process makes room


@njit(cache=True)
def _event(p: Any, record: int, size: int, recv_ns: int) -> None:
    """Give the event its seq and time, journal it, step the engine, journal its commands."""
    words = carray(pointer(record), 8, np.int64)
    words[_SEQ] = p.next_seq
    words[_RECV] = recv_ns
    p.next_seq += 1
    p.last_ns = recv_ns
    _journal(p, record, size)
    made = step_at(p.engine, record)
    at = 0
    while at < made:
        command = p.engine_out + at
        length: Any = np.int64(carray(pointer(command), 1, np.uint32)[0])
        _journal(p, command, length)
        at += length
    if made > 0 and p.out_size + made <= p.out_limit:
        copy(p.out + p.out_size, p.engine_out, made)
        p.out_size += made


@njit("i8(i8, i8, i8)", cache=True)
def decide_at(path: int, first: int, count: int) -> int:
    """Take messages from `first` on; return the first one not taken: after commands, or where one was declined."""
    p = carray(pointer(path), 1, PATH)[0]
    starts = carray(pointer(p.starts), count, np.int64)
    sizes = carray(pointer(p.sizes), count, np.int64)
    p.out_size = 0
    p.why = NEXT
    for i in range(first, count):
        size = parse_at(p.buffer + starts[i], sizes[i], p.safe, p.config, p.record)
        if size == 0:
            p.why = DECLINED
            return i
        recv_ns = max(carray(pointer(p.times), p.index + 1, np.int64)[p.index], p.last_ns)
        while p.next_tick <= recv_ns:
            p.next_tick += TICK_NS
            _event(p, p.tick, HEADER_SIZE, p.next_tick - TICK_NS)
        _event(p, p.record, size, recv_ns)
        p.index += 1
        if p.out_size > 0:
            p.why = COMMANDS
            return i + 1
    return count


@njit("i8(i8, i8)", cache=True)
def parse_all_at(path: int, count: int) -> int:
    """Parse messages and nothing else; return how many became records."""
    p = carray(pointer(path), 1, PATH)[0]
    starts = carray(pointer(p.starts), count, np.int64)
    sizes = carray(pointer(p.sizes), count, np.int64)
    parsed = 0
    for i in range(count):
        parsed += parse_at(p.buffer + starts[i], sizes[i], p.safe, p.config, p.record) > 0
    return parsed


class CompiledPath:
    """Joins a wire, a session and the ring of the session's journal."""

    def __init__(self, wire: SpinSocket, session: Session, ring: SpscRing, times: np.ndarray) -> None:
        """Take the addresses. `times` are the receive times of the input (int64 ns): engine time, at any speed."""
        self.count = 0  # messages that became decisions
        self.declined = 0
        self._wire, self._session, self._times = wire, session, np.ascontiguousarray(times, np.int64)
        self._ring = ring
        self._live = False
        self._config = parser_config(BTCUSDT_USDM)
        self._record = np.zeros(MAX_RECORD, np.uint8)
        self._tick = new_record(Kind.TICK)
        header_of(self._tick)["source"] = Source.TIMER
        self._out = np.zeros(64 * OUT_BYTES, np.uint8)
        self._path = np.zeros(1, PATH)
        framer, state = wire.framer, address(session.engine.state)
        for name, value in {
            "buffer": address(framer.buffer),
            "safe": address(framer.buffer) + framer.buffer.size,
            "starts": address(framer.starts),
            "sizes": address(framer.sizes),
            "times": address(self._times),
            "config": address(self._config),
            "record": address(self._record),
            "tick": address(self._tick),
            "engine": state,
            "engine_out": state + _OUT_AT,
            "ring": ring.base,
            "out": address(self._out),
            "out_limit": self._out.size,
        }.items():
            self._path[name] = value
        self._address = address(self._path)
        self._why = self._path["why"]

    def run(self, done: np.ndarray, seconds: float) -> None:
        """Poll until every message is a decision; done[i] becomes when message i was one (CLOCK_MONOTONIC ns).

        Messages that one call took count as done when it came back. Raises OSError when the wire ends before,
        TimeoutError after `seconds`.
        """
        n, clock, poll = len(done), time.monotonic_ns, self._wire.poll
        give_up = clock() + int(seconds * 1e9)
        while self.count < n:
            count = poll()
            if count == 0:
                if clock() > give_up:
                    raise TimeoutError(f"only {self.count} of {n} messages came in {seconds:.0f} s")
                continue
            begin = 0
            while begin < count:
                if not self._live:
                    self._feed(begin)
                    done[self.count] = clock()
                    self.count += 1
                    begin += 1
                    continue
                after = decide_at(self._address, begin, count)
                done[self.count : self.count + after - begin] = clock()
                self.count += after - begin
                begin = after
                if self._why[0] == COMMANDS:
                    self._answer()
                elif self._why[0] == DECLINED:
                    self._decline(begin)
                    done[self.count] = clock()
                    self.count += 1
                    begin += 1
                    self._answer()
        self._give()

    def _feed(self, i: int) -> None:
        """Take a message through the feed, and go over to the compiled path when the book is live."""
        session = self._session
        session.core.on_frame(int(self._times[self.count]), self._wire.framer.message(i))
        session.answer()
        if session.core.live:
            self._live = True
            self._take(self.count + 1)

    def _decline(self, i: int) -> None:
        """Let the reference parser take a message. Raises ValueError for one that it refuses."""
        record = parse(self._wire.framer.message(i), BTCUSDT_USDM)
        if isinstance(record, Rejected):
            raise ValueError(f"the input has broken frames ({record.detail}); choose another")
        self.declined += 1
        header_of(record)["recv_ns"] = self._times[self.count]
        self._give()
        self._session.commands.extend(self._session.sequencer.push(record))
        self._take(self.count + 1)

    def _answer(self) -> None:
        """Let the venue answer the commands."""
        session = self._session
        size = int(self._path["out_size"][0])
        self._path["out_size"] = 0
        session.commands.extend(split(self._out[:size].tobytes()))
        if session.commands:
            self._give()
            session.answer()
            self._take(self.count)

    def _give(self) -> None:
        """Give the order of events to the session's sequencer."""
        if self._live:
            self._session.sequencer.next_seq = int(self._path["next_seq"][0])
            self._session.sequencer.last_ns = int(self._path["last_ns"][0])
            self._session.sequencer._next_tick = int(self._path["next_tick"][0])

    def _take(self, index: int) -> None:
        """Take it back; `index` is the next message's place in the input."""
        sequencer = self._session.sequencer
        self._path["next_seq"], self._path["last_ns"] = sequencer.next_seq, sequencer.last_ns
        self._path["next_tick"], self._path["index"] = sequencer._next_tick, index


def parse_all(wire: SpinSocket, n: int, seconds: float) -> tuple[int, int]:
    """Poll until n messages came, each parsed and dropped; return (ns when the last was, how many became records)."""
    path = np.zeros(1, PATH)
    config, record = parser_config(BTCUSDT_USDM), np.zeros(MAX_RECORD, np.uint8)
    framer = wire.framer
    path["buffer"], path["safe"] = address(framer.buffer), address(framer.buffer) + framer.buffer.size
    path["starts"], path["sizes"] = address(framer.starts), address(framer.sizes)
    path["config"], path["record"] = address(config), address(record)
    where, came, parsed = address(path), 0, 0
    give_up = time.monotonic() + seconds
    while came < n:
        count = wire.poll()
        if count:
            parsed += int(parse_all_at(where, count))
            came += count
        elif time.monotonic() > give_up:
            raise TimeoutError(f"only {came} of {n} messages came in {seconds:.0f} s")
    return time.monotonic_ns(), parsed
