"""The Parquet lake: tables by exchange day and market.

`<root>/<table>/day=YYYY-MM-DD/market=<venue>_<SYMBOL>/part.parquet`, Snappy, sorted. A file is written under
`<root>/.staging`, outside every reader's glob, fsynced and then renamed, so that a reader finds the old file or the
new one and a killed writer leaves neither. While a day is open, `append` adds small parts beside the file and
`compact` makes one file of them again (`bot4_platform.parts` says how readers see each row once meanwhile). What the
columns are is in `bot4_platform.tables`, how they may grow in `bot4_platform.schemas`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot4_platform import parts, schemas, staging
from bot4_platform.archive.cache import bring_back, fetched
from bot4_platform.archive.stub import stub_path
from bot4_platform.locks import locked
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

PART = parts.BASE
STAGING = staging.FOLDER
ROW_GROUP = 131_072  # rows; decisions/010
MOST_PARTS = 32
_TRIES = 100
# The name of a partition's folder without `market=`: venue and symbol; a regular expression of DuckDB's too.
MARKET_FOLDER = r"(.*?)_([A-Z0-9][A-Z0-9_.-]*)"


@dataclass(frozen=True)
class Written:
    """What a write left: the file, its rows and bytes."""

    path: Path
    rows: int
    size: int


@dataclass(frozen=True)
class Compacted:
    """What a compaction made one file of: how many files, their bytes, and the file."""

    files: int
    size_before: int
    written: Written


@dataclass(frozen=True)
class Lake:
    """The lake of one account, under `root` (`Settings.lake_dir`)."""

    root: Path

    def folder(self, table: str, day: str = "", market: str = "") -> Path:
        """Return the folder of a partition; without day and market that of a table that has none."""
        if not day:
            return self.root / table
        return self.root / table / f"day={day}" / f"market={market.replace(':', '_')}"

    def path(self, table: str, day: str = "", market: str = "") -> Path:
        """Return where a partition's base lies; it need not exist."""
        return self.folder(table, day, market) / PART

    def files(self, table: str, day: str = "", market: str = "") -> list[Path]:
        """Return the files that hold a partition's rows now: its base, then parts added since; none if not written."""
        return parts.live(self.folder(table, day, market))

    def exists(self, table: str, day: str = "", market: str = "") -> bool:
        """Return whether a partition was written; it may be in the archive."""
        path = self.path(table, day, market)
        return path.is_file() or stub_path(path).is_file()

    def tables(self) -> list[str]:
        """Return the names of the tables that were written."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name
            for path in self.root.iterdir()
            if path.is_dir() and not path.name.startswith(".") and (any(path.glob("day=*")) or (path / PART).is_file())
        )

    def partitions(self, table: str, market: str | None = None, *, archived: bool = False) -> list[tuple[str, str]]:
        """Return (day, market) of every local partition of a table, in order of day; with `archived` of all."""
        found = set()
        for name in (PART, stub_path(Path(PART)).name) if archived else (PART,):
            for path in (self.root / table).glob(f"day=*/market=*/{name}"):
                of = market_of(path.parent.name)
                if market in (None, of):
                    found.add((path.parent.parent.name.removeprefix("day="), of))
        return sorted(found)

    def read(
        self,
        table: str,
        days: str | Iterable[str] | None = None,
        market: str | None = None,
        columns: list[str] | None = None,
    ) -> pl.DataFrame:
        """Return partitions of a table, in order of day; without `days` all that are local.

        A day that lies in the archive is fetched when it is named (`bot4_platform.archive`).
        Raises FileNotFoundError when a day that was asked for, or any at all, is missing.
        """
        import polars as pl

        spec = TABLES.get(table)
        found = [("", "")] if spec is not None and not spec.partitioned else None
        wanted = None if days is None else {days} if isinstance(days, str) else set(days)
        if found is None:
            found = self.partitions(table, market, archived=wanted is not None)
        if wanted is not None:
            found = [part for part in found if part[0] in wanted]
        missing = sorted((wanted or set()) - {day for day, _ in found})
        if missing or not found or not self.exists(table, *found[0]):
            what = f"{table} of {market or 'any market'}" + (f" on {', '.join(missing)}" if missing else "")
            raise FileNotFoundError(f"the lake {self.root} has no {what}: materialize the asset {table} first")
        return pl.concat([self._read(table, *part, columns) for part in found])

    def _read(self, table: str, day: str, market: str, columns: Sequence[str] | None) -> pl.DataFrame:
        """Return one partition as it was at one instant, in the table's order."""
        import polars as pl

        spec, base = TABLES.get(table), self.path(table, day, market)
        for _ in range(_TRIES):
            before = None
            try:
                if not base.is_file() and (copy := fetched(base, self.root)) is not None:
                    return schemas.read_file(copy, table, spec, columns)
                before = parts.identity(base)
                files = parts.live(base.parent)
                if len(files) == 1:
                    frame = schemas.read_file(base, table, spec, columns)
                else:
                    needed = None if columns is None or spec is None else [*dict.fromkeys([*columns, *spec.order])]
                    frame = pl.concat([schemas.read_file(path, table, spec, needed) for path in files])
                if parts.identity(base) == before:
                    break
            except FileNotFoundError:  # a part was superseded and removed
                if not self.exists(table, day, market):
                    raise
            except pl.exceptions.PolarsError:  # it opens a file for its footer and again for its pages
                if not base.is_file() or parts.identity(base) == before:
                    raise
        else:
            raise OSError(f"{base} was replaced {_TRIES} times while it was read: something writes it without end")
        if len(files) > 1 and spec is not None:
            frame = spec.sorted(frame)
        return frame if columns is None else frame.select(columns)

    @contextmanager
    def pinned(self, day: str, market: str, tables: Iterable[str] | None = None) -> Iterator[Path]:
        """Give a lake of links with one partition of each table, for readers that go by file names (`part*.parquet`).

        What is in it holds still, whatever is written to the lake meanwhile.
        """
        pin = self.stage("pin", day, market).with_suffix("")
        try:
            for table in self.tables() if tables is None else tables:
                base = self.path(table, day, market)
                for attempt in range(_TRIES):
                    folder = Lake(pin).folder(table, day, market)
                    shutil.rmtree(folder, ignore_errors=True)
                    try:
                        copy = None if base.is_file() else fetched(base, self.root)
                        before = parts.identity(copy or base)
                        folder.mkdir(parents=True)
                        if copy is not None:
                            os.link(copy, folder / PART)
                            break
                        for path in parts.live(base.parent):
                            os.link(path, folder / path.name)
                        if parts.identity(base) == before == parts.identity(folder / PART):
                            break
                    except FileNotFoundError:
                        if not self.exists(table, day, market):
                            break
                    if attempt == _TRIES - 1:
                        raise OSError(f"{base} was replaced {_TRIES} times while it was pinned")
            yield pin
        finally:
            shutil.rmtree(pin, ignore_errors=True)

    def write(
        self, table: str, day: str, market: str, frame: pl.DataFrame | pa.Table, *, sources: Sequence[str] = ()
    ) -> Written:
        """Write one partition, whole or not at all, and return what was written; parts of it are superseded.

        `sources` names what the rows were made of, kept with them. A table of `tables.TABLES` is brought into its
        order and must have exactly its columns and types: raises ValueError otherwise. Raises OSError (disk full)
        with the partition as it was before.
        """
        data = self._conformed(table, frame)
        with locked(self.root, f"{table}/{day}/{market}"):
            return self._write_base(table, day, market, data, sources)

    def append(
        self,
        table: str,
        day: str,
        market: str,
        frame: pl.DataFrame | pa.Table,
        *,
        sources: Sequence[str] = (),
        keys: Sequence[str] | None = None,
    ) -> Written:
        """Add the rows that the partition does not have yet, as a part of its own; return that part.

        Rows are the same when `keys` (or the table's `unique`) are; the first one stays. Doing it again adds
        nothing. An absent partition is written, and one with many parts compacted. Raises as `write` does, and
        ValueError for a table that is not declared.
        """
        import polars as pl

        spec = TABLES.get(table)
        if spec is None:
            raise ValueError(f"{table} is no declared table: it has no key by which rows could be added")
        by = list(keys or spec.unique)
        data = self._conformed(table, frame).unique(by, keep="first", maintain_order=True)
        with locked(self.root, f"{table}/{day}/{market}"):
            folder = self.folder(table, day, market)
            files = parts.live(folder)
            if not files and self.exists(table, day, market):
                bring_back(self.path(table, day, market))
                files = parts.live(folder)
            if not files:
                return self._write_base(table, day, market, data, sources)
            if len(files) > MOST_PARTS:
                self._compact(table, day, market, files)
                files = parts.live(folder)
            there = pl.concat([schemas.read_like(path, table, spec, data.select(by)) for path in files])
            fresh = data.join(there, on=by, how="anti", maintain_order="left", nulls_equal=True)
            known = {name for path in files for name in sources_of(path)}
            if fresh.is_empty() and known.issuperset(sources):
                return Written(files[0], 0, 0)
            target = parts.next_part(folder, parts.epoch_of(files[0]))
            return self._put(table, day, market, fresh, target, 0, sources)

    def sources(self, table: str, day: str, market: str) -> list[str]:
        """Return what a partition's rows were made of, as its writers said; nothing when it is not there."""
        base = self.path(table, day, market)
        for _ in range(_TRIES):
            if not base.is_file():
                return []
            try:
                before = parts.identity(base)
                found = list(dict.fromkeys(name for path in parts.live(base.parent) for name in sources_of(path)))
                if parts.identity(base) == before:
                    return found
            except FileNotFoundError:
                continue
        raise OSError(f"{base} was replaced {_TRIES} times while it was read: something writes it without end")

    def compact(self, table: str, day: str, market: str, *, grace_s: float = parts.GRACE_S) -> Compacted | None:
        """Make one sorted file of a partition's parts, None when there is nothing to do.

        Parts that were superseded `grace_s` ago are removed.
        """
        folder = self.folder(table, day, market)
        if not parts.numbered(folder):
            return None
        with locked(self.root, f"{table}/{day}/{market}"):
            parts.sweep(folder, grace_s)
            files = parts.live(folder)
            return self._compact(table, day, market, files) if len(files) > 1 else None

    def _compact(self, table: str, day: str, market: str, files: list[Path]) -> Compacted:
        import polars as pl

        spec, size = TABLES[table], sum(path.stat().st_size for path in files)
        frame = spec.sorted(pl.concat([schemas.read_file(path, table, spec, None) for path in files]))
        sources = list(dict.fromkeys(name for path in files for name in sources_of(path)))
        return Compacted(len(files), size, self._write_base(table, day, market, frame, sources))

    def _conformed(self, table: str, frame: pl.DataFrame | pa.Table) -> pl.DataFrame:
        import polars as pl

        data = frame if isinstance(frame, pl.DataFrame) else pl.from_arrow(frame)
        assert isinstance(data, pl.DataFrame)
        spec = TABLES.get(table)
        if spec is None:
            return data
        data = spec.conform(data)
        schemas.record(self.root, table, spec)
        return data

    def _write_base(self, table: str, day: str, market: str, data: pl.DataFrame, sources: Sequence[str]) -> Written:
        target = self.path(table, day, market)
        # What lies there as parts of the epoch would be rows once more.
        epoch = parts.epoch_of(target) + (len(parts.live(target.parent)) > 1)
        written = self._put(table, day, market, data, target, epoch, sources)
        parts.sweep(target.parent)
        return written

    def _put(
        self, table: str, day: str, market: str, data: pl.DataFrame, target: Path, epoch: int, sources: Sequence[str]
    ) -> Written:
        """Write a file to the staging folder and rename it to `target`, durably."""
        import polars as pl

        spec = TABLES.get(table)
        said = {schemas.TABLE: table} | ({} if spec is None else {schemas.VERSION: str(spec.version)})
        said |= {schemas.EPOCH: str(epoch)} if epoch else {}
        said |= {schemas.SOURCES: json.dumps(list(sources))} if sources else {}
        staged = self.stage(table, day, market)
        try:
            try:
                data.write_parquet(
                    staged, compression="snappy", statistics=True, row_group_size=ROW_GROUP, metadata=said
                )
            except pl.exceptions.PolarsError as error:
                code = re.search(r"\(os error (\d+)\)", str(error))
                if code is None:
                    raise
                why = os.strerror(int(code[1]))
                raise OSError(int(code[1]), f"{table} cannot be written ({why})", str(self.root)) from None
            return Written(target, data.height, staging.publish(staged, target))
        finally:
            staged.unlink(missing_ok=True)

    def stage(self, table: str, day: str, market: str) -> Path:
        """Return a fresh path to write a partition to; removes what killed writers left there."""
        return staging.stage(self.root, f"{table}-{day}-{market.replace(':', '_')}")


def market_of(folder: str) -> str:
    """Return the market whose partitions lie in a folder `market=<venue>_<SYMBOL>`; a symbol has no small letters."""
    name = folder.removeprefix("market=")
    found = re.fullmatch(MARKET_FOLDER, name)
    return f"{found[1]}:{found[2]}" if found else name


def sources_of(path: Path) -> list[str]:
    """Return what a file's rows were made of, as its writer said."""
    import polars as pl

    found: list[str] = json.loads(pl.read_parquet_metadata(path).get(schemas.SOURCES, "[]"))
    return found
