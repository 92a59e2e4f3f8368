"""A single-producer single-consumer ring in a file mapped from shared memory.

One producer process appends entries, one consumer process takes them; either may die at any moment. Positions are
byte counts that only grow. An entry is 16 bytes (length, type, aux) and its payload, padded to 16; the producer
stores `head` after the bytes, so a reader never sees half an entry. What the consumer has finished is a small
record in one of two slots with an index word that is flipped last: position and the consumer's own words change
together, so work is neither lost nor done twice across a kill.

The file is allocated up front (posix_fallocate): a sparse mapping on a full filesystem would be SIGBUS.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

MAGIC = 0x42345249_4E473031  # "B4RING01"
HEADER = 4096
ENTRY = struct.Struct("<IIq")
WRAP = 0xFFFFFFFF
WORDS = 6  # the consumer's own words beside the position

# Word indexes (8 bytes each); producer's, then consumer's.
_MAGIC, _CAPACITY, _HEAD, _CLOSED, _SLOT, _STATUS, _ERRNO, _COUNTS = 0, 1, 8, 9, 16, 17, 18, 19
COUNTS = 8  # words for what the consumer counts; for people, a restart begins at 0
_SLOTS = 32  # two slots of 1 + WORDS words


class Ring:
    """The mapped ring; use one object in the producer and one in the consumer."""

    def __init__(self, path: Path) -> None:
        """Map an existing ring. Raises FileNotFoundError, or ValueError when the file is something else."""
        self.path = path
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size <= HEADER:
                raise ValueError(f"{path} is not a ring (too short)")
            # All pages at once: none is faulted in while a frame waits, and memory does not grow with the first lap.
            self.map = mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        finally:
            os.close(fd)
        self._view = memoryview(self.map)
        self._words = self._view[:HEADER].cast("q")
        self._data = self._view[HEADER:]
        self.capacity = self._words[_CAPACITY]
        if self._words[_MAGIC] != MAGIC or self.capacity != size - HEADER:
            raise ValueError(f"{path} is not a ring (wrong magic or size)")

    @classmethod
    def create(cls, path: Path, capacity: int) -> Ring:
        """Create an empty ring of `capacity` bytes (a multiple of 16), replacing what was there, and map it."""
        if capacity % 16 or capacity < 1024:
            raise ValueError("a ring's capacity is a multiple of 16, at least 1024")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, HEADER + capacity)
            os.pwrite(fd, struct.pack("<qq", MAGIC, capacity), 0)
        except OSError as error:
            temporary.unlink()
            what = f"{error.strerror}: no room for a ring of {capacity >> 10:,} KiB; free some or make it smaller"
            raise OSError(error.errno, what, str(path.parent)) from None
        finally:
            os.close(fd)
        os.replace(temporary, path)
        return cls(path)

    # Producer.

    def push(self, payload: bytes | memoryview, entry_type: int = 0, aux: int = 0) -> bool:
        """Append one entry; False when there is no room (nothing is written then).

        Raises ValueError for a payload that could never fit.
        """
        words = self._words
        size = (ENTRY.size + len(payload) + 15) & ~15
        if size > self.capacity // 2:
            raise ValueError(f"an entry of {len(payload)} bytes does not fit a ring of {self.capacity}")
        head = words[_HEAD]
        at = head % self.capacity
        room = self.capacity - at
        skip = room if room < size else 0
        if head + skip + size - self.tail > self.capacity:
            return False
        if skip:
            ENTRY.pack_into(self._data, at, 0, WRAP, 0)
            at = 0
        ENTRY.pack_into(self._data, at, len(payload), entry_type, aux)
        self._data[at + ENTRY.size : at + ENTRY.size + len(payload)] = payload
        words[_HEAD] = head + skip + size
        return True

    def close_producer(self) -> None:
        """Say that nothing more will come."""
        self._words[_CLOSED] = 1

    # Consumer.

    def peek(self, position: int) -> tuple[bytes, int, int, int] | None:
        """Return (payload, type, aux, next position) of the entry at `position`, None when there is none yet."""
        if position >= self._words[_HEAD]:
            return None
        at = position % self.capacity
        length, entry_type, aux = ENTRY.unpack_from(self._data, at)
        if entry_type == WRAP:
            return self.peek(position + self.capacity - at)
        payload = bytes(self._data[at + ENTRY.size : at + ENTRY.size + length])
        return payload, entry_type, aux, position + ((ENTRY.size + length + 15) & ~15)

    def commit(self, position: int, words: tuple[int, ...] = ()) -> None:
        """Free everything before `position` and store the consumer's words, both at once."""
        slot = 1 - self._words[_SLOT]
        base = _SLOTS + slot * (1 + WORDS)
        for i, word in enumerate(words):
            self._words[base + 1 + i] = word
        self._words[base] = position
        self._words[_SLOT] = slot

    def pop(self) -> bytes | None:
        """Take one entry's payload, None when the ring is empty."""
        entry = self.peek(self.tail)
        if entry is None:
            return None
        self.commit(entry[3])
        return entry[0]

    @property
    def tail(self) -> int:
        """Return the position up to which the consumer has finished."""
        return self._words[_SLOTS + self._words[_SLOT] * (1 + WORDS)]

    @property
    def consumer_words(self) -> tuple[int, ...]:
        """Return the words stored with the last commit."""
        base = _SLOTS + self._words[_SLOT] * (1 + WORDS) + 1
        return tuple(self._words[base : base + WORDS])

    @property
    def backlog(self) -> int:
        """Return how many bytes wait."""
        return self._words[_HEAD] - self.tail

    @property
    def closed(self) -> bool:
        """Return whether the producer has said that nothing more will come."""
        return self._words[_CLOSED] != 0

    @property
    def status(self) -> tuple[int, int]:
        """Return the consumer's (status, errno)."""
        return self._words[_STATUS], self._words[_ERRNO]

    def set_status(self, status: int, errno: int = 0) -> None:
        """Store the consumer's status (0 is well) and errno."""
        self._words[_ERRNO] = errno
        self._words[_STATUS] = status

    @property
    def counts(self) -> tuple[int, ...]:
        """Return what the consumer counted."""
        return tuple(self._words[_COUNTS : _COUNTS + COUNTS])

    def set_counts(self, counts: tuple[int, ...]) -> None:
        """Store what the consumer counted, at most COUNTS numbers."""
        for i, count in enumerate(counts):
            self._words[_COUNTS + i] = count

    def unmap(self) -> None:
        """Release the mapping."""
        self._data.release()
        self._words.release()
        self._view.release()
        self.map.close()
