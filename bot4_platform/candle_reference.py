"""Candles in plain Polars: what dbt's models and Timescale's aggregates are compared with, integer by integer.

Written from the definition, straight from the trades for every interval, and of nothing that the models use: open and
close by (exchange time, trade id), high and low, sums. Sums are formed in 128 bits; one that a bigint does not hold is
an error here, as it is in the models.
"""

from __future__ import annotations

import polars as pl

INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400}  # name -> seconds
COLUMNS = ("start_ns", "open", "high", "low", "close", "volume", "vwap_num", "vwap_den", "trades")
TIME_COLUMNS = ("minute_ns", "bucket_ns", "start_ns")


def table_of(interval: str) -> str:
    """Return the mart, table or view that holds the candles of an interval."""
    return f"candles_{interval}"


def reference_candles(trades: pl.DataFrame, interval: str) -> pl.DataFrame:
    """Return the candles of `interval` (a key of INTERVALS), COLUMNS as int64, in order of time.

    `trades` has exch_ns, trade_id, price (ticks), qty (lots), each trade once, in any order; a bucket without a trade
    has no row. Raises OverflowError when a sum does not fit into 64 bits.
    """
    width = INTERVALS[interval] * 10**9
    wide = pl.col("qty").cast(pl.Int128)
    found = (
        trades.sort("exch_ns", "trade_id")
        .group_by((pl.col("exch_ns") // width * width).alias("start_ns"), maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            wide.sum().alias("volume"),
            (pl.col("price").cast(pl.Int128) * wide).sum().alias("vwap_num"),
            wide.sum().alias("vwap_den"),
            pl.len().alias("trades"),
        )
    )
    try:
        return found.select(pl.col(COLUMNS).cast(pl.Int64, strict=True))
    except pl.exceptions.InvalidOperationError:
        raise OverflowError(
            f"a {interval} candle's sum of price x quantity does not fit into 64 bits: ticks or lots are too fine"
        ) from None


def normal_form(candles: pl.DataFrame) -> pl.DataFrame:
    """Return candles of any origin in COLUMNS, in order of time.

    Their time is the first of TIME_COLUMNS that they have; other columns (market, day) are left out. Raises ValueError
    for a missing column, or one that is not of 64-bit integers: a double that happens to be whole does not pass.
    """
    named = next((name for name in TIME_COLUMNS if name in candles.columns), None)
    missing = sorted(({"start_ns"} if named is None else set()) | (set(COLUMNS[1:]) - set(candles.columns)))
    if named is None or missing:
        raise ValueError(f"these are no candles: {', '.join(missing)} is missing")
    frame = candles.rename({named: "start_ns"}).select(COLUMNS)
    wrong = [f"{name} is {kind}" for name, kind in frame.schema.items() if kind != pl.Int64]
    if wrong:
        raise ValueError(f"candles are integers of 64 bits: {', '.join(wrong)}")
    return frame.sort("start_ns")


def differences(found: pl.DataFrame, wanted: pl.DataFrame, *, most: int = 10) -> list[str]:
    """Return what differs between two frames of candles, a line a cell, at most `most`; empty when they are equal."""
    have, want = normal_form(found), normal_form(wanted)
    if have.equals(want):
        return []
    lines = []
    both = have.join(want, on="start_ns", how="full", coalesce=True, suffix="_wanted").sort("start_ns")
    for row in both.iter_rows(named=True):
        lines += [
            f"{row['start_ns']} {name}: {row[name]}, expected {row[f'{name}_wanted']}"
            for name in COLUMNS[1:]
            if row[name] != row[f"{name}_wanted"]
        ]
    if have["start_ns"].is_duplicated().any():
        lines.insert(0, "a candle is there more than once")
    return lines[:most] or ["the same values, another number of rows"]
