"""Suites of the sources outside the journal: exchange history, chain, news, posts, macro series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_platform.quality.suites.suite import Expectation, Suite, at_least, between

if TYPE_CHECKING:
    import polars as pl

# A trillion dollars in cents: more is a wrong number of decimals.
TRILLION = 10**14
KNOWN = at_least("created_ns", "event_ns", "Nothing is known before it happened.")
ONCE = Expectation("ColumnValuesToBeUnique", "A row's id is its own.", {"column": "id"})


def _candles(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(range_bp=(pl.col("high") / pl.col("low") - 1) * 1e4)


def _funding(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(number=pl.col("rate") / pl.lit(10.0).pow(pl.col("rate_decimals")))


def _cents(column: str = "usd_cents") -> Expectation:
    return between(column, 0, TRILLION, "Dollars in cents; more than a trillion is a wrong number of decimals.")


def _of_day(name: str, about: str, *expectations: Expectation) -> Suite:
    return Suite(name, name, about, (KNOWN, *expectations), days=7, by_day=True)


SOURCES = (
    Suite(
        "history_candles_1m", "history_candles_1m", "Candles of an exchange's history.",
        (
            KNOWN,
            between("range_bp", 0, 3_000, "30 % within a minute; thin markets do move 10 %.", mostly=0.999),
            between("low", 1, None, "A price is positive."),
            at_least("high", "low", "The highest is no less than the lowest."),
        ),
        _candles, days=30,
    ),
    Suite(
        "history_trades", "history_trades", "Trades of an exchange's history.",
        (KNOWN, between("price", 1, None, "A price is positive."), between("qty", 1, None, "A quantity is positive.")),
        days=7,
    ),
    Suite(
        "history_funding", "history_funding", "Settled funding rates.",
        (KNOWN, between("number", -0.04, 0.04, "Venues cap a rate at a few percent.", mostly=0.99)),
        _funding, days=30,
    ),
    Suite(
        "history_gaps", "history_gaps", "Minutes that an exchange's history lacks: reported, never filled.",
        (between("minutes", 1, None, "A gap is a minute at least."),
         at_least("last_ns", "first_ns", "A gap ends no sooner than it begins.")),
        days=30,
    ),
    _of_day("chain_blocks", "Blocks that were read.", ONCE,
            between("transactions", 0, 100_000, "Far more than a block holds.")),
    _of_day("onchain_transfers", "Transfers above a value.", ONCE, _cents(),
            between("decimals", 0, 36, "Digits of a token.")),
    _of_day("dex_swaps", "Swaps above a value.", ONCE, _cents()),
    _of_day("stablecoin_supply", "Mints and burns.", ONCE, _cents()),
    _of_day("onchain_signals", "The chain by the quarter of an hour.", _cents("inflow_cents"), _cents("outflow_cents"),
            between("whales", 0, 1_000_000, "A count.")),
    _of_day("news_items", "Stories.", ONCE, between("impact", 0, 1, "A score."), between("tone", -1, 1, "A score.")),
    _of_day("news_signals", "News by the quarter of an hour.", between("stories", 0, 100_000, "A count."),
            between("tone", -1, 1, "A mean of scores.")),
    _of_day("social_posts", "Posts.", ONCE, between("sentiment", -1, 1, "A score.")),
    _of_day("social_signals", "Posts by the quarter of an hour.", at_least("posts", "voices", "Voices have posted."),
            between("sentiment", -1, 1, "A mean of scores.")),
    _of_day("macro_observations", "Observations of macro series.", ONCE,
            between("value", -1e12, 1e15, "A number of a size that series have.")),
    _of_day("macro_releases", "Dates of releases.", ONCE),
)  # fmt: skip
