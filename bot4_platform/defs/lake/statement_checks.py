"""Checks of funding, liquidations and tickers, read back from the files that were written."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.defs.lake.checks import verdict
from bot4_platform.partitions import MarketDay, market_day
from bot4_platform.resources import Bot4Resource


@market_check(
    asset="funding",
    description="Every value that the journal's funding statements hold has its column, and its number of decimals; "
    "no statement lies on another day.",
)
def funding_is_whole(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count what is missing, half or misplaced."""
    from bot4_platform.tables.statements import FUNDING_VALUES

    part = market_day(context)
    frame = bot4.lake().read("funding", *part)
    return verdict(
        rows=frame.height,
        values_without_column=homeless(bot4, part)["funding"],
        half_a_number=sum(
            int((frame[name].is_null() != frame[f"{name}_decimals"].is_null()).sum()) for name in FUNDING_VALUES
        ),
        other_day=frame.filter((frame["exch_ns"] < part.start_ns) | (frame["exch_ns"] >= part.end_ns)).height,
        shown={"without_rate": frame["rate"].null_count()},
    )


@market_check(
    asset="liquidations",
    description="Prices and quantities are positive, every value of the journal has its column.",
    blocking=True,
)
def liquidations_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    part = market_day(context)
    frame = bot4.lake().read("liquidations", *part)
    return verdict(
        rows=frame.height,
        not_positive=frame.filter((frame["price"] <= 0) | (frame["qty"] <= 0)).height,
        values_without_column=homeless(bot4, part)["liquidations"],
        shown={"large": int(frame["large"].sum())},
    )


@market_check(
    asset="tickers",
    description="A ticker states a value once, and only values that are known; decimals are 0 to 64.",
    blocking=True,
)
def tickers_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    frame = bot4.lake().read("tickers", *market_day(context))
    return verdict(
        rows=frame.height,
        stated_twice=frame.height - frame.select("seq", "field").n_unique(),
        unknown_field=int(frame["field"].str.starts_with("FIELD_").sum()),
        wrong_decimals=frame.filter((frame["decimals"] < 0) | (frame["decimals"] > 64)).height,
    )


def homeless(bot4: Bot4Resource, part: MarketDay) -> dict[str, int]:
    """Return how many values of the partition's segments no column takes, by table."""
    from collections import Counter

    from bot4_platform.journal_source import seals_of, segments
    from bot4_platform.journal_statements import homeless_values

    total: Counter[str] = Counter()
    for segment in segments(seals_of(bot4.settings().journal_dir, part)):
        total.update(homeless_values(segment, part))
    return dict.fromkeys(("funding", "liquidations"), 0) | dict(total)
