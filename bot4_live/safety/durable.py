"""Files that are either the old or the new one, whole, after a crash or a power cut; lines that are added to one.

Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace `path` by `data`: written beside it, fsynced, renamed, folder fsynced. Raises OSError; nothing is left.

    Without `sync` it is whole after the death of a process, not after a power cut: for what must not wait for a disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if sync:
        sync_path(path.parent)


def write_json(path: Path, value: dict[str, Any], *, sync: bool = True) -> None:
    """Replace `path` by `value` as JSON, like `write_bytes`; its folder is made when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n", sync=sync)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in `path`, None when there is no such file. Raises ValueError when it holds anything else."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return value


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file of lines, on disk when this returns; its folder is made when it is missing.

    What an earlier writer left unfinished is ended first, a line of its own. Raises OSError when the line does not fit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(fd).st_size
        whole = not size or os.pread(fd, 1, size - 1) == b"\n"
        data = (b"" if whole else b"\n") + line + b"\n"
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Make what a file holds durable, or for a folder the names in it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
