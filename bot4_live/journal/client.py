"""The producer's side of the journal: the runner appends, the writer process puts it on disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot4_live.cores import keep_to
from bot4_live.journal import writer
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.locks import FileLock, is_held
from bot4_live.journal.policy import Policy
from bot4_live.journal.raw_log import ENTRY, RawReader
from bot4_live.journal.ring import Ring
from bot4_live.journal.segment import recover, reserve

RING_BYTES = 64 << 20
FULL_WAIT_S = 2.0  # for a disk that refuses
SLOW_WAIT_S = 20.0  # for one that only takes its time, e.g. to sync a segment
SETTLE_S = 20.0


def settle(directory: Path, shm_dir: Path, *, timeout_s: float = SETTLE_S, policy: Policy | None = None) -> None:
    """Bring a journal to rest before reading its end: let a former writer finish, or finish its work here.

    After this the journal holds everything that was appended and every segment is sealed. Raises BlockingIOError
    when a process still appends to it, TimeoutError when a writer does not finish, e.g. because the disk is full.
    """
    producer = shm_dir / "producer.lock"
    if is_held(producer):
        raise _taken(producer.read_text().strip())
    _settle(directory, shm_dir, timeout_s, policy or Policy())


def _taken(pid: str) -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, f"process {pid} already writes this account's journal; stop it first")


def _settle(directory: Path, shm_dir: Path, timeout_s: float, policy: Policy) -> None:
    lock_path = directory / ".writer.lock"
    ring_path = shm_dir / "journal.ring"
    deadline = time.monotonic() + timeout_s
    while is_held(lock_path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"a journal writer still works on {directory}; look at its disk, then start again")
        time.sleep(0.02)
    if not directory.is_dir():
        return
    if ring_path.exists():
        header, _ = SegmentHeader.decode((shm_dir / "journal.header").read_bytes())
        writer.run(ring_path, directory, header, shm_dir / "nobody.lock", policy)
    recover(directory)


class JournalClient:
    """Appends records and raw frames; one a journal. The writer process is started here and outlives us."""

    def __init__(
        self,
        directory: Path,
        header: SegmentHeader,
        shm_dir: Path,
        *,
        segment_bytes: int = 0,
        ring_bytes: int = RING_BYTES,
        policy: Policy | None = None,
        cores: frozenset[int] | None = None,
    ) -> None:
        """Take the journal; `segment_bytes` goes before the policy's own. The writer runs on `cores` (None: on any).

        Raises BlockingIOError when another has it, OSError when the disk has no room for it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        shm_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory, self.shm_dir = directory, shm_dir
        policy = policy or Policy()
        self._policy = replace(policy, segment_bytes=segment_bytes or policy.segment_bytes)
        self._cores = cores
        self._failing_since = 0.0
        self._lock = FileLock(shm_dir / "producer.lock")
        if not self._lock.acquire():
            raise _taken(self._lock.holder())
        try:
            _settle(directory, shm_dir, SETTLE_S, self._policy)
            reserve(directory, self._policy.segment_bytes)
        except OSError:
            self._lock.release()
            raise
        self.raw_offset = RawReader(directory).end
        self.ring = Ring.create(shm_dir / "journal.ring", ring_bytes)
        (shm_dir / "journal.header").write_bytes(header.encode())
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.failure:  # a dead writer's word on the disk: the next one has not tried yet
            self.ring.set_status(writer.FEW_SPARES)
        command = [sys.executable, "-m", "bot4_live.journal.writer", "--ring", str(self.ring.path)]
        command += ["--directory", str(self.directory), "--header", str(self.shm_dir / "journal.header")]
        command += ["--producer-lock", str(self._lock.path), *self._policy.arguments()]
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
        keep_to(process, self._cores)
        return process

    def ensure_writer(self) -> bool:
        """Start the writer again when it died; returns whether it had to be started."""
        if self._process.poll() is None:
            return False
        self._process = self._spawn()
        return True

    def _push(self, payload: bytes, kind: int, aux: int) -> None:
        began = 0.0
        while not self.ring.push(payload, kind, aux):
            self.ensure_writer()
            now = time.monotonic()
            began = began or now
            if now - began > (FULL_WAIT_S if self.failure else SLOW_WAIT_S):
                raise self._refused(self.failure or errno.ENOSPC)
            time.sleep(0.001)

    def append(self, record: np.ndarray | bytes) -> None:
        """Append one record. Raises OSError when the journal cannot take it."""
        self._push(record if isinstance(record, bytes) else record.tobytes(), writer.RECORD, 0)

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        """Append one frame to the raw log and return its logical offset."""
        self._push((reason * 256 + stream).to_bytes(writer.RAW_HEAD, "little") + raw, writer.RAW, recv_ns)
        at = self.raw_offset
        self.raw_offset += ENTRY.size + len(raw)
        return at

    @property
    def healthy(self) -> bool:
        """Return whether the writer lives, keeps up, and has spare segments; if not, trading must pause."""
        alive = self._process.poll() is None
        return alive and self.ring.status[0] == writer.WELL and self.ring.backlog < self.ring.capacity // 2

    @property
    def room(self) -> bool:
        """Return whether more should be read: a feed that waits while this is False leaves room for all else."""
        return self.ring.backlog < self.ring.capacity // 4 * 3

    @property
    def written(self) -> tuple[int, int]:
        """Return (first seq of the writer's segment, offset up to which it is written), zeros before it began."""
        first_seq, offset, *_ = self.ring.consumer_words
        return first_seq, offset

    @property
    def counts(self) -> writer.Counts:
        """Return what the writer has done since it was started."""
        return writer.Counts(*self.ring.counts[: len(writer.Counts._fields)])

    @property
    def failure(self) -> int:
        """Return the errno that the disk last refused a write with, 0 when all is well."""
        return self.ring.status[1] if self.ring.status[0] == writer.FAILING else 0

    def _refused(self, code: int) -> OSError:
        kept = f"; {self.ring.backlog:,} bytes wait in memory and are written as soon as there is room"
        return OSError(code, f"the journal cannot be written ({os.strerror(code)}){kept}", str(self.directory))

    def check(self) -> None:
        """Raise OSError when the disk has refused to be written for FULL_WAIT_S."""
        code, now = self.failure, time.monotonic()
        if not code:
            self._failing_since = 0.0
        elif not self._failing_since:
            self._failing_since = now
        elif now - self._failing_since > FULL_WAIT_S:
            raise self._refused(code)

    def close(self, timeout_s: float = 30.0) -> None:
        """Let the writer drain, seal and end. Raises OSError when it cannot; nothing is lost then."""
        self.ring.close_producer()
        self.ensure_writer_for_drain()
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                try:
                    self._process.wait(0.05)
                    if self.failure:
                        raise self._refused(self.failure)
                    return
                except subprocess.TimeoutExpired:
                    self.check()
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"the journal in {self.directory} is still being written; look at its disk"
                        ) from None
        finally:
            self.ring.unmap()
            self._lock.release()

    def ensure_writer_for_drain(self) -> None:
        """Start a writer if the last one was killed with work left."""
        if self._process.poll() is not None and self.ring.path.exists():
            self._process = self._spawn()
