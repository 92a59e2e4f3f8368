"""The store of backups: a folder of objects named by what is in them, and one manifest for each backup.

    objects/<first 2 of sha256>/<sha256>.zst   one file's bytes, zstd, written once however often they are backed up
    backups/<UTC time>.json                    which paths hold which objects; written last, so it names whole objects

Objects are written under `tmp/`, fsynced and renamed. A backup that was killed leaves objects that no manifest names;
the next one uses or removes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import zstandard

from bot4_live.journal.locks import FileLock
from bot4_live.safety.durable import sync_path, write_bytes
from bot4_platform import staging

FORMAT = 1
CHUNK = 1 << 20
LEVEL = 3
NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d{6}Z")
SHA256 = re.compile(r"[0-9a-f]{64}")


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


@dataclass(frozen=True)
class Entry:
    """One file of a backup: its path below var/ with slashes, bytes, sha256, mode bits, and mtime in ns."""

    path: str
    size: int
    sha256: str
    mode: int
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """One backup: when, of which var/, its files, and what was left out with the reason."""

    name: str
    var: str
    files: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(entry.size for entry in self.files)

    @property
    def units(self) -> list[str]:
        """Return the names at the top of var/: the accounts."""
        return sorted({entry.path.partition("/")[0] for entry in self.files})


class Store:
    """A folder of backups, of one or several installations."""

    def __init__(self, root: Path) -> None:
        """Open a store; nothing is created until something is written."""
        self.root = root
        self._backups, self._tmp = root / "backups", root / "tmp"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for one writer and clear what killed ones left. Raises ValueError when another writes."""
        for folder in (self.root, self._backups, self._tmp, self.root / "objects"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "writer.lock")
        try:
            if not lock.acquire():
                raise ValueError(f"{self.root} is being written by another backup (pid {lock.holder()}); wait for it")
            for left in self._tmp.iterdir():
                left.unlink()
            yield
        finally:
            lock.release()

    def scratch(self, name: str) -> Path:
        """Return a path below the store for a file that lives as long as the backup of it."""
        return self._tmp / name

    def object_path(self, sha256: str) -> Path:
        """Return where the bytes of that digest lie."""
        return self.root / "objects" / sha256[:2] / f"{sha256}.zst"

    def put(self, source: Readable, sha256: str, *, verify: bool) -> tuple[str, bool]:
        """Keep the bytes that `source` still has and return (their digest, whether they are new here).

        `sha256` is what they are believed to be: an object of that digest is taken as it is, or with `verify` only
        after reading it, so that a damaged one is replaced.
        """
        if self.object_path(sha256).exists() and (not verify or self.intact(sha256)):
            return sha256, False
        staged = self.scratch("object")
        digest = hashlib.sha256()
        try:
            pack = zstandard.ZstdCompressor(LEVEL, write_checksum=True)
            with staged.open("wb") as file, pack.stream_writer(file, closefd=False) as packed:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    packed.write(chunk)
            staging.publish(staged, self.object_path(digest.hexdigest()))
        finally:
            staged.unlink(missing_ok=True)
        return digest.hexdigest(), True

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield an object's bytes. Raises ValueError when it is missing, damaged, or not what its name says."""
        digest = hashlib.sha256()
        try:
            with self.object_path(sha256).open("rb") as file:
                for chunk in zstandard.ZstdDecompressor().read_to_iter(file, write_size=CHUNK):
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise ValueError(f"object {sha256[:12]} is missing") from None
        except zstandard.ZstdError as error:
            raise ValueError(f"object {sha256[:12]} is damaged ({error})") from None
        if digest.hexdigest() != sha256:
            raise ValueError(f"object {sha256[:12]} is damaged (its bytes have another digest)")

    def intact(self, sha256: str) -> bool:
        """Return whether an object can be read and is what its name says."""
        try:
            for _ in self.chunks(sha256):
                pass
        except ValueError:
            return False
        return True

    def publish(self, manifest: Manifest) -> None:
        """Make a backup exist: its manifest is written whole or not at all."""
        body: dict[str, Any] = asdict(manifest) | {"format": FORMAT}
        body["sha256"] = _digest(body)
        write_bytes(self._backups / f"{manifest.name}.json", json.dumps(body, indent=1).encode() + b"\n")

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        found = self._backups.glob("*.json") if self._backups.is_dir() else ()
        return sorted(path.stem for path in found if NAME.fullmatch(path.stem))

    def read(self, name: str = "") -> Manifest:
        """Return a backup by name, the newest without. Raises FileNotFoundError, or ValueError when it is damaged."""
        names = self.names()
        if not names:
            raise FileNotFoundError(2, "there is no backup here; `bot4 backup` makes one", str(self.root))
        path = self._backups / f"{name or names[-1]}.json"
        if path.stem not in names:
            raise FileNotFoundError(2, f"no backup of that name; the newest is {names[-1]}", str(path))
        try:
            body = json.loads(path.read_bytes())
            whole = body.pop("sha256") == _digest(body)
            if whole and body["format"] == FORMAT:
                files = tuple(Entry(**{**entry, "path": _safe(entry["path"])}) for entry in body["files"])
                left = tuple((where, why) for where, why in body["left_out"])
                return Manifest(body["name"], body["var"], files, left)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error!r}); restore an older backup") from None
        why = f"is of format {body['format']}, newer than this bot4 reads" if whole else "is damaged (its own digest)"
        raise ValueError(f"{path} {why}; restore another backup")

    def prune(self, keep: int) -> tuple[int, int]:
        """Drop all but the newest `keep` backups and what no backup names; return (objects, bytes) removed.

        Only while `writing`. A manifest that cannot be read stops it: its objects are not known.
        """
        for name in self.names()[:-keep]:
            (self._backups / f"{name}.json").unlink()
        sync_path(self._backups)
        used = {entry.sha256 for name in self.names() for entry in self.read(name).files}
        removed = size = 0
        for path in (self.root / "objects").glob("??/*.zst"):
            if path.stem not in used:
                removed, size = removed + 1, size + path.stat().st_size
                path.unlink()
        return removed, size


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _safe(path: str) -> str:
    """Return the path when it stays below the folder it is restored to; raise ValueError otherwise."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise ValueError(f"the path {path!r} leaves its folder")
    return path
