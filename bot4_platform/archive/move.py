"""Moving files to the archive, and segments back: each file is here, or there and verified, at every moment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot4_live.journal.locks import FileLock
from bot4_live.safety.durable import sync_path
from bot4_live.settings import Settings
from bot4_platform import parts
from bot4_platform.archive.cache import put_back
from bot4_platform.archive.remote import Remote
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.archive.stub import SUFFIX, Stub, write_stub
from bot4_platform.archive.window import Candidate, candidates
from bot4_platform.lake import Lake
from bot4_platform.locks import locked


@dataclass(frozen=True)
class Moved:
    """A file that was moved, or would be: what it is, its day, bytes and rows, and whether its bytes were sent now."""

    what: str
    day: str
    path: str
    size: int
    rows: int
    sent: bool


def archive(
    settings: Settings,
    archive_settings: ArchiveSettings,
    *,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Moved]:
    """Move what is older than the local window to S3; return what was moved, or with `dry_run` would be.

    A file is uploaded, read back and compared, its stub written, and only then removed here. What was moved stays
    moved when this is killed or the connection is lost (ArchiveError); the next call goes on. Raises ValueError when
    no archive is set up or another process moves files of this account.
    """
    remote, lake = Remote(archive_settings), Lake(settings.lake_dir)
    moved: list[Moved] = []
    with _alone(settings):
        for candidate in list(candidates(lake, settings.journal_dir, archive_settings.days)):
            if dry_run:
                moved.append(_described(candidate, sent=False))
                continue
            if candidate.table:
                lake.compact(candidate.table, candidate.day, candidate.market, grace_s=0.0)
                if parts.numbered(candidate.path.parent):
                    continue  # superseded ones wait for their last readers: another day
            done = _move(remote, lake, candidate)
            if done is not None:
                moved.append(done)
                progress(f"{done.what}: {done.size} bytes")
    return moved


def bring_back(
    settings: Settings, archive_settings: ArchiveSettings, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Put every archived segment and raw log of the journal back in its place, for replay and recovery.

    Returns what was put back. Raises as `archive` does; the next call goes on.
    """
    put = []
    with _alone(settings):
        for stub in sorted(settings.journal_dir.glob(f"*{SUFFIX}")):
            path = stub.with_name(stub.name.removesuffix(SUFFIX))
            if not path.exists():
                put_back(path, archive_settings)
                progress(path.name)
                put.append(path)
    return put


def _move(remote: Remote, lake: Lake, candidate: Candidate) -> Moved | None:
    """Move one file; None when somebody wrote it meanwhile, which is found out under the writers' lock."""
    path = candidate.path
    before = parts.identity(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    rows = _rows(path)
    key = f"{candidate.folder}/{path.stem}-{sha256[:16]}{path.suffix}"
    sent = remote.put(path, key, sha256, size)
    with locked(lake.root, f"{candidate.table}/{candidate.day}/{candidate.market}"):
        if parts.identity(path) != before or parts.numbered(path.parent):
            return None
        write_stub(path, Stub(key, size, sha256, rows))
        path.unlink()
    sync_path(path.parent)
    return Moved(candidate.what, candidate.day, str(path), size, rows, sent)


def _described(candidate: Candidate, *, sent: bool) -> Moved:
    size = candidate.path.stat().st_size
    return Moved(candidate.what, candidate.day, str(candidate.path), size, _rows(candidate.path), sent)


def _rows(path: Path) -> int:
    if path.suffix != ".parquet":
        return 0
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Be the only process that moves files of this account."""
    lock = FileLock(settings.root / "archive.lock")
    try:
        if not lock.acquire():
            raise ValueError(f"process {lock.holder()} moves files of {settings.account} already; wait for it")
        yield
    finally:
        lock.release()
