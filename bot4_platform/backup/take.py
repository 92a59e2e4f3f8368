"""`take`: one backup of an account or of all, while they are at work."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bot4_live.journal.reader import read_segment
from bot4_platform.backup.sources import (
    LAST_TIER,
    PARTITIONS,
    Source,
    is_sqlite,
    partition,
    passed_over,
    tier,
    walk,
    withheld,
)
from bot4_platform.backup.store import CHUNK, Entry, Manifest, Store
from bot4_platform.locks import locked

BUSY_S = 30.0
# Shorter ones are words that other files hold too.
SECRET_LENGTH = 8
ROUNDS = 5

Progress = Callable[[int, int, str], None]  # bytes done, bytes in all, path


@dataclass(frozen=True)
class Taken:
    """What a backup did: `new` files had bytes the store did not have, `new_bytes` of them before compression."""

    manifest: Manifest
    new: int
    new_bytes: int
    pruned: int
    warnings: tuple[str, ...]


def take(
    var: Path,
    store: Store,
    units: tuple[str, ...] = (),
    *,
    secrets: Iterable[str] = (),
    keep: int = 0,
    verify: bool = False,
    progress: Progress = lambda *_: None,
) -> Taken:
    """Back up everything below `var`, or the named accounts, and return what was done.

    Sessions may run: sealed segments are taken whole, an open one up to its last whole record, databases by SQLite's
    own backup. With `keep`, only the newest so many backups stay. With `verify`, what the store already has is read
    before it is relied on. Raises FileNotFoundError when there is nothing to back up, ValueError when another backup
    writes the store or it lies within `var`, OSError when a disk is full or a database stays locked; then there is
    no new backup, and the earlier ones are as they were.
    """
    if store.root.resolve().is_relative_to(var.resolve()):
        raise ValueError(f"the store {store.root} lies within {var}: it would back itself up; name another folder")
    missing = [name for name in units if not (var / name).is_dir()]
    if missing or not var.is_dir():
        raise FileNotFoundError(2, "there is no such account to back up", str(var / missing[0] if missing else var))
    with _naming(store), store.writing():
        work = _Work(var, store, [s.encode() for s in secrets if len(s) >= SECRET_LENGTH], verify, progress)
        work.total = sum(map(_size, walk(var, units)))
        for turn in range(LAST_TIER + 1):
            work.take_tier(units, turn)
        if not work.files:
            raise FileNotFoundError(2, "there is nothing here to back up", str(var))
        name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}Z"
        files = tuple(sorted(work.files.values(), key=lambda entry: entry.path))
        manifest = Manifest(name, str(var), files, tuple(sorted(work.left_out.items())))
        store.publish(manifest)
        pruned = store.prune(keep)[0] if keep else 0
    return Taken(manifest, work.new, work.new_bytes, pruned, tuple(work.warnings))


def _size(source: Source) -> int:
    """Return the bytes of a file, 0 of one that has gone meanwhile."""
    try:
        return source.real.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _naming(store: Store) -> Iterator[None]:
    """Put the store's name into what a full disk says of a file that has none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(store.root)) from None


class _Work:
    def __init__(self, var: Path, store: Store, secrets: list[bytes], verify: bool, progress: Progress) -> None:
        self.var, self.store, self.secrets, self.verify, self.progress = var, store, secrets, verify, progress
        self.files: dict[str, Entry] = {}
        self.left_out: dict[str, str] = {}
        self.warnings: list[str] = []
        self.new = self.new_bytes = self.done = self.total = 0

    def take_tier(self, units: tuple[str, ...], turn: int) -> None:
        """Take the files of one tier; when some vanish meanwhile, look again for what replaced them."""
        for _ in range(ROUNDS):
            vanished = False
            for source in [found for found in walk(self.var, units) if tier(found) == turn]:
                if source.path in self.files or source.path in self.left_out:
                    continue
                try:
                    if turn == PARTITIONS:
                        self.take_partition(source)
                    else:
                        self.take(source)
                except FileNotFoundError:
                    vanished = True
            if not vanished:
                return

    def take_partition(self, source: Source) -> None:
        """Take all files of the partition that `source` is of, as they are between two writes.

        They are opened under the writers' lock and read after it: what is replaced or removed meanwhile stays readable.
        """
        root, name = partition(source) or (source.real.parent, "")
        below = source.path.rpartition("/")[0]
        with ExitStack() as files:
            with locked(root, name):
                found = [
                    (Source(f"{below}/{path.name}", path), files.enter_context(path.open("rb")))
                    for path in sorted(source.real.parent.iterdir())
                    if path.is_file() and not passed_over(path)
                ]
            for one, file in found:
                self.take(one, file)

    def take(self, source: Source, opened: IO[bytes] | None = None) -> None:
        """Take one file, or say why it stays."""
        why = withheld(source)
        status = source.real.stat() if opened is None else os.fstat(opened.fileno())
        if why is None:
            with nullcontext(opened) if opened is not None else self.opened(source) as file:
                digest, size, secret = self.examine(file)
                if secret:
                    why = "it holds a secret of the settings"
                else:
                    file.seek(0)
                    digest, new = self.store.put(_Prefix(file, size), digest, verify=self.verify)
                    self.new, self.new_bytes = self.new + new, self.new_bytes + size * new
                    mode = status.st_mode & 0o777
                    self.files[source.path] = Entry(source.path, size, digest, mode, status.st_mtime_ns)
                    self.compare_with_seal(source, digest)
        if why is not None:
            self.left_out[source.path] = why
        self.done += status.st_size
        self.progress(self.done, max(self.done, self.total), source.path)

    @contextmanager
    def opened(self, source: Source) -> Iterator[IO[bytes]]:
        """Open what is taken of a file: the file, the whole records of an open segment, or a database's copy."""
        if source.real.suffix == ".b4j" and source.path.removesuffix("b4j") + "seal.json" not in self.files:
            yield io.BytesIO(whole_records(source.real))
        elif is_sqlite(source.real):
            copy = self.store.scratch("database")
            try:
                copy_database(source.real, copy)
                with copy.open("rb") as file:
                    yield file
            finally:
                copy.unlink(missing_ok=True)
        else:
            with source.real.open("rb") as file:
                yield file

    def examine(self, file: IO[bytes]) -> tuple[str, int, bool]:
        """Return digest, length, and whether a secret is within, of what a file holds now (it may grow)."""
        digest, size, tail = hashlib.sha256(), 0, b""
        longest = max((len(secret) for secret in self.secrets), default=1)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if self.secrets:
                window = tail + chunk
                if any(secret in window for secret in self.secrets):
                    return "", size, True
                tail = window[-longest + 1 :] if longest > 1 else b""
        return digest.hexdigest(), size, False

    def compare_with_seal(self, source: Source, digest: str) -> None:
        """Warn of a sealed segment that its seal does not fit: it is backed up as it is, for there may be no other."""
        seal = source.real.with_suffix(".seal.json")
        if source.real.suffix != ".b4j" or source.path.removesuffix("b4j") + "seal.json" not in self.files:
            return
        if json.loads(seal.read_bytes()).get("sha256") != digest:
            self.warnings.append(f"{source.path} does not have the bytes its seal was made of; an older backup may")


class _Prefix:
    """The first `size` bytes of a file, which may have grown since they were counted."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        chunk = self._file.read(min(self._left, size))
        self._left -= len(chunk)
        return chunk


def whole_records(path: Path) -> bytes:
    """Return a segment's header and its whole records; of a segment without any, nothing but the header."""
    segment = read_segment(path)
    if not segment.offsets.size:
        return segment.buffer[: len(segment.header.encode())].tobytes()
    return segment.buffer[: int(segment.offsets[-1]) + int(segment.headers["length"][-1])].tobytes()


def copy_database(path: Path, copy: Path) -> None:
    """Copy a SQLite database as of one moment, while others write it. Raises OSError when it stays locked."""
    copy.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            # What a killed writer left half is rolled back here, as by whoever opens the database next.
            source.execute("BEGIN")  # the copy is of this moment, however many steps it takes
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(target)
    except sqlite3.Error as error:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        if error.sqlite_errorname == "SQLITE_FULL":  # the copy's disk, not the database's
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(copy)) from None
        why = f"the database cannot be copied ({error}); end what holds it and start again"
        raise OSError(errno.EIO, why, str(path)) from None
