"""The suites: what a normal market looks like from a minute's distance.

Per-event rules belong to the feed, keys and nulls to dbt; here are only distributions, samples and slow sources.
Each expectation says why it is there; the text shows in Data Docs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from bot4_platform.lake import Lake

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 5_000


@dataclass(frozen=True)
class Suite:
    """A suite: the frame it judges (pandas; None when there is nothing yet) and its expectations, built on demand."""

    name: str
    about: str
    frame: Callable[[Lake], pd.DataFrame | None]
    expectations: Callable[[], list[Any]]


def _note(why: str) -> dict[str, Any]:
    return {"notes": {"format": "markdown", "content": [why]}}


def _library() -> Any:
    from great_expectations import expectations

    return expectations


def _profiles(lake: Lake) -> pd.DataFrame | None:
    frames = [
        lake.read("minute_profiles", day, market).with_columns(market=pl.lit(market), day=pl.lit(day))
        for day, market in lake.partitions("minute_profiles")
    ]
    return pl.concat(frames).to_pandas() if frames and sum(map(len, frames)) else None


def _profile_expectations() -> list[Any]:
    gxe = _library()

    between = gxe.ExpectColumnValuesToBeBetween
    return [
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["market", "minute_ns"], meta=_note("A minute of a market has one row.")
        ),
        between(
            column="quotes", min_value=1, mostly=0.9,
            meta=_note("Nearly every minute has quotes: silence is a feed that died."),
        ),
        between(
            column="spread_bp_median", min_value=0, strict_min=True, max_value=20,
            meta=_note("The usual spread of a liquid market is far below 20 bp, and never zero."),
        ),
        between(
            column="range_bp", min_value=0, max_value=1_000,
            meta=_note("More than 10 % within a minute is a bad scale or a wrong symbol before it is a market."),
        ),
        between(
            column="quote_gap_ms_max", min_value=0, max_value=10_000, mostly=0.9,
            meta=_note("Ten seconds without a quote are a gap."),
        ),
        between(
            column="latency_ms_median", min_value=-5_000, max_value=5_000,
            meta=_note(
                "Receive clock against the exchange's. Negative where the receiver's clock runs behind, as in recorded "
                "captures; seconds off means a clock that was set."
            ),
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="trades", column_B="sells", or_equal=True, meta=_note("Sells are a part of the trades.")
        ),
        between(
            column="diff_levels_max", min_value=0, max_value=4_000, meta=_note("No diff is larger than two snapshots.")
        ),
    ]  # fmt: skip


def _quotes(lake: Lake) -> pd.DataFrame | None:
    frames = [
        lake.read("quotes", day, market).with_columns(market=pl.lit(market))
        for day, market in lake.partitions("quotes")[-2:]
    ]
    rows = pl.concat(frames) if frames else None
    if rows is None or rows.is_empty():
        return None
    sample = rows.sample(min(SAMPLE, rows.height), seed=rows.height).sort("seq")
    return sample.with_columns(spread_ticks=pl.col("ask_px") - pl.col("bid_px")).to_pandas()


def _quote_expectations() -> list[Any]:
    gxe = _library()

    return [
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="ask_px", column_B="bid_px", meta=_note("A crossed quote never reaches the lake.")
        ),
        gxe.ExpectColumnMedianToBeBetween(
            column="spread_ticks", min_value=1, max_value=200, meta=_note("Half of all quotes are tight.")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="spread_ticks", min_value=1, max_value=5_000, mostly=0.99, meta=_note("Few are very wide.")
        ),
        gxe.ExpectColumnUniqueValueCountToBeBetween(
            column="bid_px", min_value=2, meta=_note("A price that never moves is a feed that repeats itself.")
        ),
    ]


def _slow(lake: Lake) -> pd.DataFrame | None:
    frames = [lake.read("slow_features", day, market) for day, market in lake.partitions("slow_features")]
    return pl.concat(frames).to_pandas() if frames and sum(map(len, frames)) else None


def _slow_expectations() -> list[Any]:
    gxe = _library()

    between = gxe.ExpectColumnValuesToBeBetween
    return [
        between(
            column="garch_sigma", min_value=1e-8, max_value=1e-2,
            meta=_note("Return per root second: 1e-2 would be 300 % a day. Insufficient fits are null and left out."),
        ),
        between(column="intensity_a", min_value=0, strict_min=True, meta=_note("A rate is positive.")),
        between(column="intensity_k", min_value=0, strict_min=True, meta=_note("Fills get rarer with distance.")),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="created_ns", column_B="event_ns", or_equal=True,
            meta=_note("Nothing is known before it happened."),
        ),
    ]  # fmt: skip


SUITES = [
    Suite("market_minutes", "Profiles of every minute in the lake.", _profiles, _profile_expectations),
    Suite("quote_sample", f"{SAMPLE} best quotes of the newest days.", _quotes, _quote_expectations),
    Suite("slow_features", "What the online store is fed from.", _slow, _slow_expectations),
]
