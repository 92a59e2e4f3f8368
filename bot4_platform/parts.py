"""The files of one partition: a base, and small parts that were added since it was written.

    part.parquet                   the base; its metadata carry its epoch E (0 where it says none)
    part-<E>-<n>.parquet           added to the base of epoch E

A partition's rows are those of the base and of the parts of the base's epoch. So one rename switches the whole set:
a base of epoch E + 1 that holds all rows makes every part of E superfluous in the same instant. A reader lists the
parts first and opens the base after; what it then finds is a state that there was, if the base is still the same one
(`identity`) when it has read. Parts that are superseded are removed after a grace, for readers that still have them.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from bot4_platform.schemas import EPOCH

BASE = "part.parquet"
GRACE_S = 900.0  # a reader that takes longer than this to open its files tries again
_PART = re.compile(r"^part-(\d+)-(\d+)\.parquet$")


def live(folder: Path) -> list[Path]:
    """Return the files that hold a partition's rows, the base first; none when there is no base."""
    added = numbered(folder)  # before the base is looked at
    base = folder / BASE
    if not base.is_file():
        return []
    if not added:
        return [base]
    epoch = epoch_of(base)
    return [base, *(path for of, _, path in added if of == epoch)]


def numbered(folder: Path) -> list[tuple[int, int, Path]]:
    """Return (epoch, number, path) of every part, live or not, in order."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [(match, name) for name in names if (match := _PART.match(name))]
    return sorted((int(match[1]), int(match[2]), folder / name) for match, name in found)


def epoch_of(base: Path) -> int:
    """Return the epoch of a base, 0 where there is none."""
    import polars as pl

    try:
        return int(pl.read_parquet_metadata(base).get(EPOCH, 0))
    except FileNotFoundError:
        return 0


def next_part(folder: Path, epoch: int) -> Path:
    """Return the path of the next part of an epoch; to be called under the partition's lock."""
    numbers = [number for of, number, _ in numbered(folder) if of == epoch]
    return folder / f"part-{epoch:06d}-{max(numbers, default=0) + 1:06d}.parquet"


def identity(base: Path) -> tuple[int, int, int]:
    """Return what tells one base from the next: inode, time and size. Raises FileNotFoundError."""
    stat = base.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def sweep(folder: Path, grace_s: float = GRACE_S) -> int:
    """Remove parts of earlier epochs than the base's, `grace_s` after the base took their place; return how many."""
    added, base = numbered(folder), folder / BASE
    if not added or not base.is_file() or time.time() - base.stat().st_mtime < grace_s:
        return 0
    epoch = epoch_of(base)
    dead = [path for of, _, path in added if of < epoch]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)
