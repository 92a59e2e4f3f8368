"""The ring between two processes, compiled: the layout of `journal.ring`, with real atomics.

One process produces, one consumes. Positions are published with release stores and read with acquire loads, so that
whoever sees a position sees the bytes before it, on any CPU; a plain read in a polling loop may be hoisted out of it by
the compiler and then never sees anything (Boehm and Adve, "Foundations of the C++ Concurrency Memory Model", 2008).

Because the layout is the journal's, `push_at` hands events to the journal's writer process without a Python object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from bot4_live.journal import ring
from bot4_live.journal.ring import ENTRY, HEADER, WORDS, WRAP
from bot4_live.kernels import address, pointer

_CAPACITY, _HEAD, _CLOSED, _SLOT, _SLOTS = ring._CAPACITY, ring._HEAD, ring._CLOSED, ring._SLOT, ring._SLOTS
_ENTRY, _SLOT_WORDS, _WRAP = ENTRY.size, 1 + WORDS, np.uint32(WRAP)


def _load_acquire(typingctx: Any, addr: Any) -> Any:
    """Return the int64 at an aligned address; what was written before its release store is seen after this."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(types.int64)
        place = builder.inttoptr(args[0], kind.as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.int64), codegen


def _store_release(typingctx: Any, addr: Any, value: Any) -> Any:
    """Store an int64 at an aligned address after everything that was written before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(types.int64)
        builder.store_atomic(args[1], builder.inttoptr(args[0], kind.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _copy(typingctx: Any, to: Any, start: Any, n: Any) -> Any:
    """Copy n bytes between addresses that do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, start, n = args
        memcpy(
            builder,
            builder.inttoptr(to, cgutils.voidptr_t),
            builder.inttoptr(start, cgutils.voidptr_t),
            n,
            1,
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


memcpy: Any = cgutils.raw_memcpy
load_acquire: Any = intrinsic(_load_acquire)
store_release: Any = intrinsic(_store_release)
copy: Any = intrinsic(_copy)


@njit(cache=True)
def _tail(base: int) -> int:
    slot = load_acquire(base + 8 * _SLOT)
    return load_acquire(base + 8 * (_SLOTS + slot * _SLOT_WORDS))


@njit("i8(i8, i8, i8, i8, i8, i8, i8)", cache=True)
def push_parts_at(base: int, head: int, head_size: int, data: int, size: int, entry_type: int, aux: int) -> int:
    """Append one entry of two parts, by their addresses; see `push_at`."""
    capacity = carray(pointer(base), _CAPACITY + 1, np.int64)[_CAPACITY]
    length = head_size + size
    needed = (_ENTRY + length + 15) & ~15
    if size < 0 or needed > capacity // 2:
        return -1
    position = load_acquire(base + 8 * _HEAD)
    at = position % capacity
    skip = capacity - at if capacity - at < needed else 0
    if position + skip + needed - _tail(base) > capacity:
        return 0
    if skip:
        carray(pointer(base + HEADER + at), 2, np.uint32)[1] = _WRAP
        at = 0
    entry = base + HEADER + at
    words = carray(pointer(entry), 2, np.uint32)
    words[0] = length
    words[1] = entry_type
    carray(pointer(entry + 8), 1, np.int64)[0] = aux
    copy(entry + _ENTRY, head, head_size)
    copy(entry + _ENTRY + head_size, data, size)
    store_release(base + 8 * _HEAD, position + skip + needed)
    return 1


@njit("i8(i8, i8, i8, i8, i8)", cache=True)
def push_at(base: int, data: int, size: int, entry_type: int, aux: int) -> int:
    """Append `size` bytes at the address `data` to the ring at `base`; 1, 0 when there is no room, -1 when never."""
    return push_parts_at(base, data, 0, data, size, entry_type, aux)


@njit("i8(i8)", cache=True)
def room_at(base: int) -> int:
    """Return how many bytes are free."""
    capacity = carray(pointer(base), _CAPACITY + 1, np.int64)[_CAPACITY]
    return capacity - (load_acquire(base + 8 * _HEAD) - _tail(base))


@njit("i8(i8, i8)", cache=True)
def peek_at(base: int, position: int) -> int:
    """Return the address of the entry at `position` (its 16 bytes, then its payload), 0 when there is none yet.

    An entry that says WRAP is passed over; `after_at` gives the position after an entry.
    """
    head = load_acquire(base + 8 * _HEAD)
    if position >= head:
        return 0
    capacity = carray(pointer(base), _CAPACITY + 1, np.int64)[_CAPACITY]
    entry: Any = base + HEADER + position % capacity
    if carray(pointer(entry), 2, np.uint32)[1] == _WRAP:
        return base + HEADER if position + capacity - position % capacity < head else 0
    return entry


@njit("i8(i8, i8, i8)", cache=True)
def after_at(base: int, position: int, entry: int) -> int:
    """Return the position after the entry that `peek_at(base, position)` gave."""
    capacity = carray(pointer(base), _CAPACITY + 1, np.int64)[_CAPACITY]
    at = position % capacity
    if entry != base + HEADER + at:
        position += capacity - at
    size = np.int64(carray(pointer(entry), 1, np.uint32)[0])
    return position + int((_ENTRY + size + 15) & ~15)


@njit("void(i8, i8)", cache=True)
def commit_at(base: int, position: int) -> None:
    """Free everything before `position`; the consumer's own words stay as they are."""
    slot = load_acquire(base + 8 * _SLOT)
    words = carray(pointer(base), _SLOTS + 2 * _SLOT_WORDS, np.int64)
    old, new = _SLOTS + slot * _SLOT_WORDS, _SLOTS + (1 - slot) * _SLOT_WORDS
    for i in range(1, _SLOT_WORDS):
        words[new + i] = words[old + i]
    words[new] = position
    store_release(base + 8 * _SLOT, 1 - slot)


class SpscRing:
    """A ring that `journal.ring.Ring.create` made, by its address, for kernels.

    Of a `Ring` its mapping is used, which must stay as long as kernels have the address; a path is mapped.
    """

    def __init__(self, source: ring.Ring | Path) -> None:
        """Take the address. Raises FileNotFoundError, or ValueError when the file is something else."""
        self._mine = isinstance(source, Path)
        self._ring = ring.Ring(source) if isinstance(source, Path) else source
        self.base = address(self._bytes)

    @property
    def _bytes(self) -> np.ndarray:
        return np.frombuffer(
            self._ring.map, np.uint8
        )  # made when needed: an array held would keep the map from closing

    @property
    def tail(self) -> int:
        """Return the position up to which the consumer has finished."""
        return int(_tail(self.base))

    @property
    def closed(self) -> bool:
        """Return whether the producer has said that nothing more will come."""
        return bool(self._bytes[8 * _CLOSED : 8 * _CLOSED + 8].view(np.int64)[0])

    def push(self, payload: np.ndarray, entry_type: int = 0, aux: int = 0) -> bool:
        """Append one entry (uint8); False when there is no room. Raises ValueError when it could never fit."""
        done = push_at(self.base, address(payload), payload.size, entry_type, aux)
        if done < 0:
            raise ValueError(f"an entry of {payload.size} bytes does not fit this ring")
        return bool(done)

    def pop(self) -> bytes | None:
        """Take one entry's payload, None when the ring is empty."""
        position = self.tail
        entry = peek_at(self.base, position)
        if entry == 0:
            return None
        at = entry - self.base
        size = int(self._bytes[at : at + 4].view(np.uint32)[0])
        payload = self._bytes[at + _ENTRY : at + _ENTRY + size].tobytes()
        commit_at(self.base, after_at(self.base, position, entry))
        return payload

    def unmap(self) -> None:
        """Let go of the mapping; that of a `Ring` stays its own."""
        if self._mine:
            self._ring.unmap()
