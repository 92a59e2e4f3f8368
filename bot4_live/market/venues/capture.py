"""Captures of the other venues: `<seconds>: <frame>` a line, beside lines of the connection and of what was sent."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from bot4_live.market.capture import DAMAGED, CaptureError, open_capture, read_capture

_LINE = re.compile(rb"(\d{1,10})(?:\.(\d{1,9}))?: (\S.*)", re.ASCII | re.DOTALL)
_CONNECTION = re.compile(rb"wss?://\S+ (?:<->|->|<-) ")


def read_venue_capture(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield (local_ns, frame) of a capture, in this form or in that of `read_capture` (`<ns> <json>`), plain or gzip.

    Lines of the connection and empty ones are passed over. Raises CaptureError for a line of neither form, a damaged
    gzip or a file without any frame, OSError when the file cannot be opened.
    """
    path = Path(path)
    if not _is_text(path):
        yield from read_capture(path)
        return
    number, found = 0, False
    try:
        with open_capture(path) as lines:
            for number, line in enumerate(lines, 1):
                line = line.rstrip(b"\r\n")
                if not line or _CONNECTION.match(line):
                    continue
                parts = _LINE.fullmatch(line)
                if parts is None:
                    raise CaptureError(path, number, f"expected '<seconds>: <frame>', found {line[:40]!r}")
                found = True
                yield int(parts[1]) * 10**9 + int((parts[2] or b"").ljust(9, b"0")), parts[3]
    except DAMAGED as error:
        raise CaptureError(path, number + 1, f"the gzip data is cut or damaged ({error})") from None
    if not found:
        raise CaptureError(path, 1, "there is no frame in it")


def _is_text(path: Path) -> bool:
    """Return whether the first line that says something is of this form."""
    with open_capture(path) as lines, contextlib.suppress(StopIteration, *DAMAGED):
        line = next(line for line in (lines.readline(65_536) for _ in range(16)) if line.strip())
        return bool(_CONNECTION.match(line) or re.match(rb"\d{1,10}(?:\.\d{1,9})?: ", line))
    return False
