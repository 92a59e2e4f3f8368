"""A small record of integers in shared memory that many processes change, one at a time.

The record is read and written whole under an OFD lock (Linux fcntl(2), "Open file description locks"), which the
kernel drops with its holder: kill -9 leaves no lock. A stopped holder holds others up for `PATIENCE_S` at most.
A CRC tells a damaged record. Not mapped but read and written, so that a file cut short is an error of a check and not
a SIGBUS. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 0.002  # a holder needs a few microseconds
_CRC = struct.Struct("<q")
_LOCK, _UNLOCK = (struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 1, 0) for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK))
_LOOK_NS = 1_000_000_000


class SharedRecord:
    """`words` int64 values in the file at `path`, which is made when it is missing. Thread-safe.

    A reader or writer that must not lose an update does `enter()`, `read()`, `write()`, `leave()`.
    """

    def __init__(self, path: Path, words: int) -> None:
        """Open or make the file. Raises OSError when that cannot be."""
        self.path = path
        self._struct = struct.Struct(f"<{words}q")
        self._size = self._struct.size + _CRC.size
        self._mutex = threading.Lock()
        self._looked_ns = time.monotonic_ns()
        self._fd = -1
        self._open()

    def enter(self) -> bool:
        """Take the lock; False when somebody else would not let go of it in time."""
        if not self._mutex.acquire(timeout=PATIENCE_S):
            return False
        try:
            if self._take():
                return True
        except BaseException:
            self._mutex.release()
            raise
        self._mutex.release()
        return False

    def leave(self) -> None:
        """Give the lock back."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _UNLOCK)
        self._mutex.release()

    def read(self) -> list[int] | None:
        """Return the words; an empty list when nothing was ever written, None when the record is damaged.

        Without the lock what is read may be half of a change, and is then None.
        """
        raw = os.pread(self._fd, self._size, 0)
        if not raw:
            return []
        body = self._struct.size
        if len(raw) != self._size or zlib.crc32(raw[:body]) != _CRC.unpack_from(raw, body)[0]:
            return None
        return list(self._struct.unpack_from(raw))

    def write(self, words: Sequence[int]) -> None:
        """Store the words; the lock is held."""
        body = self._struct.pack(*words)
        os.pwrite(self._fd, body + _CRC.pack(zlib.crc32(body)), 0)

    def close(self) -> None:
        """Leave the record to the others."""
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _take(self) -> bool:
        now = time.monotonic_ns()
        if now - self._looked_ns > _LOOK_NS:
            self._looked_ns = now
            if not os.fstat(self._fd).st_nlink:  # somebody removed the file; the others have a new one
                self._open()
        deadline = now + int(PATIENCE_S * 1e9)
        while True:
            try:
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK)
                return True
            except (BlockingIOError, PermissionError):
                if time.monotonic_ns() >= deadline:
                    return False
                time.sleep(0)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            shared = _mark_used(fd)
            if shared and os.fstat(fd).st_nlink:
                break
            os.close(fd)  # it is being swept away
            time.sleep(0.001)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd


def _mark_used(fd: int) -> bool:
    """Take the shared flock by which `sweep` knows that a process uses the file."""
    with suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


def unused(path: Path) -> int:
    """Return a descriptor that holds the file at `path` against new users, -1 while a process uses it."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError:
            os.close(fd)
    return -1
