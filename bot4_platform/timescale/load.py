"""Market-days of the lake into market.market_ticks, each exactly once whatever is killed in between.

The ledger `market.loads` is written in the transaction that brings the rows, under an advisory lock of that day: a
loader that dies leaves neither, one that comes second finds the digest and does nothing. The aggregates are refreshed
after the commit; until that is done the ledger says so, and the next load of the day does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bot4_platform.partitions import MarketDay
from bot4_platform.timescale import aggregates
from bot4_platform.timescale.aggregates import Window
from bot4_platform.timescale.connection import bulk_connect, connect
from bot4_platform.timescale.migrate import require_current
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import COLUMNS, KEY, VALUES, digest

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import dbapi

How = Literal["appended", "merged", "unchanged"]


def _values(of: str) -> str:
    return ", ".join(f"{of}.{name}" for name in VALUES)


_MERGE = f"""
with merged as (
    insert into market.market_ticks as old ({", ".join(COLUMNS)})
    select {", ".join(COLUMNS)} from pg_temp.incoming
    on conflict ({", ".join(KEY)}) do update set {", ".join(f"{name} = excluded.{name}" for name in VALUES)}
    where ({_values("old")}) is distinct from ({_values("excluded")})
    returning exch_ns
)
select count(*), min(exch_ns), max(exch_ns) from merged
"""
_REMOVE = """
with removed as (
    delete from market.market_ticks as old
    where symbol = $1 and exchange = $2 and exch_ns >= $3 and exch_ns < $4 and not exists (
        select from pg_temp.incoming as new where new.exch_ns = old.exch_ns and new.trade_id = old.trade_id
    )
    returning exch_ns
)
select count(*), min(exch_ns), max(exch_ns) from removed
"""
_LEDGER = """
insert into market.loads as old (source, digest, rows, first_ns, last_ns, refreshed_at)
values ($1, $2, $3, $4, $5, null)
on conflict (source) do update set
    digest = excluded.digest, rows = excluded.rows, loaded_at = now(), refreshed_at = null,
    first_ns = case when old.refreshed_at is null then least(old.first_ns, excluded.first_ns)
        else excluded.first_ns end,
    last_ns = case when old.refreshed_at is null then greatest(old.last_ns, excluded.last_ns)
        else excluded.last_ns end
"""


@dataclass(frozen=True)
class Loaded:
    """What a load did: rows of the day, rows that came or changed, rows that went, and how."""

    source: str
    digest: str
    how: How
    rows: int
    written: int
    removed: int


def load_day(settings: PostgresSettings, rows: pa.Table, part: MarketDay) -> Loaded:
    """Make the database's ticks of a market-day those of `rows` (`ticks.of_trades`), and its candles with them.

    A day that is not there is appended; one that is there is merged: new and changed rows are written, those that are
    no longer in it removed, and only the buckets concerned refreshed. The same rows again do nothing. Raises TooOld for
    a day past the raw retention, and as `connection.connect` does; then nothing was loaded and it can be run again.
    """
    with connect(settings) as db, db.cursor() as found:
        if require_current(db, settings) == "timescale":
            aggregates.refuse_old(found, part.start_ns)
    done = transfer(settings, rows, part)
    finish(settings, done.source)
    return done


def transfer(settings: PostgresSettings, rows: pa.Table, part: MarketDay) -> Loaded:
    """Bring the rows of a market-day with their row of the ledger in one transaction; the candles are `finish`'s."""
    source, wanted = f"trades/{part.day}/{part.market}", digest(rows)
    with bulk_connect(settings) as bulk, bulk.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", (source,))
        cursor.fetchall()
        if _one(cursor, "select digest from market.loads where source = $1", (source,)) == (wanted,):
            return Loaded(source, wanted, "unchanged", rows.num_rows, 0, 0)
        done = _write(settings, cursor, rows, part, source, wanted)
        bulk.commit()
        return done


def finish(settings: PostgresSettings, source: str) -> None:
    """Refresh the aggregates over what the ledger calls not refreshed of a source, and say that it is done."""
    with connect(settings) as db, db.cursor() as found:
        found.execute(
            "select first_ns, last_ns, loaded_at from market.loads where source = %s and refreshed_at is null",
            (source,),
        )
        row = found.fetchone()
        db.rollback()
        if row is None:
            return
        if row[0] is not None:
            aggregates.refresh(settings, Window(row[0], row[1]))
        found.execute(
            "update market.loads set refreshed_at = now() where source = %s and loaded_at = %s", (source, row[2])
        )
        db.commit()


def append(settings: PostgresSettings, cursor: dbapi.Cursor, rows: pa.Table) -> None:
    """Append rows to market_ticks by binary COPY, `write_buffer_rows` at a time, in the caller's transaction."""
    _ingest(settings, cursor, rows, "market_ticks", db_schema_name="market")


def stage(settings: PostgresSettings, cursor: dbapi.Cursor, rows: pa.Table) -> None:
    """Put rows into the temporary table `incoming`, which goes with the transaction."""
    cursor.execute("create temp table incoming (like market.market_ticks) on commit drop")
    _ingest(settings, cursor, rows, "incoming", temporary=True)
    cursor.execute("analyze pg_temp.incoming")
    # A day that was just appended has no statistics: the planner would compare each row with each.
    cursor.execute("set local enable_nestloop = off")


def _write(
    settings: PostgresSettings, cursor: dbapi.Cursor, rows: pa.Table, part: MarketDay, source: str, wanted: str
) -> Loaded:
    exchange, _, symbol = part.market.partition(":")
    scope = (symbol, exchange, part.start_ns, part.end_ns)
    there = _one(
        cursor,
        "select exists (select from market.market_ticks"
        " where symbol = $1 and exchange = $2 and exch_ns >= $3 and exch_ns < $4)",
        scope,
    )
    if there == (False,):
        append(settings, cursor, rows)
        how: How = "appended"
        written, removed, windows = rows.num_rows, 0, [_span(rows)]
    else:
        how = "merged"
        stage(settings, cursor, rows)
        removed, gone = _counted(cursor, _REMOVE, scope)
        written, came = _counted(cursor, _MERGE)
        windows = [gone, came]
    found = [window for window in windows if window is not None]
    first = min((window.first_ns for window in found), default=None)
    last = max((window.last_ns for window in found), default=None)
    cursor.execute(_LEDGER, (source, wanted, rows.num_rows, first, last))
    return Loaded(source, wanted, how, rows.num_rows, written, removed)


def _span(rows: pa.Table) -> Window | None:
    import pyarrow.compute as pc

    found = pc.min_max(rows["exch_ns"]).as_py()
    return Window(found["min"], found["max"]) if rows.num_rows else None


def _ingest(settings: PostgresSettings, cursor: dbapi.Cursor, rows: pa.Table, table: str, **where: Any) -> None:
    import pyarrow as pa

    if rows.num_rows:
        batches = rows.to_batches(max_chunksize=settings.write_buffer_rows)
        reader = pa.RecordBatchReader.from_batches(rows.schema, batches)
        cursor.adbc_ingest(table, reader, mode="append", **where)


def _counted(cursor: dbapi.Cursor, sql: str, values: tuple[object, ...] | None = None) -> tuple[int, Window | None]:
    row = _one(cursor, sql, values)
    assert row is not None
    return int(row[0]), Window(int(row[1]), int(row[2])) if row[0] else None


def _one(cursor: dbapi.Cursor, sql: str, values: tuple[object, ...] | None = None) -> tuple[Any, ...] | None:
    cursor.execute(sql, values)
    return cursor.fetchone()
