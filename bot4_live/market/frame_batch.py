"""Many frames to records in one compiled call, with no Python object for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from bot4_live.instrument import Instrument
from bot4_live.kernels import address
from bot4_live.market.blocks import fetch, store64
from bot4_live.market.fast_parser import MAX_RECORD, parse_at, parser_config, record_room
from bot4_live.market.scan import int_at

DECLINED = -1
_OUTSIDE = -1
_AHEAD = 2048  # how many bytes ahead of the frame being parsed memory is asked for what comes


@njit("i8(i8, i8, i8, i8, i8, i8, i8, i8, i8, i8)", cache=True)
def parse_frames(
    buffer: int, safe: int, starts: int, sizes: int, recv_ns: int, n: int, config: int, arena: int, room: int, at: int
) -> int:
    """Parse `n` frames to records back to back in `arena`, which has `room` bytes; return how many were looked at.

    `starts`, `sizes`, `recv_ns` and `at` are addresses of int64 arrays of n; `at[i]` becomes the record's offset in the
    arena, or DECLINED for a frame that is the reference parser's. It stops before a frame whose record may not fit,
    and returns _OUTSIDE for one that does not lie between `buffer` and `safe`.
    """
    used = 0
    total = safe - buffer
    for i in range(n):
        start, size = int_at(starts + 8 * i), int_at(sizes + 8 * i)
        if start < 0 or size < 0 or start > total or size > total - start:
            return _OUTSIDE
        if used + min(MAX_RECORD, record_room(size)) > room:
            return i
        for line in range(0, size, 64):
            fetch(buffer + start + _AHEAD + line)
        taken = parse_at(buffer + start, size, safe, config, arena + used)
        if taken == 0:
            store64(at + 8 * i, DECLINED)
            continue
        store64(arena + used + 24, int_at(recv_ns + 8 * i))
        store64(at + 8 * i, used)
        used += taken
    return n


@dataclass(frozen=True)
class FrameBatch:
    """Frames in one buffer (uint8): frame i is `buffer[starts[i] : starts[i] + sizes[i]]`, received at `recv_ns[i]`."""

    buffer: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    recv_ns: np.ndarray

    @classmethod
    def of(cls, frames: Sequence[tuple[int, bytes]]) -> FrameBatch:
        """Return the batch of (receive ns, bytes) pairs."""
        sizes = np.array([len(raw) for _, raw in frames], np.int64)
        ends = np.cumsum(sizes, dtype=np.int64)
        buffer = np.frombuffer(b"".join(raw for _, raw in frames), np.uint8)
        return cls(buffer, ends - sizes, sizes, np.array([ns for ns, _ in frames], np.int64))

    def frame(self, i: int) -> bytes:
        """Return the bytes of one frame."""
        start = int(self.starts[i])
        return self.buffer[start : start + int(self.sizes[i])].tobytes()


@dataclass(frozen=True)
class Records:
    """What `BatchParser.parse` made: the record of frame first + i begins at `arena[offsets[i]]`, or DECLINED."""

    arena: np.ndarray
    offsets: np.ndarray

    def record(self, i: int) -> np.ndarray | None:
        """Return a copy of one record (uint8), None where the frame was declined."""
        at = int(self.offsets[i])
        if at == DECLINED:
            return None
        return self.arena[at : at + int(self.arena[at : at + 4].view("<u4")[0])].copy()


class BatchParser:
    """Parses batches of one instrument's frames. Parsing only: validation and sequence rules are the feed's."""

    def __init__(self, instrument: Instrument, arena_bytes: int = 32 << 20) -> None:
        """Take an arena; raises ValueError for one that could not hold the largest record."""
        if arena_bytes < MAX_RECORD:
            raise ValueError(f"an arena of {arena_bytes} bytes cannot hold a record of {MAX_RECORD}; make it larger")
        self.instrument = instrument
        self._config = parser_config(instrument)
        self._arena = np.zeros(arena_bytes, np.uint8)
        self._offsets = np.empty(0, np.int64)

    def parse(self, batch: FrameBatch, first: int = 0) -> Records:
        """Return the records of frames `first` and after, as many as the arena holds; the next call overwrites them.

        Raises ValueError for arrays of the wrong type or a frame outside the buffer.
        """
        columns = [batch.starts, batch.sizes, batch.recv_ns]
        n = batch.starts.size - first
        if batch.buffer.dtype != np.uint8 or not batch.buffer.flags.c_contiguous:
            raise ValueError("the buffer of a batch must be contiguous uint8")
        for column in columns:
            if column.dtype != np.int64 or column.shape != (n + first,) or not column.flags.c_contiguous:
                raise ValueError("starts, sizes and receive times must be contiguous int64 of one length")
        starts, sizes, recv_ns = (column[first:] for column in columns)
        if self._offsets.size < n:
            self._offsets = np.empty(n, np.int64)
        offsets = self._offsets
        base = address(batch.buffer)
        done = parse_frames(
            base, base + batch.buffer.size, address(starts), address(sizes), address(recv_ns), n,
            address(self._config), address(self._arena), self._arena.size, address(offsets),
        )  # fmt: skip
        if done == _OUTSIDE:
            raise ValueError("a frame lies outside its buffer")
        return Records(self._arena, offsets[:done])
