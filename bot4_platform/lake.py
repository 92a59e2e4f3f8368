"""The Parquet lake: one file a table, exchange day and market.

`<root>/<table>/day=YYYY-MM-DD/market=<venue>_<SYMBOL>/part.parquet`, Snappy, sorted. A file is written under
`<root>/.staging`, outside every reader's glob, fsynced and then renamed, so that a reader finds the old file or the
new one and a killed writer leaves neither. What the columns are is in `bot4_platform.tables`.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot4_live.safety.durable import sync_path
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

PART = "part.parquet"
STAGING = ".staging"


@dataclass(frozen=True)
class Written:
    """What a write left: the file, its rows and bytes."""

    path: Path
    rows: int
    size: int


@dataclass(frozen=True)
class Lake:
    """The lake of one account, under `root` (`Settings.lake_dir`)."""

    root: Path

    def path(self, table: str, day: str, market: str) -> Path:
        """Return where a partition lies; it need not exist."""
        return self.root / table / f"day={day}" / f"market={market.replace(':', '_')}" / PART

    def exists(self, table: str, day: str, market: str) -> bool:
        """Return whether a partition was written."""
        return self.path(table, day, market).is_file()

    def partitions(self, table: str, market: str | None = None) -> list[tuple[str, str]]:
        """Return (day, market) of every partition of a table, in order of day."""
        found = []
        for path in (self.root / table).glob(f"day=*/market=*/{PART}"):
            name = _market(path.parent.name)
            if market in (None, name):
                found.append((path.parent.parent.name.removeprefix("day="), name))
        return sorted(found)

    def read(
        self,
        table: str,
        days: str | Iterable[str] | None = None,
        market: str | None = None,
        columns: list[str] | None = None,
    ) -> pl.DataFrame:
        """Return partitions of a table, in order of day; without `days` all there are.

        Raises FileNotFoundError when a day that was asked for, or any at all, is missing.
        """
        import polars as pl

        wanted = None if days is None else {days} if isinstance(days, str) else set(days)
        found = [part for part in self.partitions(table, market) if wanted is None or part[0] in wanted]
        missing = sorted((wanted or set()) - {day for day, _ in found})
        if missing or not found:
            what = f"{table} of {market or 'any market'}" + (f" on {', '.join(missing)}" if missing else "")
            raise FileNotFoundError(f"the lake {self.root} has no {what}: materialize the asset {table} first")
        frames = [pl.read_parquet(self.path(table, *part), columns=columns, hive_partitioning=False) for part in found]
        return pl.concat(frames)

    def write(self, table: str, day: str, market: str, frame: pl.DataFrame | pa.Table) -> Written:
        """Write one partition, whole or not at all, and return what was written.

        A table of `tables.TABLES` is brought into its order and must have exactly its columns and types:
        raises ValueError otherwise. Raises OSError (disk full) with the partition as it was before.
        """
        import polars as pl

        data = frame if isinstance(frame, pl.DataFrame) else pl.from_arrow(frame)
        assert isinstance(data, pl.DataFrame)
        spec = TABLES.get(table)
        if spec is not None:
            data = spec.conform(data)
        staged = self.stage(table, day, market)
        try:
            try:
                data.write_parquet(staged, compression="snappy", statistics=True)
            except pl.exceptions.PolarsError as error:
                code = re.search(r"\(os error (\d+)\)", str(error))
                if code is None:
                    raise
                why = os.strerror(int(code[1]))
                raise OSError(int(code[1]), f"{table} cannot be written ({why})", str(self.root)) from None
            return self.publish(staged, table, day, market, data.height)
        finally:
            staged.unlink(missing_ok=True)

    def stage(self, table: str, day: str, market: str) -> Path:
        """Return a fresh path to write a partition to, for `publish`; removes what killed writers left there."""
        folder = self.root / STAGING
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            owner = re.search(r"\.(\d+)\.[0-9a-f]{8}\.parquet$", left.name)
            if owner and not _alive(int(owner[1])):
                left.unlink(missing_ok=True)
        name = f"{table}-{day}-{market.replace(':', '_')}.{os.getpid()}.{uuid.uuid4().hex[:8]}.parquet"
        return folder / name

    def publish(self, staged: Path, table: str, day: str, market: str, rows: int) -> Written:
        """Make a staged file the partition: fsync, rename, fsync of the folder."""
        target = self.path(table, day, market)
        target.parent.mkdir(parents=True, exist_ok=True)
        sync_path(staged)
        size = staged.stat().st_size
        os.replace(staged, target)
        sync_path(target.parent)
        return Written(target, rows, size)


def _market(folder: str) -> str:
    """Return the market of a partition's folder: a venue is written small, so a symbol may have underscores too."""
    return re.sub(r"^market=([a-z0-9_]+)_(?=[^a-z])", r"\1:", folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
