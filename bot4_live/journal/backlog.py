"""Events that are in the journal and wait for the engine: a few in memory, all others on disk.

The journal is the buffer (docs/decisions/008): a backlog of any length costs a bounded memory, because what does not
fit is read on from the segments that the writer makes anyway. Order is that of the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bot4_live.journal.follow import Events, Follower

MEMORY_BYTES = 4 << 20


class Backlog:
    """A queue of events with dense seqs: the oldest in memory, then those left to the disk, then the newest in memory.

    `written()` gives (first seq of the writer's segment, offset up to which it is written).
    """

    def __init__(
        self, directory: Path, written: Callable[[], tuple[int, int]], memory_bytes: int = MEMORY_BYTES
    ) -> None:
        """Begin empty; at most twice `memory_bytes` are kept."""
        self._directory, self._written, self._limit = directory, written, memory_bytes
        self._front: deque[bytes] = deque()
        self._back: deque[bytes] = deque()
        self._front_bytes = self._back_bytes = 0
        self._disk: Follower | None = None
        self._disk_end = 0  # the first seq that the disk need not give
        self._first = self._next = 0
        self.most = 0  # how many ever waited at once
        self.from_disk = 0  # how many were read back, ever

    def __len__(self) -> int:
        """Return how many events wait."""
        return self._next - self._first

    @property
    def on_disk(self) -> int:
        """Return how many of them only the disk has."""
        return 0 if self._disk is None else self._disk_end - self._disk.next_seq

    def add(self, seq: int, record: bytes) -> None:
        """Take in an event that was just journaled; `seq` follows the last one's."""
        if not len(self):
            self._first = seq
        self._next = seq + 1
        self.most = max(self.most, len(self))
        if self._disk is None:
            if self._front_bytes + len(record) <= self._limit:
                self._front.append(record)
                self._front_bytes += len(record)
                return
            self._disk = Follower(self._directory, seq, self._written())
            self._disk_end = seq
        if self._back_bytes + len(record) > self._limit:
            self._back.clear()
            self._back_bytes, self._disk_end = 0, seq
        self._back.append(record)
        self._back_bytes += len(record)

    def take(self, most: int) -> Events:
        """Return up to `most` of the oldest as (uint8 buffer, int64 offsets); none while the writer is behind us."""
        if not self._front and self._disk is not None:
            if self._disk.next_seq < self._disk_end:
                return self._read(min(most, self._disk_end - self._disk.next_seq))
            self._disk.close()
            self._disk = None
            self._front, self._back = self._back, self._front
            self._front_bytes, self._back_bytes = self._back_bytes, 0
        taken = [self._front.popleft() for _ in range(min(most, len(self._front)))]
        ends = np.cumsum([len(record) for record in taken], dtype=np.int64)
        if taken:
            self._front_bytes -= int(ends[-1])
            self._first += len(taken)
        data = np.frombuffer(b"".join(taken), np.uint8)
        return data, np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if taken else ends

    def _read(self, most: int) -> Events:
        assert self._disk is not None
        data, offsets = self._disk.read(most)
        self._first += offsets.size
        self.from_disk += int(offsets.size)
        return data, offsets
