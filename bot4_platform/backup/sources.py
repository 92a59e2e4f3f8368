"""What a backup takes from under `var/`, and in which order.

An account may be at work meanwhile. What names something is read before what it names, and that only grows or is
replaced whole: the lake's ledgers before the segments, the journal before the bundles its MODEL_SWAPs name, MLflow's
database before its artifacts. So each backup is an account that could have been there after a power cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot4_platform.lake import market_of

PARTITIONS, LAST_TIER = 1, 10  # see `tier`
SQLITE_MAGIC = b"SQLite format 3\0"
STAGED = (".staging", ".restore-", ".archive", ".locks")
# Keys of venues are made for these; nothing else under var/ has any.
KEYS = {"accounts.json": "keys of an exchange", ".env": "an environment file"}
KEY_SUFFIXES = {".pem": "a key or certificate", ".key": "a key or certificate"}


@dataclass(frozen=True)
class Source:
    """A file to take: `path` is below var/ with slashes, `real` where it is."""

    path: str
    real: Path

    @property
    def name(self) -> str:
        """Return its name without the folder."""
        return self.real.name


def walk(var: Path, units: tuple[str, ...] = ()) -> Iterator[Source]:
    """Yield every regular file below var/, or below the named accounts; links to folders are followed.

    What is being written (staging folders, temporary names), locks, and SQLite's side files are passed over.
    """
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(var, followlinks=True):
        at = Path(folder)
        status = at.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link back to where the walk has been
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if at == var and units:
            folders[:] = [name for name in folders if name in units]
            names = []
        folders[:] = sorted(name for name in folders if not name.startswith(STAGED))
        for name in sorted(names):
            path = at / name
            if not passed_over(path) and path.is_file():
                yield Source(path.relative_to(var).as_posix(), path)


def passed_over(path: Path) -> bool:
    """Return whether a file is of the moment: a lock, a spare segment, a half-written or a side file."""
    name = path.name
    half = name.startswith(".") and name.rpartition(".")[2].isdigit()  # bot4_live.safety.durable's end in a pid
    return half or name.endswith((".lock", ".b4s~", "-wal", "-shm", "-journal"))


def withheld(source: Source) -> str | None:
    """Return why a file is never backed up, None when it may be: by name; by content `take` looks for secrets."""
    if source.name.startswith(".env"):
        return KEYS[".env"]
    return KEYS.get(source.name) or KEY_SUFFIXES.get(source.real.suffix)


def tier(source: Source) -> int:
    """Return when a file is taken: see this module's first lines."""
    parts = source.path.split("/")
    if "lake" in parts:
        return PARTITIONS if partition(source) else 0
    if "models" in parts:
        return LAST_TIER if "sha256" in parts else 9
    if source.name.endswith(".archived.json"):  # an archived segment has one of the two at every moment
        return 8
    for start, turn in (("snapshot-", 4), ("seg-", 5), ("raw-", 7)):
        if source.name.startswith(start) and source.real.suffix in (".b4s", ".b4j", ".b4z", ".json"):
            return turn + (source.name.endswith(".b4j"))
    return 2 if source.real.suffix == ".db" else 3


def partition(source: Source) -> tuple[Path, str] | None:
    """Return (root of the lake, name of the writers' lock) of what lies in a partition of it, None of anything else."""
    folder = source.real.parent
    if folder.name.startswith("market=") and folder.parent.name.startswith("day="):
        table, day = folder.parent.parent, folder.parent.name.removeprefix("day=")
        return table.parent, f"{table.name}/{day}/{market_of(folder.name)}"
    if source.real.suffix == ".parquet":  # a table without days
        return folder.parent, f"{folder.name}//"
    return None


def is_sqlite(path: Path) -> bool:
    """Return whether a file is a SQLite database."""
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
