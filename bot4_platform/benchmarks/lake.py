"""`bot4 bench lake`: writing a partition against pyarrow by hand, and the candles of dbt against SQL by hand."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot4_live.benchmarks.report import NoiseMeter, Result, best
from bot4_live.clock import DAY_NS
from bot4_platform.lake import ROW_GROUP, Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

ROWS = 10_000_000
PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
HIGHER = frozenset({"write_rows_per_s", "pyarrow_rows_per_s"})
RATIOS = frozenset({"write_vs_pyarrow", "write_vs_pyarrow_default", "candles_vs_duckdb", "candles_vs_duckdb_plain"})
MODELS = ("model.bot4.stg_trades", "model.bot4.candles_1m")
BY_HAND = """
COPY (
    SELECT
        exch_ns // 60000000000 * 60000000000 AS minute_ns,
        {open} AS open,
        max(price) AS high,
        min(price) AS low,
        {close} AS close,
        sum(qty)::BIGINT AS volume,
        sum(price * qty)::BIGINT AS vwap_num,
        sum(qty)::BIGINT AS vwap_den,
        count(*) AS trades
    FROM read_parquet('{trades}')
    GROUP BY minute_ns
    ORDER BY minute_ns
) TO '{target}' (FORMAT parquet)
"""
_PLACE = "exch_ns::HUGEINT * 18446744073709551616 + trade_id"
# What one would write first, and what is faster: both columns of the order as one number of 128 bits.
PLAIN = ("first(price ORDER BY exch_ns, trade_id)", "last(price ORDER BY exch_ns, trade_id)")
FAST = (f"arg_min(price, {_PLACE})", f"arg_max(price, {_PLACE})")
NOTES = {
    "write_vs_pyarrow": "rows a second of Lake.write over those of pyarrow.parquet.write_table: the same sorted table, "
    "row groups, snappy, fsync; pyarrow without dictionaries, its faster way here; >= 0.8",
    "write_vs_pyarrow_default": "the same over pyarrow with its default of dictionaries",
    "candles_s": "the SQL of dbt's candles_1m with what it is made of, over the same table: the adapter's own timing",
    "candles_vs_duckdb": "times slower than one COPY of hand-written SQL in DuckDB, the fastest that we know; <= 1.5",
    "candles_vs_duckdb_plain": "the same, over SQL with ordered aggregates, as one would write it first",
    "dbt_overhead_s": "of one build beside the SQL: planning, compiling, the tests of these models",
}


def run(*, rows: int | None = None, runs: int = 3, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure `runs` times over a generated day of `rows` trades (ROWS by default), on the disk of TMPDIR.

    Raises ValueError when dbt's candles and those by hand differ, OSError without room for three copies of the table.
    """
    count = rows or ROWS
    progress(f"input: {count:,} trades")
    frame = trades(count)
    found: list[dict[str, Any]] = []
    noises = []
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as work:
        lake, folder = Lake(Path(work) / "lake"), Path(work)
        table = frame.to_arrow()
        dbt_candles(lake, folder, warm=frame.head(1000))
        for number in range(runs):
            progress(f"run {number + 1} of {runs}")
            with NoiseMeter() as meter:
                metrics = writes(lake, folder, frame, table)
                metrics |= candles(lake, folder)
            found.append(metrics)
            noises.append(meter.noise)
    return Result("lake", best(found, HIGHER, RATIOS), f"{count:,} generated trades of a day", noises, NOTES)


def trades(count: int) -> pl.DataFrame:
    """Return a day of `count` trades in the table's order, the same for the same count."""
    import polars as pl

    random = np.random.default_rng(20_240_808)
    exch = PART.start_ns + np.sort(random.integers(0, DAY_NS, count))
    return pl.DataFrame(
        {
            "seq": np.cumsum(random.integers(1, 12, count)),
            "recv_ns": exch + random.integers(1_000_000, 10_000_000, count),
            "exch_ns": exch,
            "trade_id": np.arange(count) + 5_240_000_000,
            "price": 557_000 + np.cumsum(random.integers(-3, 4, count)) // 16,
            "qty": random.integers(1, 5_000, count),
            "sell": random.random(count) < 0.5,
        },
        schema=TABLES["trades"].schema(),
    )


def writes(lake: Lake, folder: Path, frame: pl.DataFrame, table: pa.Table) -> dict[str, float]:
    """Write the table through the lake and by hand, and return rows a second and their ratios."""
    ours = timed(lambda: lake.write("trades", *PART, frame))
    plain = timed(lambda: by_hand(table, folder / "by_hand.parquet", dictionaries=False))
    default = timed(lambda: by_hand(table, folder / "by_hand.parquet", dictionaries=True))
    count = frame.height
    return {
        "write_rows_per_s": round(count / ours),
        "pyarrow_rows_per_s": round(count / plain),
        "write_vs_pyarrow": round(plain / ours, 3),
        "write_vs_pyarrow_default": round(default / ours, 3),
    }


def by_hand(table: pa.Table, path: Path, *, dictionaries: bool) -> None:
    """Write a table as one would without the lake: whole, renamed, on the disk."""
    import pyarrow.parquet as pq

    staged = path.with_suffix(".staged")
    pq.write_table(table, staged, compression="snappy", row_group_size=ROW_GROUP, use_dictionary=dictionaries)
    for target in (staged, staged.parent):
        fd = os.open(target, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        if target is staged:
            os.replace(staged, path)


def candles(lake: Lake, folder: Path) -> dict[str, float]:
    """Build the candles by dbt and by hand, compare every cell, and return the times."""
    import duckdb
    import polars as pl

    made, sql_s, overhead_s = dbt_candles(lake, folder)
    target, times = folder / "candles_by_hand.parquet", {}
    for name, (first, last) in {"plain": PLAIN, "fast": FAST}.items():
        query = BY_HAND.format(trades=lake.path("trades", *PART), target=target, open=first, close=last)
        with duckdb.connect() as connection:  # the better of two: what a connection does once is not the SQL's
            times[name] = min(timed(partial(connection.execute, query)) for _ in range(2))
        if not pl.read_parquet(made).select(pl.read_parquet(target).columns).equals(pl.read_parquet(target)):
            raise ValueError("dbt's candles differ from those by hand: the benchmark compares two different things")
    return {
        "candles_s": round(sql_s, 4),
        "duckdb_s": round(min(times.values()), 4),
        "candles_vs_duckdb": round(sql_s / min(times.values()), 3),
        "candles_vs_duckdb_plain": round(sql_s / times["plain"], 3),
        "dbt_overhead_s": round(overhead_s, 3),
    }


def dbt_candles(lake: Lake, folder: Path, *, warm: pl.DataFrame | None = None) -> tuple[Path, float, float]:
    """Build candles_1m by dbt; return its file, the seconds of its SQL, and dbt's own seconds beside.

    With `warm` over these few trades: what dbt imports and parses once is not part of a build.
    """
    from bot4_platform import dbt_runner

    if warm is not None:
        lake.write("trades", *PART, warm)
    out = folder / "candles"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    began = time.perf_counter()
    outcomes = dbt_runner.build(lake.root, out, *PART, target_path=folder / "dbt", select=["candles_1m"])
    taken = time.perf_counter() - began
    if broken := [one for one in outcomes if not one.ok]:
        raise ValueError(f"dbt: {broken[0].unique_id} {broken[0].status}: {broken[0].message}")
    sql = sum(one.sql_seconds for one in outcomes if one.unique_id in MODELS)
    return out / "candles_1m.parquet", sql, taken - sum(one.sql_seconds for one in outcomes)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
