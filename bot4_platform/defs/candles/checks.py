"""A second opinion on the marts: the same candles and flow, in Polars, from the trades."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.partitions import MarketDay, market_day
from bot4_platform.resources import Bot4Resource


@market_check(
    asset="candles_1m",
    description="A second opinion in Polars: the same open, high, low, close, volume and VWAP from the trades.",
    blocking=True,
)
def candles_agree_with_trades(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Rebuild the candles of a minute from the ticks and compare every cell."""
    return _agreement(bot4, market_day(context), ["1m"])


@market_check(
    asset="candles_1d",
    description="The candles of 5 minutes to a day are those made straight from the trades, every cell.",
    blocking=True,
)
def intervals_agree_with_trades(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Rebuild what was written of the stacked candles and compare every cell."""
    from bot4_platform.candle_reference import INTERVALS, table_of

    part, lake = market_day(context), bot4.lake()
    names = [name for name in INTERVALS if name != "1m" and lake.exists(table_of(name), *part)]
    return _agreement(bot4, part, names)


def _agreement(bot4: Bot4Resource, part: MarketDay, intervals: list[str]) -> dg.AssetCheckResult:
    from bot4_platform.candle_reference import differences, reference_candles, table_of

    lake = bot4.lake()
    trades = lake.read("trades", *part, columns=["exch_ns", "trade_id", "price", "qty"])
    found = {name: lake.read(table_of(name), *part) for name in intervals}
    lines = [
        f"{name}: {line}"
        for name, candles in found.items()
        for line in differences(candles, reference_candles(trades, name))
    ]
    return dg.AssetCheckResult(
        passed=not lines,
        metadata={"candles": sum(frame.height for frame in found.values()), "differences": "\n".join(lines)},
    )
