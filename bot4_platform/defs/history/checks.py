"""Checks of exchange history, read back from the files that were written."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.defs.lake.checks import verdict
from bot4_platform.partitions import market_day
from bot4_platform.resources import Bot4Resource

MINUTE_NS = 60_000_000_000


@market_check(
    asset="history_candles_1m",
    description="Each minute of the day at most once, 0 < low <= open, close <= high, known after its end.",
    blocking=True,
)
def history_candles_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    import polars as pl

    part = market_day(context)
    frame = bot4.lake().read("history_candles_1m", *part)
    minute, low, high = pl.col("minute_ns"), pl.col("low"), pl.col("high")
    return verdict(
        rows=frame.height,
        duplicates=frame.height - frame["minute_ns"].n_unique(),
        off_grid=frame.filter((minute % MINUTE_NS != 0) | (minute < part.start_ns) | (minute >= part.end_ns)).height,
        wrong_prices=frame.filter(
            (low <= 0)
            | (low > pl.min_horizontal("open", "close"))
            | (high < pl.max_horizontal("open", "close"))
            | (pl.col("volume") < 0)
        ).height,
        known_too_early=frame.filter(pl.col("created_ns") < minute + MINUTE_NS).height,
    )


@market_check(
    asset="history_candles_1m",
    description="Tick and lot of the rows are those of the instruments table, where that knows the market.",
)
def history_counts_by_the_instrument(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare with the version that held at the day's start."""
    from bot4_live.instrument import E8
    from bot4_platform.instruments import TABLE, Instruments

    part, lake = market_day(context), bot4.lake()
    units = lake.read("history_candles_1m", *part, columns=["tick_e8", "lot_e8"]).unique().rows()
    if not lake.exists(TABLE) or part.market not in set(lake.read(TABLE)["market"]):
        return dg.AssetCheckResult(passed=True, metadata={"instrument": "not in the table yet"})
    known = Instruments.of(lake).at(part.market, part.start_ns)
    wanted = (known.tick_e8, 1 if known.inverse else known.lot_e8 * known.contract_e8 // E8)
    return dg.AssetCheckResult(
        passed=all(row == wanted for row in units),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"instrument": str(wanted), "rows": str(units)},
    )


@market_check(
    asset="history_gaps",
    description="Every minute up to the last one asked for is either a candle or in a gap, and none is both.",
    blocking=True,
)
def every_minute_is_accounted_for(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Put candles and gaps together."""
    part, lake = market_day(context), bot4.lake()
    candles = set(lake.read("history_candles_1m", *part)["minute_ns"])
    gaps = lake.read("history_gaps", *part)
    missing = [at for first, last in gaps.select("first_ns", "last_ns").iter_rows() for at in minutes(first, last)]
    found = candles | set(missing)
    wanted = set(minutes(part.start_ns, max(found, default=part.start_ns - MINUTE_NS)))
    return verdict(
        rows=len(candles),
        twice=len(missing) - len(set(missing)),
        candle_and_gap=len(candles & set(missing)),
        unaccounted=len(wanted - found),
        wrong_counts=int((gaps["minutes"] != (gaps["last_ns"] - gaps["first_ns"]) // MINUTE_NS + 1).sum()),
        shown={"missing": len(missing)},
    )


@market_check(
    asset="history_gaps",
    description="No minute of the day is missing. A warning: the venue's own outages stay missing, with their cause.",
)
def nothing_is_missing(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count missing minutes by cause."""
    import polars as pl

    gaps = bot4.lake().read("history_gaps", *market_day(context))
    by_cause = dict(gaps.group_by("cause").agg(pl.col("minutes").sum()).iter_rows())
    return dg.AssetCheckResult(passed=not by_cause, severity=dg.AssetCheckSeverity.WARN, metadata=by_cause)


@market_check(
    asset="history_trades",
    description="Each trade once, within its day, with a price and a quantity, known after it happened.",
    blocking=True,
)
def history_trades_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    import polars as pl

    part = market_day(context)
    frame = bot4.lake().read("history_trades", *part)
    return verdict(
        rows=frame.height,
        duplicate_ids=frame.height - frame["id"].n_unique(),
        not_positive=frame.filter((pl.col("price") <= 0) | (pl.col("qty") <= 0)).height,
        other_day=frame.filter((pl.col("event_ns") < part.start_ns) | (pl.col("event_ns") >= part.end_ns)).height,
        known_too_early=frame.filter(pl.col("created_ns") < pl.col("event_ns")).height,
    )


@market_check(
    asset="history_funding",
    description="Each settlement once, within its day, a rate below 100 %, known after it was settled.",
    blocking=True,
)
def history_funding_is_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    import polars as pl

    part = market_day(context)
    frame = bot4.lake().read("history_funding", *part)
    rate, most = pl.col("rate").abs().cast(pl.Float64), pl.lit(10.0).pow(pl.col("rate_decimals"))
    return verdict(
        rows=frame.height,
        duplicates=frame.height - frame["id"].n_unique(),
        other_day=frame.filter((pl.col("event_ns") < part.start_ns) | (pl.col("event_ns") >= part.end_ns)).height,
        no_rate=frame.filter(rate >= most).height,
        known_too_early=frame.filter(pl.col("created_ns") < pl.col("event_ns")).height,
    )


def minutes(first_ns: int, last_ns: int) -> range:
    """Return the minutes from the first to the last, both within."""
    return range(first_ns, last_ns + 1, MINUTE_NS)
