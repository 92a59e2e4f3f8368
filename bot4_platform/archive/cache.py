"""Files fetched from the archive: kept in a folder `.archive` on the same disk, least recently used out first."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from bot4_platform import staging
from bot4_platform.archive.remote import Remote
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.archive.stub import Stub, read_stub

# A reader has opened what it was given long before.
GRACE_S = 60.0
FOLDER = ".archive"


def fetched(path: Path, root: Path) -> Path | None:
    """Return a local copy, below the lake's `root`, of an archived file; None when it was never archived.

    Raises ValueError when no archive is set up, ArchiveError when it does not answer or the object is damaged.
    """
    stub = read_stub(path)
    if stub is None:
        return None
    from bot4_platform.settings import platform_settings

    return fetch(stub, platform_settings().archive, root / FOLDER, path.suffix)


def bring_back(path: Path) -> None:
    """Put an archived file back in its place; its stub stays, so that it can go again without being sent."""
    from bot4_platform.settings import platform_settings

    put_back(path, platform_settings().archive)


def put_back(path: Path, settings: ArchiveSettings) -> None:
    """Do what `bring_back` does, under given settings. Raises FileNotFoundError for what was never archived."""
    stub = read_stub(path)
    if stub is None:
        raise FileNotFoundError(errno.ENOENT, "neither here nor in the archive", str(path))
    staging.publish(fetch(stub, settings, path.parent / FOLDER, path.suffix), path)


def fetch(stub: Stub, settings: ArchiveSettings, folder: Path, suffix: str) -> Path:
    """Return the cached copy of an object, after fetching it where it is not there."""
    kept = folder / f"{stub.sha256}{suffix}"
    try:
        os.utime(kept)  # the use that counts
        return kept
    except FileNotFoundError:
        pass
    staged = staging.stage(folder, stub.sha256, suffix)
    make_room(folder, round(settings.cache_gb * 2**30) - stub.size)
    try:
        Remote(settings).get(stub.key, stub.sha256, staged)
        staging.publish(staged, kept)
    finally:
        staged.unlink(missing_ok=True)
    return kept


def make_room(folder: Path, limit: int) -> int:
    """Remove the files used longest ago until the rest has at most `limit` bytes; return how many went.

    What was used in the last minute stays: somebody may be about to open it.
    """
    held = []
    for path in folder.glob("[0-9a-f]*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        held.append((status.st_mtime, status.st_size, path))
    total, removed = sum(size for _, size, _ in held), 0
    for used, size, path in sorted(held):
        if total <= limit or used > time.time() - GRACE_S:
            break
        path.unlink(missing_ok=True)
        total, removed = total - size, removed + 1
    return removed
