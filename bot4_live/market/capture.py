"""Captures: one line a frame, `<local receive ns> <json>`, plain or gzip."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_LINE = 16 << 20
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
_GZIP_MAGIC = b"\x1f\x8b"


class CaptureError(ValueError):
    """A capture that cannot be read to its end; `line` is the first bad line, from 1."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        """Name file, line and problem."""
        super().__init__(
            f"{path}: line {line}: {problem}; get the file again, or use the {line - 1} lines before it, which are "
            "whole (`bot4 record --keep-whole` imports them)"
        )
        self.path, self.line = path, line


def read_capture(
    path: Path | str, *, on_damage: Callable[[CaptureError], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield (local_ns, frame) for every line.

    A damaged or truncated gzip, a line without a receive time, or a last line that was cut raises CaptureError. With
    `on_damage` it is handed over instead, and the iteration ends with the last whole line. What the frame says is
    not judged here. Raises OSError when the file cannot be opened.
    """
    path = Path(path)
    number = 0
    try:
        with open_capture(path) as lines:
            while line := _readline(lines, path, number + 1):
                number += 1
                yield _split(line, path, number)
        if number == 0:
            raise CaptureError(path, 1, "the file is empty")
    except CaptureError as error:
        if on_damage is None:
            raise
        on_damage(error)


@contextlib.contextmanager
def open_capture(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Open a file to read its lines, those of a gzip too. Raises OSError; reading a damaged gzip raises `DAMAGED`."""
    with path.open("rb") as stream:
        if stream.peek(2)[:2] == _GZIP_MAGIC:
            with gzip.GzipFile(fileobj=stream, mode="rb") as lines:
                yield lines
        else:
            yield stream


def _readline(lines: io.BufferedReader | gzip.GzipFile, path: Path, number: int) -> bytes:
    try:
        line = lines.readline(MAX_LINE)
    except DAMAGED as error:
        raise CaptureError(path, number, f"the gzip data is cut or damaged ({error})") from None
    if line and not line.endswith(b"\n") and (len(line) >= MAX_LINE or not line.rstrip().endswith(b"}")):
        raise CaptureError(path, number, "the line is cut" if len(line) < MAX_LINE else "the line is too long")
    return line


def _split(line: bytes, path: Path, number: int) -> tuple[int, bytes]:
    stamp, blank, frame = line.partition(b" ")
    frame = frame.rstrip(b"\r\n")
    if not (blank and frame and stamp.isdigit() and len(stamp) <= 19):
        raise CaptureError(path, number, f"expected '<receive ns> <json>', found {line[:40]!r}")
    return int(stamp), frame
