"""A sink of JSON lines, one file a partition: each message once, whatever was killed.

The marks of a file are its lines, so effect and marks cannot part. The files belong to partitions, not to members: who
takes a partition over reads its file first. A member that was thought dead and comes back finds the file grown by
another, reads on, and passes over what that one wrote.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from bot4_live.safety.durable import sync_path
from bot4_platform.bus.envelope import Envelope, Marks
from bot4_platform.bus.view import view


class _Line(msgspec.Struct):
    """What a line says of its place."""

    account: str
    key: str
    seq: int
    index: int


_LINE = msgspec.json.Decoder(_Line)
CHUNK = 32 << 20  # bytes; no line is as long


class JsonLines:
    """Prints what is new; what it printed is remembered for as long as it lives."""

    def __init__(self, out: BinaryIO, limit: int | None = None) -> None:
        self._out, self._left, self._marks = out, limit, Marks()

    def take(self, topic: str, partition: int, messages: Sequence[Envelope]) -> int:
        """Print the messages that were not printed yet, `limit` in all; return how many."""
        fresh = [found for found in messages if self._marks.take(topic, found)][: self._left]
        self._out.write(b"".join(msgspec.json.encode(view(found)) + b"\n" for found in fresh))
        self._out.flush()
        if self._left is not None:
            self._left -= len(fresh)
        return len(fresh)


class JsonFiles:
    """Appends to `folder/<topic>-<partition>.jsonl`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._open: dict[tuple[str, int], _File] = {}

    def take(self, topic: str, partition: int, messages: Sequence[Envelope]) -> int:
        """Append the messages that the file does not have; return how many. Raises OSError with the file as it was."""
        file = self._open.get((topic, partition))
        if file is None:
            file = _File(self.folder / f"{topic}-{partition}.jsonl")
            self._open[topic, partition] = file
            sync_path(self.folder)
        return file.append(messages)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._open.values():
            os.close(file.fd)
        self._open.clear()


class _File:
    def __init__(self, path: Path) -> None:
        self.path, self.fd = path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._marks, self._size = Marks(), 0  # a file is of one topic

    def append(self, messages: Sequence[Envelope]) -> int:
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            self._catch_up()
            try:
                fresh = [found for found in messages if self._marks.take("", found)]
                data = b"".join(msgspec.json.encode(view(found)) + b"\n" for found in fresh)
                written = 0
                while written < len(data):
                    written += os.pwrite(self.fd, data[written:], self._size + written)
                os.fsync(self.fd)
            except (OSError, ValueError):  # the marks are those of the file, which is as it was
                os.ftruncate(self.fd, self._size)
                self._marks, self._size = Marks(), 0
                raise
            self._size += len(data)
            return len(fresh)
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Read what others wrote; cut a line that a killed writer did not finish."""
        while chunk := os.pread(self.fd, CHUNK, self._size):
            end = chunk.rfind(b"\n") + 1
            if end == 0:
                os.ftruncate(self.fd, self._size)
                return
            for line in chunk[:end].splitlines():
                try:
                    self._marks.take("", _LINE.decode(line))
                except msgspec.DecodeError as error:
                    raise OSError(
                        errno.EILSEQ, f"a line in it is none of the bus's ({error}); move it away", str(self.path)
                    ) from None
            self._size += end
