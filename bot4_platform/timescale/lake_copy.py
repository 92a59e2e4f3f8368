"""Partitions of the lake's tables in the schema `lake`, for dbt's models on PostgreSQL.

A partition is replaced whole, with its row in the ledger in the same transaction. Trades are not among them: they are
market.market_ticks.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES
from bot4_platform.timescale.connection import bulk_connect, connect
from bot4_platform.timescale.migrate import require_current
from bot4_platform.timescale.settings import PostgresSettings

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.lake import Lake

TYPES = {
    "Int64": "bigint", "Int32": "integer", "Float64": "double precision", "String": "text", "Boolean": "boolean",
    "Binary": "bytea",
}  # fmt: skip
# What dbt's sources name, beside trades.
SOURCES = ("quotes", "depth", "funding", "liquidations", "features")


def copy_partition(settings: PostgresSettings, lake: Lake, table: str, part: MarketDay) -> int:
    """Make lake.`table` hold exactly the lake's rows of a market-day; return how many. What is there already stays.

    Raises FileNotFoundError for a partition that was not written, and as `connection.connect` does.
    """
    import polars as pl

    frame = lake.read(table, *part)

    columns = {"day": "date", "market": "text"} | {name: TYPES[kind] for name, kind in TABLES[table].columns.items()}
    with connect(settings) as db:
        require_current(db, settings)
    source, wanted = f"lake.{table}/{part.day}/{part.market}", digest(frame)
    rows_day = date.fromisoformat(part.day)
    rows = frame.select(pl.lit(rows_day).alias("day"), pl.lit(part.market).alias("market"), *TABLES[table].columns)
    with bulk_connect(settings) as bulk, bulk.cursor() as cursor:
        # One at a time for a table: two that create it or add the same column would collide.
        cursor.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", (f"lake.{table}",))
        cursor.fetchall()
        cursor.execute("select digest from market.loads where source = $1", (source,))
        if cursor.fetchone() == (wanted,):
            return frame.height
        shape = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        cursor.execute(f"create table if not exists lake.{table} ({shape})")
        for name, kind in columns.items():
            cursor.execute(f'alter table lake.{table} add column if not exists "{name}" {kind}')
        cursor.execute(f"create index if not exists {table}_part on lake.{table} (market, day)")
        cursor.execute(f"delete from lake.{table} where day = $1 and market = $2", (rows_day, part.market))
        if rows.height:
            cursor.adbc_ingest(table, rows.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append",
                               db_schema_name="lake")  # fmt: skip
        cursor.execute(
            "insert into market.loads (source, digest, rows, refreshed_at) values ($1, $2, $3, now())"
            " on conflict (source) do update set digest = excluded.digest, rows = excluded.rows, loaded_at = now()",
            (source, wanted, rows.height),
        )
        bulk.commit()
    return rows.height


def digest(frame: pl.DataFrame) -> str:
    """Return the sha256 of a frame's columns and row hashes; of this version of Polars, another loads once more."""
    found = hashlib.sha256("\n".join(f"{name} {kind}" for name, kind in frame.schema.items()).encode())
    if frame.height:
        found.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return found.hexdigest()
