"""How far a source has been read, so that kill -9 anywhere neither loses nor doubles.

The state is what is durably in the lake: rows are added by id, a partition is replaced whole, and asking again for what
is there changes nothing. Where the source wants a mark of its own (a block, an ETag), `Cursor` keeps it, moved only
after the data: what lies between is asked for twice and added once.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.safety.durable import read_json, write_json
from bot4_platform.lake import Lake, Written

if TYPE_CHECKING:
    import polars as pl

LOCKS = ".locks"


@contextmanager
def locked(lake: Lake, table: str, day: str, market: str) -> Iterator[None]:
    """Hold a partition against other processes that add to it; the kernel frees it when we die."""
    folder = lake.root / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{table}-{day}-{market.replace(':', '_')}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_rows(lake: Lake, table: str, day: str, market: str, frame: pl.DataFrame) -> Written:
    """Add rows to a partition by what is unique in its table; a row that is there already stays as it is.

    So `created_ns` and `first_seen` stay those of the first time. Raises as `Lake.write`.
    """
    import polars as pl

    from bot4_platform.tables import TABLES

    with locked(lake, table, day, market):
        if lake.exists(table, day, market):
            frame = pl.concat([lake.read(table, day, market), frame])
        kept = frame.unique(list(TABLES[table].unique), keep="first", maintain_order=True)
        return lake.write(table, day, market, kept)


@dataclass(frozen=True)
class Cursor:
    """A mark in a source, one JSON object in a file that is replaced whole."""

    path: Path

    @classmethod
    def of(cls, lake: Lake, source: str) -> Cursor:
        """Return the cursor of a source; it lies beside the lake's tables, outside every reader's glob."""
        return cls(lake.root / ".cursors" / f"{source.replace(':', '_')}.json")

    def read(self) -> dict[str, Any]:
        """Return the mark, {} before the first. Raises ValueError for a file that is damaged."""
        return read_json(self.path) or {}

    def move(self, mark: dict[str, Any]) -> None:
        """Set the mark: only after what it stands for is in the lake."""
        write_json(self.path, mark)
