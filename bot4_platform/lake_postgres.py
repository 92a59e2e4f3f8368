"""Lake tables in PostgreSQL, for dbt's target there: `lake.<table>` with the columns `day` and `market` first.

Trades are not among them: theirs is the hypertable market.market_ticks, which is loaded by itself.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES
from bot4_platform.timescale.connection import connect

if TYPE_CHECKING:
    from bot4_platform.lake import Lake
    from bot4_platform.timescale.settings import PostgresSettings

TYPES = {"Int64": "bigint", "Float64": "double precision", "Boolean": "boolean", "String": "text"}


def copy_partition(settings: PostgresSettings, lake: Lake, table: str, part: MarketDay) -> int:
    """Make the server's rows of a partition those of the lake, in one transaction; return how many there are.

    Doing it again changes nothing; two at once follow each other. Raises ValueError for a table whose columns have no
    type there, FileNotFoundError for a partition that was not written, and as `connection.connect` does.
    """
    columns = TABLES[table].columns
    other = sorted(name for name, kind in columns.items() if kind not in TYPES)
    if other:
        raise ValueError(f"{table} has columns that are not kept in PostgreSQL: {', '.join(other)}")
    rows = lake.read(table, *part)
    text = io.BytesIO()
    rows.write_csv(text, include_header=False, null_value="\\N", quote_style="necessary")
    text.seek(0)
    typed = ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in columns.items())
    names = ", ".join(f'"{name}"' for name in columns)
    day, market = part
    with connect(settings) as db, db.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lake.{table}",))
        cursor.execute("create schema if not exists lake")
        cursor.execute(f"create table if not exists lake.{table} (day date not null, market text not null, {typed})")
        cursor.execute(f"create index if not exists {table}_partition on lake.{table} (market, day)")
        cursor.execute(f"create temp table incoming ({typed}) on commit drop")
        cursor.copy_expert("copy incoming from stdin (format csv, null '\\N')", text)
        cursor.execute(f"delete from lake.{table} where day = %s and market = %s", (day, market))
        cursor.execute(
            f"insert into lake.{table} (day, market, {names}) select %s, %s, {names} from incoming", (day, market)
        )
        db.commit()
    return rows.height
