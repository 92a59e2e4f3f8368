"""The newest market events of a journal, read from the tail of a segment: also of one that is still written."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c

from bot4_live.events import HEADER, HEADER_SIZE, MARKET_KINDS
from bot4_live.journal.layout import HEADER_BLOCK, SegmentHeader
from bot4_live.journal.reader import written_bytes

TAIL = 1 << 20
_HEAD = struct.Struct("<II")
_KINDS = {int(kind) for kind in MARKET_KINDS}


def newest_events(path: Path) -> dict[str, int]:
    """Return the receive time (engine clock, ns) of the last event of each market in a segment; none when it has none.

    Reads the last MiB first and doubles that until every market of the header was seen, so a segment of hundreds of
    MB costs milliseconds. Raises ValueError when the file is no segment.
    """
    with path.open("rb") as file:
        end = written_bytes(file.fileno())
        head = file.read(HEADER_BLOCK)
        size = int.from_bytes(head[8:12], "little") if len(head) >= 16 else 0
        header, begin = SegmentHeader.decode(head + file.read(max(0, size - len(head))))
        names, found, tail = header.markets, {}, TAIL
        while end > begin:
            at = max(begin, (end - tail) // 16 * 16)
            file.seek(at)
            found = _newest(file.read(end - at), at == begin)
            if at == begin or len(found) == len(names):
                break
            tail *= 4
    return {names[number]: time for number, time in found.items() if number in names}


def _newest(data: bytes, whole: bool) -> dict[int, int]:
    """Return the newest receive time by instrument id of the records in `data`, which may begin inside a record."""
    view, at = memoryview(data), 0
    found: dict[int, int] = {}
    while at + HEADER_SIZE <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        fits = HEADER_SIZE <= length <= len(data) - at and length % 16 == 0
        if not fits or crc32c(view[at + 8 : at + length].tobytes()) != crc:
            if whole or found:  # a record that is not whole ends the log
                break
            at += 16  # not yet at a record's beginning
            continue
        record = np.frombuffer(view[at : at + HEADER_SIZE], HEADER)[0]
        if int(record["kind"]) in _KINDS:
            found[int(record["instrument"])] = int(record["recv_ns"])
        at += length
    return found
