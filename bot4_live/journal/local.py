"""A journal written in process: for imports and tests, with the same surface as JournalClient."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np

from bot4_live.journal.layout import SEGMENT_BYTES, SegmentHeader
from bot4_live.journal.locks import FileLock
from bot4_live.journal.raw_log import RawReader
from bot4_live.journal.segment import SegmentWriter, discard_from, recover, reserve


class LocalJournal:
    """Appends directly to segments; a context manager that seals at the end, also after an exception."""

    healthy = True

    def __init__(self, directory: Path, header: SegmentHeader, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open a journal. Raises BlockingIOError when a writer has it, OSError when the disk has no room for it."""
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(directory / ".writer.lock")
        if not self._lock.acquire():
            raise BlockingIOError(errno.EAGAIN, f"process {self._lock.holder()} writes {directory}; stop it first")
        recover(directory)
        self._directory, self._first_seq = directory, header.first_seq
        try:
            reserve(directory, segment_bytes)
            self._writer = SegmentWriter(directory, header, segment_bytes, raw_start=RawReader(directory).end)
        except OSError:
            self._lock.release()
            raise

    def append(self, record: np.ndarray | bytes) -> None:
        """Append one record."""
        self._writer.append(record if isinstance(record, bytes) else record.tobytes())

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Append one frame to the raw log and return its logical offset."""
        return self._writer.raw.append(recv_ns, raw, reason, stream)

    def close(self) -> None:
        """Seal."""
        self._writer.close()
        self._lock.release()

    def discard(self) -> None:
        """Take back what was appended since the journal was opened; the journal is as it was before."""
        self._writer.abandon()
        discard_from(self._directory, self._first_seq)
        self._lock.release()

    def __enter__(self) -> LocalJournal:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Seal."""
        self.close()
