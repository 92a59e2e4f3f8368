"""Writing segments: append records with their CRC, rotate, seal; the raw log beside.

Used by the writer process and, in process, by imports and tests. A segment is preallocated, so that a full disk
shows at rotation and never in the middle; it is cut to its length when sealed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from bot4_live.clock import DAY_NS, day_of
from bot4_live.events import FIRST_COMMAND, HEADER_SIZE, LAST_COMMAND
from bot4_live.journal.layout import SEGMENT_BYTES, SegmentHeader, seal_name, segment_name
from bot4_live.journal.policy import DAY_S
from bot4_live.journal.raw_log import RawWriter, write_whole
from bot4_live.safety.durable import sync_path, write_bytes

SPARES = 2
PENDING_BYTES = 256 << 10
_HEAD = struct.Struct("<I4xB7xQqq")  # length, kind, seq, recv_ns, exch_ns


class Tally:
    """What a seal says of the records in a segment.

    Seqs and receive times are those of its events: a command may lie far behind its cause, in a later segment.
    """

    def __init__(self, shift_ns: int, first_seq: int) -> None:
        self.shift_ns, self.first_seq, self.last_seq = shift_ns, first_seq, first_seq - 1
        self.records = self.first_recv = self.last_recv = 0
        self.kinds: dict[int, int] = {}
        self.days: set[int] = set()

    def add(self, kind: int, seq: int, recv_ns: int, exch_ns: int) -> None:
        """Count one record."""
        self.records += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if not FIRST_COMMAND <= kind <= LAST_COMMAND:
            if self.last_seq < self.first_seq:
                self.first_seq, self.first_recv = seq, recv_ns
            self.last_seq, self.last_recv = seq, recv_ns
        elif self.last_seq < self.first_seq:  # until there is an event, it must do
            self.first_recv = self.last_recv = recv_ns
        if exch_ns:
            self.days.add((exch_ns - self.shift_ns) // DAY_NS)

    def seal(self) -> dict[str, Any]:
        """Return the seal's counts."""
        return {
            "records": self.records,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "first_recv_ns": self.first_recv,
            "last_recv_ns": self.last_recv,
            "receive_day": day_of(self.first_recv - self.shift_ns) if self.records else None,
            "exchange_days": [day_of(day * DAY_NS) for day in sorted(self.days)],
            "shift_ns": self.shift_ns,
            "kinds": {str(kind): count for kind, count in sorted(self.kinds.items())},
        }


class SegmentWriter:
    """Appends to the current segment of a journal folder; not safe for two writers (the callers hold a lock)."""

    def __init__(
        self,
        directory: Path,
        header: SegmentHeader,
        segment_bytes: int = SEGMENT_BYTES,
        *,
        raw_start: int = 0,
        rotate_s: int = DAY_S,
    ) -> None:
        """Open a fresh segment. Raises OSError when the disk has no room for it and its spares."""
        self.directory, self.header, self.segment_bytes = directory, header, segment_bytes
        self._period_ns = rotate_s * 1_000_000_000
        self.sealed = 0  # segments closed so far
        directory.mkdir(parents=True, exist_ok=True)
        self._fd = -1
        self.raw = RawWriter(directory, header.first_seq, raw_start)
        try:
            self._open(header)
        except OSError:
            self.abandon()
            discard_from(directory, header.first_seq)
            raise
        self.prepare_spares()

    def _open(self, header: SegmentHeader) -> None:
        self.header = header
        self.path = self.directory / segment_name(header.first_seq)
        spare = next(iter(sorted(self.directory.glob("spare-[0-9].b4s~"))), None)
        # It gets its name with its header: whoever reads a journal in use sees no segment without one.
        unnamed = self.directory / "spare-next.b4s~"
        unnamed.unlink(missing_ok=True)
        if spare is not None and spare.stat().st_size == self.segment_bytes:
            os.replace(spare, unnamed)
        self._fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.posix_fallocate(self._fd, 0, self.segment_bytes)
        head = header.encode()
        write_whole(self._fd, head, 0)
        os.fsync(self._fd)
        os.replace(unnamed, self.path)
        sync_path(self.directory)
        self.offset = len(head)
        self._pending = bytearray()
        self._digest = hashlib.sha256(head)
        self.tally = Tally(header.shift_ns, header.first_seq)
        self.period = -1

    def prepare_spares(self) -> int:
        """Allocate spare segments up to SPARES; return how many there are (fewer means the disk is filling up)."""
        ready = 0
        for i in range(SPARES):
            path = self.directory / f"spare-{i}.b4s~"
            if not path.exists():
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try:
                    os.posix_fallocate(fd, 0, self.segment_bytes)
                except OSError:
                    path.unlink()
                    break
                finally:
                    os.close(fd)
            ready += 1
        return ready

    def append(self, record: bytes | bytearray | memoryview) -> None:
        """Append one record (its CRC is set here), rotating first when it is another period or would not fit."""
        length, kind, seq, recv_ns, exch_ns = _HEAD.unpack_from(record)
        if length != len(record) or length < HEADER_SIZE or length % 16:
            raise ValueError(f"record of {len(record)} bytes says it has {length}")
        period = (recv_ns - self.header.shift_ns) // self._period_ns
        command = FIRST_COMMAND <= kind <= LAST_COMMAND
        if self.offset + length + 16 > self.segment_bytes or (self.period not in (-1, period) and not command):
            self.rotate(seq if not command else self.tally.last_seq + 1)
        if not command:
            self.period = period
        body = bytes(memoryview(record)[8:])
        self._pending += length.to_bytes(4, "little") + crc32c(body).to_bytes(4, "little") + body
        self.offset += length
        self.tally.add(kind, seq, recv_ns, exch_ns)
        if len(self._pending) >= PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand the appended records to the kernel: from here on they survive the death of this process."""
        if self._pending:
            write_whole(self._fd, self._pending, self.offset - len(self._pending))
            self._digest.update(self._pending)
            self._pending.clear()

    def rotate(self, first_seq: int) -> None:
        """Seal the current segment and go on in the next."""
        self.seal()
        if (self.directory / segment_name(first_seq)).exists():
            raise ValueError(f"{self.directory / segment_name(first_seq)} exists already; nothing is overwritten")
        self.raw.rotate(first_seq)
        self._open(replace(self.header, first_seq=first_seq))
        self.prepare_spares()

    def sync(self) -> None:
        """Make everything durable (fdatasync): the frames first, which records refer to."""
        self.raw.sync()
        self.flush()
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """Cut the segment to its length and write its seal."""
        if self._fd < 0:
            return
        self.raw.sync()
        self.flush()
        os.ftruncate(self._fd, self.offset)
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        write_seal(self.directory, self.header, self.tally, self.offset, self._digest.hexdigest())
        self.sealed += 1

    def abandon(self) -> None:
        """Let go of the files without writing anything more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self.raw.abandon()

    def close(self, *, keep_spares: bool = False) -> None:
        """Seal and remove the spares."""
        self.seal()
        self.raw.close()
        if not keep_spares:
            for path in self.directory.glob("spare-*.b4s~"):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()


def reserve(directory: Path, segment_bytes: int) -> None:
    """Allocate the next segment as a spare, so that a disk without room shows before anything is recorded.

    Raises OSError that names the room needed; nothing is left then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "spare-0.b4s~"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(fd, 0, segment_bytes)
    except OSError as error:
        path.unlink()
        code = error.errno or errno.EIO
        raise OSError(
            code,
            f"the journal cannot be begun ({os.strerror(code)}): a segment takes {segment_bytes >> 20} MiB; "
            "make room there, or set BOT4_VAR to a folder on another disk",
            str(directory),
        ) from None
    finally:
        os.close(fd)


def discard_from(directory: Path, first_seq: int) -> None:
    """Remove segments, seals and raw logs that begin at `first_seq` or later, and the spares."""
    for pattern in ("seg-*.b4j", "seg-*.seal.json", "raw-*.b4z"):
        for path in directory.glob(pattern):
            if int(path.name.partition("-")[2].partition(".")[0]) >= first_seq:
                path.unlink()
    for path in directory.glob("spare-*.b4s~"):
        path.unlink()
    sync_path(directory)


def write_seal(directory: Path, header: SegmentHeader, tally: Tally, size: int, digest: str) -> None:
    """Write the seal of one segment; an empty one is removed instead."""
    if not tally.records:
        (directory / segment_name(header.first_seq)).unlink(missing_ok=True)
        sync_path(directory)
        return
    seal: dict[str, Any] = {"account": header.account, "session": header.session, "market": header.market}
    seal["markets"] = {market: number for number, market in header.markets.items()}
    seal |= tally.seal() | {"bytes": size, "sha256": digest}
    write_bytes(directory / seal_name(header.first_seq), json.dumps(seal, indent=1, sort_keys=True).encode())


def recover(directory: Path) -> list[Path]:
    """Seal what a dead writer left open: cut each unsealed segment after its last whole record.

    Returns the segments that were sealed. The caller must hold the writer's lock.
    """
    from bot4_live.journal.reader import read_segment  # the reader does not need the writer

    healed = []
    for path in sorted(directory.glob("seg-*.b4j")):
        if path.with_suffix(".seal.json").exists():
            continue
        try:
            segment = read_segment(path)
        except ValueError:
            # Killed before its header was written: there is nothing in it to lose.
            if any(path.read_bytes()[:HEADER_SIZE]):
                raise
            path.unlink()
            continue
        end = int(segment.offsets[-1] + segment.headers["length"][-1]) if segment.offsets.size else 0
        tally = Tally(segment.header.shift_ns, segment.header.first_seq)
        for head in segment.headers:
            tally.add(int(head["kind"]), int(head["seq"]), int(head["recv_ns"]), int(head["exch_ns"]))
        if end:
            with path.open("r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        digest = hashlib.sha256(segment.buffer[:end].tobytes()).hexdigest()
        write_seal(directory, segment.header, tally, end, digest)
        healed.append(path)
    for spare in directory.glob("spare-*.b4s~"):
        spare.unlink()
    return healed
