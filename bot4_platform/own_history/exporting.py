"""The lake's history as a file in the documented schema: decimals in quote and base currency, times in UTC."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bot4_live.instrument import Instrument
from bot4_platform import staging
from bot4_platform.lake import Lake
from bot4_platform.own_history.layout import KINDS, Kind, decimals
from bot4_platform.own_history.reading import format_of
from bot4_platform.own_history.steps import by_version, versions_of

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[str, float], None]


def export_file(
    lake: Lake, path: Path, kind_name: str, market: str, *, interval_s: int = 0, first_day: str = "",
    last_day: str = "9999", progress: Progress = lambda _text, _done: None,
) -> int:  # fmt: skip
    """Write what was imported of a market, archived days too; return the rows. The file is whole or not there.

    Raises FileNotFoundError when there are no such rows, ValueError for a name that tells no format.
    """
    import polars as pl

    kind, versions = KINDS[kind_name], versions_of(lake, market, None, None)
    days = [day for day, _ in lake.partitions(kind.table, market, archived=True) if first_day <= day <= last_day]
    rows = 0
    with _writer(path) as write:
        for number, day in enumerate(days, 1):
            frame = lake.read(kind.table, day, market)
            if interval_s:
                frame = frame.filter(pl.col("interval_s") == interval_s)
            time = frame["open_ns" if interval_s else "event_ns"]
            for instrument, held in by_version(frame, time, versions):
                write(_as_file(held, kind, instrument))
            rows += frame.height
            progress(f"{day}: {rows:,} rows", number / len(days))
        if not rows:
            what = f"{kind_name} of {market}" + (f" of {interval_s} s" if interval_s else "")
            raise FileNotFoundError(f"the lake {lake.root} has no imported {what} in that time")
    return rows


def _as_file(rows: pl.DataFrame, kind: Kind, instrument: Instrument) -> pl.DataFrame:
    """Return a day's rows as texts in the columns of a file; `time` as ISO 8601 with ns."""
    import polars as pl

    time = "open_ns" if "open_ns" in rows.columns else "event_ns"
    texts = [pl.from_epoch(pl.col(time), time_unit="ns").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").alias("time")]
    for columns, step in ((kind.prices, instrument.tick_e8), (kind.quantities, instrument.lot_e8)):
        texts += [_decimal(pl.col(ours), step).alias(name) for name, ours in columns.items()]
    if "sell" in rows.columns:
        texts += [pl.col("id"), pl.when("sell").then(pl.lit("sell")).otherwise(pl.lit("buy")).alias("side")]
    if "trades" in rows.columns:
        texts.append(pl.col("trades").cast(pl.String))
    return rows.select(texts).select(kind.columns)


def _decimal(counts: pl.Expr, step_e8: int) -> pl.Expr:
    """Return counts of steps as decimals with the step's digits."""
    import polars as pl

    digits = decimals(step_e8)
    units = counts * (step_e8 // 10 ** (8 - digits))
    whole = (units // 10**digits).cast(pl.String)
    if not digits:
        return whole
    return pl.concat_str(whole, pl.lit("."), (units % 10**digits).cast(pl.String).str.zfill(digits))


@contextmanager
def _writer(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Give what writes frames to a file beside `path`, which takes its name when all went well."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = format_of(path)
    if form == "csv" and path.suffix == ".gz":
        raise ValueError(f"{path}: write .csv, .parquet or .feather")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    open_writers: list[Any] = []
    try:
        with temporary.open("wb") as file:

            def write(frame: pl.DataFrame) -> None:
                if form == "csv":
                    file.write(frame.write_csv(include_header=not open_writers).encode())
                    open_writers.append(None)
                    return
                table = frame.to_arrow()
                if not open_writers:
                    of: Callable[[IO[bytes], pa.Schema], Any]
                    of = (lambda sink, schema: pq.ParquetWriter(sink, schema, compression="snappy")) if (
                        form == "parquet"
                    ) else pa.ipc.new_file  # fmt: skip
                    open_writers.append(of(file, table.schema))
                open_writers[0].write_table(table)

            yield write
            for writer in open_writers:
                if writer is not None:
                    writer.close()
        staging.publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
