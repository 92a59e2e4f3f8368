"""A minute of a market in one row: what Great Expectations judges instead of ten million events."""

from __future__ import annotations

import polars as pl

from bot4_platform.tables import TABLES

MINUTE_NS = 60_000_000_000


def minute_profiles(trades: pl.DataFrame, quotes: pl.DataFrame, depth: pl.DataFrame, shift_ns: int) -> pl.DataFrame:
    """Return one row a minute in which anything happened; `shift_ns` is removed from receive times for latencies."""
    minute = (pl.col("exch_ns") // MINUTE_NS * MINUTE_NS).alias("minute_ns")
    mid = (pl.col("bid_px") + pl.col("ask_px")) / 2
    spread = (pl.col("ask_px") - pl.col("bid_px")) / mid * 1e4
    by_quote = (
        quotes.sort("exch_ns", "seq")
        .group_by(minute)
        .agg(
            pl.len().cast(pl.Int64).alias("quotes"),
            spread.median().alias("spread_bp_median"),
            spread.max().alias("spread_bp_max"),
            ((mid.max() / mid.min() - 1) * 1e4).alias("range_bp"),
            (pl.col("exch_ns").diff().max() / 1e6).alias("quote_gap_ms_max"),
            ((pl.col("recv_ns") - shift_ns - pl.col("exch_ns")).median() / 1e6).alias("latency_ms_median"),
        )
    )
    by_trade = trades.group_by(minute).agg(
        pl.len().cast(pl.Int64).alias("trades"),
        pl.col("sell").sum().cast(pl.Int64).alias("sells"),
        pl.col("qty").sum().alias("lots"),
    )
    by_diff = depth.group_by(minute).agg(
        pl.len().cast(pl.Int64).alias("diffs"), (pl.col("n_bids") + pl.col("n_asks")).max().alias("diff_levels_max")
    )
    joined = by_quote.join(by_trade, on="minute_ns", how="full", coalesce=True).join(
        by_diff, on="minute_ns", how="full", coalesce=True
    )
    counts = ["trades", "quotes", "diffs", "sells", "lots", "diff_levels_max"]
    spec = TABLES["minute_profiles"]
    return spec.conform(joined.with_columns(pl.col(counts).fill_null(0)).select(list(spec.columns)))
