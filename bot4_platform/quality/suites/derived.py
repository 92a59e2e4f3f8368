"""Suites of what is made of ticks: profiles, candles, mids, fits, features."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot4_live.features.registry import FEATURES
from bot4_platform.quality.suites.suite import Expectation, Suite, at_least, between, minute, one_of, sample

if TYPE_CHECKING:
    import polars as pl

_RANGE = re.compile(r"^ratio (-?\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)$")
# Float sums of what is exact in theory.
_SLACK = 1e-9


def _candles(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    before = pl.col("close").shift(1)
    follows = pl.col("minute_ns") - pl.col("minute_ns").shift(1) == 60_000_000_000
    return rows.sort("minute_ns").with_columns(
        range_bp=(pl.col("high") / pl.col("low") - 1) * 1e4,
        jump_bp=pl.when(follows).then((pl.col("open") / before - 1).abs() * 1e4),
    )


def _mids(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    mid = (pl.col("bid_px") + pl.col("ask_px")) / 2
    return (
        rows.sort("time_ns")
        .with_columns(mid=mid)
        .group_by(minute("time_ns"), maintain_order=True)
        .agg(
            points=pl.len(),
            age_ms_max=pl.col("age_ns").max() / 1e6,
            step_bp_max=((pl.col("mid") / pl.col("mid").shift(1) - 1).abs().max() * 1e4).fill_null(0.0),
        )
    )


def _features(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a sample of the valid rows."""
    import polars as pl

    return sample(rows.filter(pl.col("valid")))


def bounded() -> dict[str, tuple[float, float]]:
    """Return the features whose declared unit is a range, such as `ratio -1..1`, with its ends."""
    found = {feature.name: _RANGE.match(feature.unit) for feature in FEATURES}
    return {name: (float(match[1]), float(match[2])) for name, match in found.items() if match}


def _feature_expectations() -> tuple[Expectation, ...]:
    ends = bounded()
    ranges = [
        between(name, low - _SLACK, high + _SLACK, f"Declared as a ratio of {low:g} to {high:g}.")
        for name, (low, high) in ends.items()
    ]
    return (
        between("mid", 0, None, "A price.", strict_min=True),
        between("spread_bp", 0, 1_000, "A book is not crossed, and 10 % wide is no book.", mostly=0.999),
        between("return_1s", -500, 500, "5 % within a second is a wrong scale."),
        between("volatility", 0, 500, "Per root of a second: 500 bp is a wrong scale."),
        *ranges,
    )


_STATUS = one_of("status", ("ok", "insufficient"), "A fit is either a number or says that it is none.")

DERIVED = (
    Suite(
        "market_minutes", "minute_profiles", "Profiles of every minute.",
        (
            between("quotes", 1, None, "Nearly every minute has quotes: silence is a feed that died.", mostly=0.9),
            between("spread_bp_median", 0, 20, "The usual spread of a liquid market is far below 20 bp, never zero.",
                    strict_min=True),
            between("range_bp", 0, 1_000, "More than 10 % within a minute is a bad scale before it is a market."),
            between("quote_gap_ms_max", 0, 10_000, "Ten seconds without a quote are a gap.", mostly=0.9),
            between("latency_ms_median", -5_000, 5_000,
                    "Receive clock against the exchange's. Negative where the receiver's clock runs behind, as in "
                    "recorded captures; seconds off means a clock that was set."),
            at_least("trades", "sells", "Sells are a part of the trades."),
            at_least("lots", "trades", "A trade is a lot at least."),
            Expectation("CompoundColumnsToBeUnique", "A minute of a market has one row.",
                        {"column_list": ["market", "minute_ns"]}),
        ),
        days=0,
    ),
    Suite(
        "candles_1m", "candles_1m", "One-minute candles.",
        (
            between("range_bp", 0, 1_000, "More than 10 % within a minute is a wrong symbol before it is a market."),
            between("jump_bp", 0, 500, "A candle opens near where the minute before closed."),
            at_least("volume", "trades", "A trade is a lot at least."),
        ),
        _candles, days=7,
    ),
    Suite(
        "mid_minutes", "mids_250ms", "The 250 ms grid by the minute.",
        (
            between("points", 1, 241, "At most 240 grid points a minute, and one on the edge."),
            between("age_ms_max", 0, 5_000, "A quote is in force for 5 s at most."),
            between("step_bp_max", 0, 500, "5 % within 250 ms is a wrong scale or a hole.", mostly=0.99),
        ),
        _mids, days=7,
    ),
    Suite(
        "garch", "garch", "Every fit.",
        (
            _STATUS,
            between("sigma", 1e-8, 1e-2, "Return per root second: 1e-2 would be 300 % a day. Null where insufficient."),
            between("alpha", 0, 1, "The weight of news (Bollerslev 1986)."),
            between("beta", 0, 1, "The weight of the past (Bollerslev 1986)."),
            between("n", 0, 20_000, "An hour of 250 ms returns has 14,400."),
        ),
        days=0,
    ),
    Suite(
        "fill_intensity", "fill_intensity", "Every fit.",
        (
            _STATUS,
            between("a", 0, 1e6, "Fills a second at the mid: a rate.", strict_min=True),
            between("k", 0, 1e9, "Fills get rarer with distance.", strict_min=True),
            at_least("k", "k_error", "A k within its own error would be insufficient."),
        ),
        days=0,
    ),
    Suite(
        "slow_features", "slow_features", "What the online store is fed from.",
        (
            between("garch_sigma", 1e-8, 1e-2,
                    "Return per root second: 1e-2 would be 300 % a day. Insufficient fits are null and left out."),
            between("intensity_a", 0, None, "A rate is positive.", strict_min=True),
            between("intensity_k", 0, None, "Fills get rarer with distance.", strict_min=True),
            at_least("created_ns", "event_ns", "Nothing is known before it happened."),
        ),
        days=0,
    ),
    Suite("feature_sample", "features", "A sample of the valid rows.", _feature_expectations(), _features),
    Suite(
        "feature_state", "feature_state", "What the next day goes on from.",
        (between("last_seq", 1, None, "The state lies after an event."),
         Expectation("CompoundColumnsToBeUnique", "One state a market and day.", {"column_list": ["market", "day"]})),
        columns=("last_seq",), days=7,
    ),
    Suite(
        "pass_rates", "pass_rates", "Counts by table and rule.",
        (between("frames", 0, 10**10, "A count of a day."),
         Expectation("CompoundColumnsToBeUnique", "A rule is counted once a table, market and day.",
                     {"column_list": ["market", "day", "table", "rule"]})),
        days=0,
    ),
    Suite(
        "feature_drift", "feature_drift", "Drift by feature.",
        (one_of("verdict", ("stable", "moved", "drifted", "few"), "Every feature has a verdict."),
         between("psi", 0, 30, "A sum of terms that are not negative; with floored shares it is finite."),
         between("ks", 0, 1, "A distance of distribution functions.")),
        days=7,
    ),
    Suite(
        "venue_agreement", "venue_agreement", "Mids of two venues.",
        (between("within", 0, 1, "A share."), between("seconds", 1, 86_400, "Seconds of a day.")),
        days=7,
    ),
)  # fmt: skip
