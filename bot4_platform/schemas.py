"""Schemas of the lake's tables, and that they only grow.

What a table is, is declared in `bot4_platform.tables`; beside its partitions lies `schema.json`, the schema that the
lake was last written with. A column may be added at the end, under a new version; files written before it are read
with the column's declared default, or null. A column that was removed, renamed, moved or given another type is refused
before anything is written: half a table in old and half in new integers cannot be told apart later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.safety.durable import read_json
from bot4_platform import staging
from bot4_platform.locks import locked
from bot4_platform.tables.table import Table

if TYPE_CHECKING:
    import polars as pl

NAME = "schema.json"
# Keys of a Parquet file's metadata.
TABLE, VERSION, EPOCH, SOURCES = "bot4.table", "bot4.schema_version", "bot4.epoch", "bot4.sources"


class SchemaError(ValueError):
    """A schema that does not follow from the one before it, or a file that is not of its table."""


def described(spec: Table) -> dict[str, Any]:
    """Return a schema as it is kept: version, and for each column [name, type, version it came with]."""
    columns = [[name, kind, spec.since.get(name, 1)] for name, kind in spec.columns.items()]
    return {"version": spec.version, "columns": columns, "order": list(spec.order), "unique": list(spec.unique)}


def check_growth(table: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise SchemaError unless `new` is `old`, or `old` with columns of a later version at its end."""
    before, after = old["columns"], new["columns"]
    names = [column[0] for column in after]
    for index, (name, kind, since) in enumerate(before):
        if name not in names:
            raise SchemaError(
                f"{table}: the column {name} is gone; schemas only grow, so keep it (null from now on) or name a new "
                "table"
            )
        found = after[names.index(name)]
        if found[1] != kind:
            raise SchemaError(f"{table}: the column {name} was {kind} and is {found[1]}; add a column of a new name")
        if names.index(name) != index:
            raise SchemaError(f"{table}: the column {name} was moved; new columns go to the end")
        if found[2] != since:
            raise SchemaError(f"{table}: the column {name} is of version {since}, not {found[2]}")
    for name, _, since in after[len(before) :]:
        if since <= old["version"]:
            raise SchemaError(
                f'{table}: the column {name} is new; say so with since={{"{name}": {old["version"] + 1}}} in its Table'
            )


def record(root: Path, table: str, spec: Table) -> None:
    """Make the lake's schema of `table` the declared one.

    Raises SchemaError when it does not follow from the one the lake has, or when that is of a later version.
    """
    path, new = root / table / NAME, described(spec) | {"table": table, "title": spec.title}
    if read_json(path) == new:
        return
    with locked(root, f"{table}/{NAME}"):
        old = read_json(path)
        if old is not None:
            if old["version"] > spec.version:
                raise SchemaError(
                    f"{table}: the lake {root} has version {old['version']} of its schema, this program knows "
                    f"{spec.version}: use the later program to write it"
                )
            check_growth(table, old, new)
        staged = staging.stage(root, f"{table}-schema", ".json")
        try:
            staged.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
            staging.publish(staged, path)
        finally:
            staged.unlink(missing_ok=True)


def read_schema(path: Path) -> pl.Schema:
    """Return the columns and types of a Parquet file."""
    import polars as pl

    return pl.Schema(pl.read_parquet_schema(path))


def read_file(path: Path, table: str, spec: Table | None, columns: Sequence[str] | None) -> pl.DataFrame:
    """Return one Parquet file as the declared schema has it; a table that is not declared comes as it is.

    Raises SchemaError when a column of the file has another type than was declared, ValueError for an unknown column.
    """
    import polars as pl

    wanted = None if columns is None else list(columns)
    if spec is None:
        return pl.read_parquet(path, columns=wanted, hive_partitioning=False)
    asked = list(spec.columns) if wanted is None else spec.known(wanted)
    have, declared = read_schema(path), spec.schema()
    for name in asked:
        if name in have and have[name] != declared[name]:
            raise SchemaError(f"{path}: the column {name} of {table} is {have[name]} there, not {declared[name]}")
    present = [name for name in asked if name in have]
    if present:
        frame = pl.read_parquet(path, columns=present, hive_partitioning=False)
    else:  # polars reads no rows when it is asked for no column
        frame = pl.select(pl.repeat(None, pl.scan_parquet(path).select(pl.len()).collect().item()).alias(asked[0]))
    if len(present) == len(asked):
        return frame
    missing = [
        pl.lit(spec.defaults.get(name), dtype=declared[name]).alias(name) for name in asked if name not in present
    ]
    return frame.with_columns(missing).select(asked)


def read_like(path: Path, table: str, spec: Table, keys: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of `keys` of the rows whose first one lies within the range that `keys` have there.

    By their statistics most row groups of a growing table are passed over.
    """
    import polars as pl

    first = keys.columns[0]
    low, high = keys[first].min(), keys[first].max()
    if low is None or keys[first].null_count() or any(name not in read_schema(path) for name in keys.columns):
        return read_file(path, table, spec, keys.columns)
    within = pl.col(first).is_between(pl.lit(low), pl.lit(high))  # a text by itself would name a column
    rows = pl.scan_parquet(path, hive_partitioning=False).filter(within)
    return rows.select(keys.columns).collect()
