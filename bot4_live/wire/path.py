"""From a frame's bytes to commands and the journal in one compiled call.

`take` gives it the messages that a poll found, `take_frame` one that asyncio brought: each goes through the hot loop
where it lies (parser, validation, sequence rules, due TICKs, engine), its bytes and its records go into the journal's
ring. Python hears of it when there are commands, or when a frame has to go the ordinary way through the feed. This is
all that feed, sequencer and engine do in Python, and the journals are equal, byte for byte.

Between two calls nothing is lent: feed, sequencer and journal are as they would be had Python taken every frame, so
whatever else runs in the process uses them as ever.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.events import HEADER_SIZE
from bot4_live.hot_loop import HotLoop
from bot4_live.hot_step import COMMANDS, DECLINED, DISTRUSTED, HOT, LOG_BYTES, frame_at
from bot4_live.journal.raw_log import ENTRY as RAW_ENTRY
from bot4_live.journal.ring import ENTRY
from bot4_live.journal.writer import RAW, RAW_HEAD, RECORD
from bot4_live.kernels import address, entry_point, header_at, offset, pointer
from bot4_live.market.blocks import store64
from bot4_live.market.fast_parser import MAX_RECORD
from bot4_live.market.hot_feed import HotFeed
from bot4_live.market.raw_bytes import BYTES_HEAD
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing, push_at, push_parts_at, room_at

_RECORD, _RAW, _RAW_HEAD, _RAW_ENTRY = int(RECORD), int(RAW), int(RAW_HEAD), int(RAW_ENTRY.size)
# The most that one frame adds to the ring besides its own bytes: records with the heads and padding of their entries,
# twice, because an entry that does not fit before the ring's end leaves the rest of it empty.
_MOST = 2 * (MAX_RECORD + LOG_BYTES + (LOG_BYTES // HEADER_SIZE + 3) * 2 * int(ENTRY.size) + _RAW_HEAD)

PATH = np.dtype(
    [
        ("buffer", "<i8"),  # addresses, from here
        ("starts", "<i8"),
        ("sizes", "<i8"),
        ("hot", "<i8"),
        ("ring", "<i8"),
        ("seen", "<i8"),
        ("raw_head", "<i8"),  # 16 bytes before a raw frame; 0: frames are not kept
        ("raw_offset", "<i8"),  # the raw log's end
        ("result", "<i8"),  # of the last frame
    ]
)
_RESULT, _RAW_OFFSET = offset(PATH, "result") // 8, offset(PATH, "raw_offset") // 8


@njit(cache=True)
def _journal(ring: int, records: int, size: int) -> None:
    """Hand records, which lie back to back, to the journal's writer; there is room."""
    at = 0
    while at < size:
        length: Any = np.int64(carray(pointer(records + at), 1, np.uint32)[0])
        push_at(ring, records + at, length, _RECORD, 0)
        at += length


@njit("i8(i8, i8, i8, i8, i8)", cache=True)
def take_at(path: int, first: int, count: int, times: int, stride: int) -> int:
    """Take messages from `first` on; return the first one not taken: after one with a result, or one declined.

    The receive time of message i is the int64 at the address `times + i * stride`. A frame is declined as well while
    the ring may have too little room: Python knows how to wait.
    """
    p = carray(pointer(path), 1, PATH)[0]
    h = carray(pointer(p.hot), 1, HOT)[0]
    starts = carray(pointer(p.starts), count, np.int64)
    sizes = carray(pointer(p.sizes), count, np.int64)
    seen = carray(pointer(p.seen), (count, 2), np.int64)
    p.result = 0
    for i in range(first, count):
        frame, size = p.buffer + starts[i], sizes[i]
        recv_ns = carray(pointer(times + i * stride), 1, np.int64)[0]
        if room_at(p.ring) < 2 * size + _MOST:
            p.result = DECLINED
            return i
        p.result = frame_at(p.hot, frame, size, recv_ns)
        if p.result < 0:
            return i
        event = header_at(h.event)
        seen[i, 0], seen[i, 1] = np.int64(event.kind), event.exch_ns
        if p.raw_head != 0:
            store64(p.raw_head, np.int64(event.kind))
            push_parts_at(p.ring, p.raw_head, _RAW_HEAD, frame, size, _RAW, recv_ns)
            event.c = p.raw_offset
            p.raw_offset += _RAW_ENTRY + size
        _journal(p.ring, h.log, h.before)
        _journal(p.ring, h.event, int(event.length))
        _journal(p.ring, h.log + h.before, h.after)
        if p.result != 0:
            return i + 1
    return count


class RawSink(Protocol):
    """Where raw frames go: a JournalClient, whose ring is the path's."""

    raw_offset: int

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Keep a frame and return its reference."""


class PathFeed(HotFeed):
    """A feed whose frames take a path first: what keeps a FeedCore fed need not know of it.

    `front(recv_ns, raw)` is set once there is a path, and leads to its `take_frame`.
    """

    front: Callable[[int, bytes], None] | None = None

    def on_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame as it came."""
        if self.front is None:
            super().on_frame(recv_ns, raw)
        else:
            self.front(recv_ns, raw)


class WirePath:
    """Joins a hot loop and the ring of its journal; wires come and go.

    `on_taken(first, after, result)` hears of messages that became decisions as soon as they did (result DECLINED: one
    that went the ordinary way), `on_commands` of the commands of a frame, in order, `on_pause` follows each frame with
    commands and each that went the ordinary way. In the last two nothing is lent. After `take`, `seen[i]` is (kind,
    exchange time) of message i's record; kind 0: it went the ordinary way.

    >>> path = WirePath(HotLoop(feed, sequencer, engine, None), feed, ring, journal, on_taken, on_commands)
    >>> path.take(wire, wire.poll(), address_of_receive_times, 8)
    """

    def __init__(
        self,
        loop: HotLoop,
        feed: HotFeed,
        ring: SpscRing,
        raw_log: RawSink | None,
        on_taken: Callable[[int, int, int], None],
        on_commands: Callable[[list[np.ndarray]], None],
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the addresses. `raw_log` is the feed's, None when it keeps no frames."""
        self._loop, self._feed, self._ring, self._raw_log = loop, feed, ring, raw_log
        self._on_taken, self._on_commands, self._on_pause = on_taken, on_commands, on_pause
        self._take_at = entry_point(take_at)
        self._raw_head = np.zeros(RAW_HEAD, np.uint8)
        self._path = np.zeros(1, PATH)
        self._path["hot"], self._path["ring"] = loop.address, ring.base
        self._path["raw_head"] = 0 if raw_log is None else address(self._raw_head)
        self._words = self._path.view(np.int64).data
        self._address = address(self._path)
        self._one_start, self._one_size, self._one_time = (np.zeros(1, np.int64) for _ in range(3))
        self._one_time_at = address(self._one_time)
        self._attach(None, self._one_start, self._one_size)
        self._lent = False
        self.declined = 0
        loop.hand_back()

    def ready(self) -> None:
        """Let the compiled call know now what was done without it, so that the next frame need not wait for that."""
        self._loop.take_over()

    def take(self, wire: SpinSocket, count: int, times: int, stride: int) -> None:
        """Take the messages that a poll of `wire` found.

        The receive time (ns of engine time) of message i is the int64 at the address `times + i * stride`. Raises what
        the feed's consumers raise.
        """
        framer = wire.framer
        if framer.starts is not self._starts:
            self._attach(framer.buffer, framer.starts, framer.sizes)
        self._run(count, times, stride, framer.message)

    def take_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame as it came from elsewhere; see `take`."""
        raw = raw if type(raw) is bytes else bytes(raw)
        if self._one_size is not self._sizes:
            self._attach(None, self._one_start, self._one_size)
        self._one_start[0], self._one_size[0], self._one_time[0] = id(raw) + BYTES_HEAD, len(raw), recv_ns
        self._run(1, self._one_time_at, 0, lambda _: raw)

    def _run(self, count: int, times: int, stride: int, message: Callable[[int], bytes]) -> None:
        loop, words, take, path = self._loop, self._words, self._take_at, self._address
        at = 0
        try:
            self._lend()
            while at < count:
                after = take(path, at, count, times, stride)
                result = words[_RESULT]
                if after > at:
                    self._on_taken(at, after, result if result > 0 else 0)
                    at = after
                if result == 0:
                    continue
                self._get_back()
                if result == DECLINED:
                    self.seen[at, 0] = 0
                    self._ordinary(message(at), ctypes.c_int64.from_address(times + at * stride).value)
                    self._on_taken(at, at + 1, result)
                    at += 1
                else:
                    if result & COMMANDS:
                        self._on_commands(loop.commands)
                    if result & DISTRUSTED:
                        loop.confirm()
                self._on_pause()
                self._lend()
        finally:
            self._get_back()

    def _ordinary(self, raw: bytes, recv_ns: int) -> None:
        self.declined += 1
        HotFeed.on_frame(self._feed, recv_ns, raw)

    def _attach(self, buffer: np.ndarray | None, starts: np.ndarray, sizes: np.ndarray) -> None:
        """Take messages from here on where `starts` (in `buffer`, or addresses) and `sizes` say."""
        path, self._starts, self._sizes = self._path, starts, sizes
        self.seen = np.zeros((starts.size, 2), np.int64)
        path["buffer"] = 0 if buffer is None else address(buffer)
        path["starts"], path["sizes"], path["seen"] = address(starts), address(sizes), address(self.seen)

    def _lend(self) -> None:
        self._loop.take_over()
        self._lent = True
        if self._raw_log is not None:
            self._words[_RAW_OFFSET] = self._raw_log.raw_offset

    def _get_back(self) -> None:
        if not self._lent:
            return
        self._lent = False
        self._loop.hand_back()
        if self._raw_log is not None:
            self._raw_log.raw_offset = self._words[_RAW_OFFSET]
