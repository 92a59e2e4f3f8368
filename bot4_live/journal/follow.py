"""Following a journal while its writer appends to it: events in order, each once, none left out."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c

from bot4_live.events import FIRST_COMMAND, HEADER_SIZE, LAST_COMMAND
from bot4_live.journal.layout import HEADER_BLOCK, SegmentHeader, segment_name

CHUNK = 256 << 10
_HEAD = struct.Struct("<IIB7xQ")  # length, crc, kind, seq
Events = tuple[np.ndarray, np.ndarray]
_NONE: Events = (np.empty(0, np.uint8), np.empty(0, np.int64))


class Follower:
    """Reads on from event `next_seq`. What is read once is not kept: memory is a chunk.

    Event seqs are dense and a segment is named by its first event, so `next_seq` alone says where to look; a writer
    that died and wrote some records again is followed as well. `start` is (first seq of a segment, offset in it) before
    which `next_seq` cannot lie: it saves reading the segment's beginning.

    With `commands` the engine's output is read as well, where it lies in the log; its seqs are those of causes, so
    `start` then says where to go on, and a command that a writer wrote again comes again.
    """

    def __init__(
        self, directory: Path, next_seq: int, start: tuple[int, int] = (0, 0), *, commands: bool = False
    ) -> None:
        self.next_seq = next_seq
        self.header: SegmentHeader | None = None  # of the segment that was read last
        self._directory, self._start, self._commands = directory, start, commands
        self._fd, self._first, self._at = -1, 0, 0

    @property
    def position(self) -> tuple[int, int]:
        """Return (first seq of a segment, offset in it) up to which the log was read: the `start` of a later one."""
        return (self._first, self._at) if self._first else self._start

    def read(self, most: int) -> Events:
        """Return up to `most` records as (uint8 buffer, int64 offsets in it); none when none is on disk yet, or so far.

        One call reads one chunk. Raises ValueError when the log goes on after an event that it does not have.
        """
        if self._fd < 0 and not self._open():
            return _NONE
        data = self._chunk()
        found, end = self._walk(data, most)
        if end == 0 and self._elsewhere():
            if self._commands:  # the next segment is there, so this one is whole now: commands may have come last
                data = self._chunk()
                found, end = self._walk(data, most)
            if end == 0:
                self.close()
        self._at += end
        if not found:
            return _NONE
        return np.frombuffer(data, np.uint8), np.array(found, np.int64)

    def _chunk(self) -> bytes:
        data = os.pread(self._fd, CHUNK, self._at)
        if len(data) >= 4 and (length := int.from_bytes(data[:4], "little")) > len(data):
            data = os.pread(self._fd, length, self._at)
        return data

    def _walk(self, data: bytes, most: int) -> tuple[list[int], int]:
        """Return (offsets of the wanted records, where the next look begins)."""
        found: list[int] = []
        at, size = 0, len(data)
        while at + HEADER_SIZE <= size and len(found) < most:
            length, crc, kind, seq = _HEAD.unpack_from(data, at)
            if length < HEADER_SIZE or length % 16 or at + length > size or crc32c(data[at + 8 : at + length]) != crc:
                break
            if FIRST_COMMAND <= kind <= LAST_COMMAND:
                if self._commands:
                    found.append(at)
            elif seq >= self.next_seq:
                if seq != self.next_seq:
                    raise ValueError(f"{self._directory} lacks event {self.next_seq}: {seq} follows; replay finds more")
                found.append(at)
                self.next_seq += 1
            at += length
        return found, at

    def _segment(self) -> int:
        """Return the first seq of the segment that holds the next event, if it is written; 0 when there is none."""
        firsts = [int(path.stem.removeprefix("seg-")) for path in self._directory.glob("seg-*.b4j")]
        if self._commands and self._start[0] in firsts:
            return self._start[0]
        return max((first for first in firsts if first <= self.next_seq), default=0)

    def _elsewhere(self) -> bool:
        """Return whether the next event is not to be expected in the open file."""
        return os.fstat(self._fd).st_nlink == 0 or self._segment() != self._first

    def _open(self) -> bool:
        first = self._segment()
        try:
            fd = os.open(self._directory / segment_name(first), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            head = os.pread(fd, HEADER_BLOCK, 0)
            total = int.from_bytes(head[8:12], "little")
            self.header, begin = SegmentHeader.decode(head if total <= len(head) else os.pread(fd, total, 0))
        except ValueError:  # it is being made
            os.close(fd)
            return False
        self._fd, self._first = fd, first
        self._at = max(begin, self._start[1]) if first == self._start[0] else begin
        self._start = (0, 0)
        return True

    def close(self) -> None:
        """Let go of the file; `read` finds it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
