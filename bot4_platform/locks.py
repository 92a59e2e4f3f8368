"""Locks between the writers of the lake, in all processes of a machine."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STRIPES = 64


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of `name`, a partition or table under `root`. It ends with its holder, however that one ends.

    Several names may share a lock, so never hold two.
    """
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / f"{zlib.crc32(name.encode()) % _STRIPES:02d}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
