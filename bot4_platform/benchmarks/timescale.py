"""`bot4 bench timescale`: loading market-days against a raw binary COPY, on a server of the benchmark's own."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot4_live.benchmarks.report import NoiseMeter, Result, best
from bot4_platform.benchmarks.lake import PART, trades
from bot4_platform.timescale.connection import connect
from bot4_platform.timescale.load import transfer
from bot4_platform.timescale.local_server import LocalServer, has_timescale
from bot4_platform.timescale.migrate import migrate
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import COLUMNS, of_trades

if TYPE_CHECKING:
    import polars as pl

ROWS = 1_000_000
COPY_CHUNK = 1 << 20  # psycopg2's own 8 KiB would slow the reference down
HIGHER = frozenset({"rows_per_s", "copy_rows_per_s", "upsert_rows_per_s"})
RATIOS = frozenset({"vs_copy", "upsert_vs_copy"})
NOTES = {
    "rows_per_s": "a market-day appended as Arrow batches, with its ledger in one transaction, connecting included",
    "vs_copy": "times the raw binary COPY of the same rows, encoded beforehand, into the same table; >= 0.9",
    "upsert_vs_copy": "a day merged into what came of it before: half of its rows are late, a tenth changed, the rest "
    "as they were; its rows a second over those of COPY; >= 0.3",
    "engine": "timescale: a hypertable under continuous aggregates; postgres: the plain table with the same indexes",
}


def run(*, rows: int | None = None, runs: int = 3, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure `runs` times with a generated day of `rows` trades (ROWS by default), on the disk of TMPDIR.

    Both sides write the same log and wait for the disk at each commit. Raises OSError without PostgreSQL, ValueError
    when the table does not hold the rows that it should.
    """
    count, timescale = rows or ROWS, has_timescale()
    day = trades(count)
    found: list[dict[str, Any]] = []
    noises = []
    server = LocalServer(timescale, durable=True)
    try:
        progress(f"starting PostgreSQL {'with' if timescale else 'without'} TimescaleDB; input: {count:,} trades")
        server.create()
        server.start()
        migrate(server.settings)
        _hold_still(server.settings)
        encoded = _encoded(server.settings, day)
        for number in range(runs):
            progress(f"run {number + 1} of {runs}")
            with NoiseMeter() as meter:
                found.append(_once(server.settings, day, encoded))
            noises.append(meter.noise)
    finally:
        server.remove()
    metrics = best(found, HIGHER, RATIOS) | {"engine": "timescale" if timescale else "postgres"}
    return Result("timescale", metrics, f"{count:,} generated trades of a day", noises, NOTES)


def _once(settings: PostgresSettings, day: pl.DataFrame, encoded: bytes) -> dict[str, float]:
    import polars as pl

    count = day.height
    rows = of_trades(day, PART.market)
    _empty(settings)
    append_s = _timed(lambda: transfer(settings, rows, PART))
    _holds(settings, count)
    _empty(settings)
    copy_s = _timed(lambda: _copy(settings, encoded))
    _holds(settings, count)
    _empty(settings)
    # Half is there, of which a fifth has another quantity by the time of the merge.
    there = day.filter(pl.int_range(pl.len()) % 2 == 0)
    old = there.with_columns(pl.col("qty") + (pl.int_range(pl.len()) % 5 == 0).cast(pl.Int64))
    transfer(settings, of_trades(old, PART.market), PART)
    done = []
    upsert_s = _timed(lambda: done.append(transfer(settings, rows, PART)))
    _holds(settings, count)
    if done[0].written != count - there.height + (there.height + 4) // 5:
        raise ValueError(f"a merge of {count} rows wrote {done[0].written}: the benchmark measures something else")
    return {
        "rows_per_s": round(count / append_s),
        "copy_rows_per_s": round(count / copy_s),
        "upsert_rows_per_s": round(count / upsert_s),
        "vs_copy": round(copy_s / append_s, 3),
        "upsert_vs_copy": round(copy_s / upsert_s, 3),
    }


def _encoded(settings: PostgresSettings, day: pl.DataFrame) -> bytes:
    """Return the rows as the server itself writes them in binary."""
    _empty(settings)
    transfer(settings, of_trades(day, PART.market), PART)
    out = io.BytesIO()
    with connect(settings) as db, db.cursor() as cursor:
        cursor.copy_expert(
            f"copy (select {', '.join(COLUMNS)} from market.market_ticks order by exch_ns, trade_id) to stdout binary",
            out,
        )
    return out.getvalue()


def _copy(settings: PostgresSettings, encoded: bytes) -> None:
    with connect(settings) as db, db.cursor() as cursor:
        source = io.BytesIO(encoded)
        cursor.copy_expert(f"copy market.market_ticks ({', '.join(COLUMNS)}) from stdin binary", source, COPY_CHUNK)
        db.commit()


def _hold_still(settings: PostgresSettings) -> None:
    """Let no policy work while times are taken; the market's clock is that of the day."""
    with connect(settings, autocommit=True) as db, db.cursor() as cursor:
        cursor.execute(f"alter database {settings.database} set bot4.now_ns = '{PART.end_ns}'")
        cursor.execute("select count(*) from pg_extension where extname = 'timescaledb'")
        if cursor.fetchone() == (1,):
            cursor.execute(
                "select alter_job(job_id, scheduled => false) from timescaledb_information.jobs"
                " where hypertable_schema = 'market'"
            )


def _empty(settings: PostgresSettings) -> None:
    """Begin anew: no rows, and what was dirty is on the disk."""
    with connect(settings, autocommit=True) as db, db.cursor() as cursor:
        cursor.execute("truncate market.market_ticks")
        cursor.execute("truncate market.loads")
        cursor.execute("checkpoint")


def _holds(settings: PostgresSettings, count: int) -> None:
    with connect(settings) as db, db.cursor() as cursor:
        cursor.execute("select count(*) from market.market_ticks")
        found = cursor.fetchone()
    if found != (count,):
        raise ValueError(f"the table holds {found} rows instead of {count}: the benchmark measures something else")


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
