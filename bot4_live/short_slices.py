"""Short time slices for a thread that sleeps until a frame comes: it does not wait for another's slice to end.

A thread that wakes on a core where another runs waits until that one sleeps or its slice is over (3 ms is usual). Linux
6.12 and later lets one whose own slice is shorter run at once, as long as it has had less than its share
(sched(7), sched_setattr(2); EEVDF: Stoica and Abdel-Wahab 1995, "Earliest Eligible Virtual Deadline First"). It takes
no more of the processor than before, and needs no privilege.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Iterator

SLICE_NS = 100_000  # the least that the kernel grants
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")  # struct sched_attr: size, policy, flags, nice, priority, runtime, ...
_RUNTIME = 5
_RESET_ON_FORK = 1
_SIZE = _ATTRIBUTES.size
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # sched_setattr, sched_getattr: glibc has them from 2.41 on


@contextlib.contextmanager
def short_slices() -> Iterator[bool]:
    """Give the calling thread short slices; yields whether the kernel does that.

    Threads and processes it starts meanwhile have ordinary ones: were theirs as short, nothing would be won.
    """
    before = _read()
    if before is None or before[1] not in (os.SCHED_OTHER, os.SCHED_BATCH):
        yield False
        return
    given = _write(before, SLICE_NS)
    try:
        yield given
    finally:
        _write(before, 0)  # 0: the kernel's own


def _read() -> tuple[int, ...] | None:
    """Return the calling thread's attributes; None where the kernel does not tell."""
    buffer = ctypes.create_string_buffer(_SIZE)
    calls = _CALLS.get(platform.machine())
    if calls is None or ctypes.CDLL(None).syscall(calls[1], 0, buffer, _SIZE, 0):
        return None
    return _ATTRIBUTES.unpack(buffer.raw)


def _write(attributes: tuple[int, ...], slice_ns: int) -> bool:
    """Set the slice, leaving policy and niceness; return whether it is in force."""
    _, policy, flags, nice, priority, *_ = attributes
    wanted = _ATTRIBUTES.pack(_SIZE, policy, flags | _RESET_ON_FORK, nice, priority, slice_ns, 0, 0)
    if ctypes.CDLL(None).syscall(_CALLS[platform.machine()][0], 0, ctypes.create_string_buffer(wanted), 0):
        return False
    now = _read()
    return now is not None and now[_RUNTIME] == slice_ns  # an older kernel takes the call and ignores the slice
