"""Reading a journal: whole records only, in log order, each checked against its CRC."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from bot4_live.events import FIRST_COMMAND, HEADER, HEADER_SIZE, LAST_COMMAND, SCHEMA
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.raw_log import RawFrame, RawReader

RESTORE = "restore it from a backup"
_LENGTH_CRC = struct.Struct("<II")


@dataclass(frozen=True)
class Segment:
    """One segment in memory.

    `buffer` is uint8 and starts with the segment header; `offsets` (int64) are where records begin; `headers` is a
    HEADER array, one a record. `torn_bytes` counts what lay after the last whole record (0 in a sealed one).
    """

    path: Path
    header: SegmentHeader
    buffer: np.ndarray
    offsets: np.ndarray
    sealed: bool
    torn_bytes: int
    seal: dict[str, Any] | None = field(default=None, compare=False)

    @cached_property
    def headers(self) -> np.ndarray:
        """Return all record headers, copied into one HEADER array of shape (records,)."""
        usable = self.buffer[: self.buffer.size // 16 * 16].view("V16")
        rows = self.offsets // 16
        parts = np.empty((rows.size, 4), "V16")
        for i in range(4):
            parts[:, i] = usable[rows + i]
        return parts.view(HEADER).reshape(-1)

    @property
    def is_command(self) -> np.ndarray:
        """Return a mask of the records that are the engine's output."""
        kinds = self.headers["kind"]
        return (kinds >= FIRST_COMMAND) & (kinds <= LAST_COMMAND)

    @property
    def event_seqs(self) -> np.ndarray:
        """Return the seqs of the events, uint64, dense."""
        seqs: np.ndarray = self.headers["seq"][~self.is_command]
        return seqs

    def record(self, index: int) -> np.ndarray:
        """Return one record as a uint8 view."""
        at = int(self.offsets[index])
        return self.buffer[at : at + int(self.headers["length"][index])]

    def slots(self, index: int) -> np.ndarray:
        """Return one record's body as an int64 view of shape (slots, 2)."""
        return self.record(index)[HEADER_SIZE:].view(np.int64).reshape(-1, 2)


def written_bytes(fd: int) -> int:
    """Return where the data of a file ends; after it come only zeros, which a segment in use has many of."""
    end = 0
    with contextlib.suppress(OSError):  # ENXIO: no data from `end` on
        while True:
            end = os.lseek(fd, os.lseek(fd, end, os.SEEK_DATA), os.SEEK_HOLE)
    os.lseek(fd, 0, os.SEEK_SET)
    return end


def read_segment(path: Path) -> Segment:
    """Read one segment, sealed or not.

    Raises ValueError when the file is no segment, or a sealed one is damaged; an unsealed one ends at its first
    record that is not whole.
    """
    seal_path = path.with_suffix(".seal.json")
    # First the seal, then the bytes: a seal that comes in between says more than was read.
    seal = read_seal(seal_path) if seal_path.exists() else None
    with path.open("rb") as file:
        buffer = np.fromfile(file, np.uint8, count=written_bytes(file.fileno()))
    data = memoryview(buffer.data)
    try:
        header, at = SegmentHeader.decode(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {RESTORE}") from error
    if header.schema > SCHEMA:
        raise ValueError(f"{path} was written by a newer schema ({header.schema} > {SCHEMA}); update bot4 to read it")
    offsets = []
    size = buffer.size
    while at + HEADER_SIZE <= size:
        length, crc = _LENGTH_CRC.unpack_from(data, at)
        if length < HEADER_SIZE or length % 16 or at + length > size:
            break
        if crc32c(data[at + 8 : at + length].tobytes()) != crc:
            break
        offsets.append(at)
        at += length
    if seal is not None and (at != seal["bytes"] or len(offsets) != seal["records"]):
        raise ValueError(
            f"{path} is damaged: {len(offsets)} of {seal['records']} sealed records can be read; {RESTORE}"
        )
    rest = buffer[at:]
    torn = 0 if seal is not None or not rest.any() else int(rest.size)
    return Segment(path, header, buffer, np.array(offsets, np.int64), seal is not None, torn, seal)


def read_seal(path: Path) -> dict[str, Any]:
    """Read the seal of a segment. Raises ValueError when it is damaged."""
    try:
        seal = json.loads(path.read_bytes())
        whole = isinstance(seal, dict) and {"bytes", "records", "sha256"} <= seal.keys()
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged; {RESTORE}")
    found: dict[str, Any] = seal
    return found


class Journal:
    """A journal folder."""

    def __init__(self, directory: Path) -> None:
        """Open for reading. Raises FileNotFoundError when there is no such folder."""
        if not directory.is_dir():
            raise FileNotFoundError(2, "there is no journal here; record or trade first", str(directory))
        self.directory = directory

    def paths(self, *, sealed_only: bool = False) -> list[Path]:
        """Return the segment files in log order."""
        found = sorted(self.directory.glob("seg-*.b4j"))
        if sealed_only:
            found = [path for path in found if path.with_suffix(".seal.json").exists()]
        return found

    def require(self, after_seq: int = 0) -> None:
        """Raise ValueError when a sealed segment with events after `after_seq` is not here (its seal is)."""
        seals = {path.name.replace(".seal.json", ".b4j"): path for path in self.directory.glob("seg-*.seal.json")}
        absent = sorted(seals.keys() - {path.name for path in self.paths()})
        absent = [name for name in absent if read_seal(seals[name])["last_seq"] > after_seq]
        if absent:
            raise ValueError(
                f"{self.directory} lacks {len(absent)} of its sealed segments, the first {absent[0]}: "
                "`bot4 archive --bring-back` fetches archived ones; restore lost ones from a backup"
            )

    def segments(self, *, sealed_only: bool = False) -> Iterator[Segment]:
        """Read the segments in log order."""
        for path in self.paths(sealed_only=sealed_only):
            try:
                segment = read_segment(path)
            except FileNotFoundError:  # its writer has ended and it was empty
                continue
            yield segment

    def seals(self) -> list[dict[str, Any]]:
        """Return the seals in log order, each with `path` added."""
        return [
            read_seal(path.with_suffix(".seal.json")) | {"path": str(path)} for path in self.paths(sealed_only=True)
        ]

    def records(self) -> Iterator[np.ndarray]:
        """Iterate over all records, events and commands, as uint8 views."""
        for segment in self.segments():
            for i in range(segment.offsets.size):
                yield segment.record(i)

    def events(self) -> Iterator[np.ndarray]:
        """Iterate over the events only."""
        for segment in self.segments():
            for i in np.flatnonzero(~segment.is_command):
                yield segment.record(int(i))

    def commands(self) -> Iterator[np.ndarray]:
        """Iterate over the commands only."""
        for segment in self.segments():
            for i in np.flatnonzero(segment.is_command):
                yield segment.record(int(i))

    @cached_property
    def _raw(self) -> RawReader:
        return RawReader(self.directory)

    def raw(self, ref: int) -> RawFrame:
        """Return the raw frame at `ref`."""
        return self._raw.get(ref)

    @property
    def last_seq(self) -> int:
        """Return the last event's seq, 0 in an empty journal."""
        for path in reversed(self.paths()):
            events = read_segment(path).event_seqs
            if events.size:
                return int(events[-1])
        return 0
