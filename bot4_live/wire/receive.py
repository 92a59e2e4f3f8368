"""recv(2) from compiled code, with the framing of what came in the same call.

Asking a socket that has nothing through Python's `socket` costs an exception each time, most of what asking costs. Here
it is asked several times a call, and a frame is found half a microsecond after the kernel has it.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import numpy as np
from numba import njit, types
from numba.np.numpy_support import carray

from bot4_live.kernels import pointer
from bot4_live.wire.framing import FRAMER, SLACK, scan_at

NOTHING, HUNG_UP = 3, 4  # beside what `scan` answers
LOWEST_ERRNO = -1000  # -errno is above, the codes of the framing are below

_recv: Any = types.ExternalFunction("recv", types.int64(types.int32, types.voidptr, types.uint64, types.int32))
_errno_location: Any = types.ExternalFunction("__errno_location", types.intp())
_FLAGS = np.int32(socket.MSG_DONTWAIT)
_LOOK = np.int32(socket.MSG_DONTWAIT | socket.MSG_PEEK)
_AGAIN, _INTERRUPTED = errno.EAGAIN, errno.EINTR


@njit("i8(i8, i8, i8)", cache=True)
def receive_at(framer: int, descriptor: int, tries: int) -> int:
    """Ask a plain socket up to `tries` times; return NOTHING, HUNG_UP, -errno, or what `scan` answers to what came."""
    s = carray(pointer(framer), 1, FRAMER)[0]
    to, room = pointer(s.buffer + s.end), np.uint64(s.max_message + SLACK - s.end)
    for _ in range(tries):
        received = _recv(np.int32(descriptor), to, room, _FLAGS)
        if received > 0:
            return scan_at(framer, received)
        if received == 0:
            return HUNG_UP
        code: Any = np.int64(carray(pointer(_errno_location()), 1, np.int32)[0])
        if code not in (_AGAIN, _INTERRUPTED):
            return -code
    return NOTHING


@njit("i8(i8, i8, i8)", cache=True)
def waits_at(descriptor: int, place: int, tries: int) -> int:
    """Look up to `tries` times whether receiving would give something: bytes (left where they are), an end, an error.

    `place` is the address of a byte to look with.
    """
    for _ in range(tries):
        if _recv(np.int32(descriptor), pointer(place), np.uint64(1), _LOOK) >= 0:
            return 1
        code: Any = np.int64(carray(pointer(_errno_location()), 1, np.int32)[0])
        if code not in (_AGAIN, _INTERRUPTED):
            return 1
    return 0
