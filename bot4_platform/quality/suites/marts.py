"""Suites of what dbt makes of ticks: coarser candles, statistics by the minute, basis between markets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_platform.quality.suites.suite import Suite, at_least, between

if TYPE_CHECKING:
    import polars as pl

# How far a market may move within a candle before it is doubted, bp.
WIDEST = {"5m": 2_500, "15m": 3_000, "1h": 4_000, "4h": 6_000, "1d": 10_000}


def _range(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(range_bp=(pl.col("high") / pl.col("low") - 1) * 1e4)


def _basis(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(basis_bp=pl.col("basis2_sum") / pl.col("mid2_sum") * 1e4)


MARTS = (
    *(
        Suite(
            f"candles_{name}", f"candles_{name}", f"Candles of {name}.",
            (
                between("range_bp", 0, widest, "Beyond it the scale is doubted before the market is."),
                at_least("volume", "trades", "A trade is a lot at least."),
            ),
            _range, days=7,
        )
        for name, widest in WIDEST.items()
    ),
    Suite(
        "trade_flow_1m", "trade_flow_1m", "Trade flow by the minute.",
        (
            at_least("trades", "buys", "Buys are a part of the trades."),
            at_least("trades", "sells", "Sells are a part of the trades."),
            at_least("imbalance_den", "imbalance_num", "An imbalance is at most 1."),
        ),
        days=7,
    ),
    Suite(
        "spread_1m", "spread_1m", "Spreads by the minute, ticks.",
        (
            between("spread_min", 1, None, "Bid and ask are a tick apart at least."),
            at_least("spread_median", "spread_min", "A median is no less than the least."),
            at_least("spread_max", "spread_median", "A median is no more than the most."),
            between("held_ns", 0, 60 * 10**9, "A minute has 60 seconds."),
        ),
        days=7,
    ),
    Suite(
        "depth_1m", "depth_1m", "Depth messages by the minute.",
        (
            between("messages", 1, 1_000_000, "A minute without a message has no row."),
            at_least("messages", "breaks", "A chain breaks at a message."),
        ),
        days=7,
    ),
    Suite(
        "liquidity_1m", "liquidity_1m", "Liquidity by the minute, of the fast features.",
        (
            # The grid is the engine's; by the venue's clock a minute may have points of the one beside it.
            between("samples", 1, 900, "The grid has ten points a second."),
            between("imbalance_5_mean", -1, 1, "A mean of ratios between -1 and 1."),
            between("spread_bp_mean", 0, 1_000, "10 % wide is no book."),
        ),
        days=7,
    ),
    Suite(
        "liquidations_1m", "liquidations_1m", "Liquidations by the minute.",
        (
            at_least("liquidations", "longs", "Longs are a part of them."),
            at_least("liquidations", "large", "Large ones are a part of them."),
        ),
        days=7,
    ),
    Suite(
        "funding_1h", "funding_1h", "Funding by the hour.",
        (
            between("statements", 1, None, "An hour without a statement has no row."),
            between("rate_decimals", 0, 20, "Digits that a venue would write."),
        ),
        days=7,
    ),
    Suite(
        "basis_1m", "basis_1m", "Basis between two markets by the minute.",
        (
            between("samples", 1, 60_000, "A minute without a common sample has no row."),
            between("basis_bp", -1_000, 1_000, "Markets that are 10 % apart do not quote the same thing."),
            at_least("basis2_high", "basis2_low", "The highest is no less than the lowest."),
        ),
        _basis, days=7, by_day=True,
    ),
    Suite(
        "basis_pairs", "basis_pairs", "Pairs of markets that are compared.",
        (
            between("base_tick_e8", 1, None, "A tick is positive."),
            between("quote_tick_e8", 1, None, "A tick is positive."),
        ),
        days=7, by_day=True,
    ),
)  # fmt: skip
