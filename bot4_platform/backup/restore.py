"""`restore`: a backup becomes accounts again, each whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot4_live.journal.locks import FileLock
from bot4_live.safety.durable import sync_path
from bot4_platform.backup.relocate import relocate
from bot4_platform.backup.sources import STAGED
from bot4_platform.backup.store import Entry, Manifest, Store

STAGING = ".restore-"
assert STAGING in STAGED  # a backup passes over it
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Restored:
    """What a restore did: the accounts that are in place, files and bytes, and the files whose paths were changed."""

    manifest: Manifest
    units: tuple[str, ...]
    files: int
    size: int
    relocated: tuple[str, ...]


def damaged(store: Store, manifest: Manifest, progress: Progress = lambda *_: None) -> list[str]:
    """Read every object of a backup; return the files that cannot be restored, each with the reason."""
    return _spoiled(manifest.files, lambda entry: _drain(store, entry), progress)


def restore(
    store: Store,
    manifest: Manifest,
    var: Path,
    units: tuple[str, ...] = (),
    *,
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> Restored:
    """Restore a backup's accounts, or the named ones, below `var`.

    Everything is written into a folder beside them, checked against its digest, and only then renamed, one account
    after the other: a killed restore leaves each account as it was or as it is to be, and staging that the next one
    removes. With `force` an account that is there is exchanged for the restored one, except its order epoch where that
    is higher (ids of orders never repeat).

    Raises ValueError with the names of damaged files, FileExistsError for an account with files in it when not
    forced, BlockingIOError when a process works in it, OSError without room; then nothing has changed.
    """
    wanted = tuple(entry for entry in manifest.files if not units or entry.path.partition("/")[0] in units)
    names = sorted({entry.path.partition("/")[0] for entry in wanted})
    if unknown := sorted(set(units) - set(names)):
        raise ValueError(f"the backup {manifest.name} has no account {unknown[0]}; it has {', '.join(manifest.units)}")
    var.mkdir(parents=True, exist_ok=True)
    _clear(var)
    for name in names:
        if _holds_files(var / name) and not force:
            why = "the account has files; --force exchanges it for the restored one, BOT4_VAR names another folder"
            raise FileExistsError(errno.EEXIST, why, str(var / name))
    size = sum(entry.size for entry in wanted)
    if size > shutil.disk_usage(var).free:
        why = f"restoring takes {size >> 20} MiB, more than is left; make room there, or set BOT4_VAR to another disk"
        raise OSError(errno.ENOSPC, why, str(var))
    staging = var / f"{STAGING}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    staging.mkdir()
    try:
        spoiled = _spoiled(wanted, lambda entry: _write(store, entry, staging), progress)
        if spoiled:
            more = f" and {len(spoiled) - 3} more" if len(spoiled) > 3 else ""
            raise ValueError(f"{store.root}: damaged: {'; '.join(spoiled[:3])}{more}; restore another backup")
        moved = relocate(staging, Path(manifest.var), var)
        for folder, _, _ in os.walk(staging):
            sync_path(Path(folder))
        for name in names:
            _put_in_place(staging / name, var / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Restored(manifest, tuple(names), len(wanted), size, tuple(moved))


def _put_in_place(staged: Path, target: Path) -> None:
    """Give a restored account its name; one that was there is removed after that."""
    if target.exists() and target.is_dir():
        with _unused(target):
            _keep_order_epochs(target, staged)
            _exchange(staged, target)  # now `staged` is the old one; the caller removes the staging folder
    else:
        os.replace(staged, target)
    sync_path(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one step (Linux renameat2); in two where the file system cannot."""
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.EXDEV):
        raise OSError(code, os.strerror(code), str(other))
    aside = one.with_name(f"{one.name}.replaced")
    os.replace(other, aside)
    os.replace(one, other)


@contextmanager
def _unused(account: Path) -> Iterator[None]:
    """Hold every lock of an account. Raises BlockingIOError when a process holds one."""
    locks = []
    try:
        for path in sorted(account.rglob("*.lock")):
            if path.is_file():
                locks.append(FileLock(path))
                if not locks[-1].acquire():
                    why = f"a process works in this account (pid {locks[-1].holder() or 'unknown'}); end it first"
                    raise BlockingIOError(errno.EBUSY, why, str(path))
        yield
    finally:
        for lock in locks:
            lock.release()


def _keep_order_epochs(before: Path, staged: Path) -> None:
    for path in before.rglob("order_epoch"):
        kept = staged / path.relative_to(before)
        numbers = [file.read_text().strip() for file in (path, kept) if file.is_file()]
        known = [int(text) for text in numbers if text.isdigit()]
        if known:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(f"{max(known)}\n")


def _holds_files(path: Path) -> bool:
    if not path.is_dir():
        return path.exists()
    return any(found.is_file() and not found.name.endswith(".lock") for found in path.rglob("*"))


def _clear(var: Path) -> None:
    """Remove the staging folders of restores that are dead."""
    for left in var.glob(f"{STAGING}*"):
        owner = re.match(rf"{re.escape(STAGING)}(\d+)-", left.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(left)


def _spoiled(entries: tuple[Entry, ...], use: Callable[[Entry], None], progress: Progress) -> list[str]:
    done, total, found = 0, sum(entry.size for entry in entries), []
    for entry in entries:
        try:
            use(entry)
        except ValueError as error:
            found.append(f"{entry.path} ({error})")
        done += entry.size
        progress(done, total, entry.path)
    return found


def _drain(store: Store, entry: Entry) -> None:
    for _ in store.chunks(entry.sha256):
        pass


def _write(store: Store, entry: Entry, staging: Path) -> None:
    target = staging / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for chunk in store.chunks(entry.sha256):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    target.chmod(entry.mode)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
