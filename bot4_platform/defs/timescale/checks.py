"""Whether the copy is the lake's data: every integer of every candle and mart, every row of every table."""

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.partitions import market_day
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings


@market_check(
    asset="market_ticks",
    description="The continuous aggregates of all levels equal the lake's candles in every integer: minutes those that "
    "dbt made, the levels above plain Polars over the lake's trades. A day past the raw retention that was never "
    "loaded has nothing to compare.",
)
def aggregates_equal_the_lake(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare level by level."""
    from bot4_platform.timescale.connection import connect
    from bot4_platform.timescale.equality import compare

    part, lake, server = market_day(context), bot4.lake(), platform_settings().postgres
    with connect(server) as db, db.cursor() as cursor:
        cursor.execute("select count(*) from market.loads where source = %s", (f"trades/{part.day}/{part.market}",))
        if cursor.fetchone() == (0,):
            return dg.AssetCheckResult(passed=True, metadata={"compared": "nothing: the day was never loaded"})
    found = compare(server, part, lake.read("trades", *part), lake.read("candles_1m", *part))
    return dg.AssetCheckResult(
        passed=not any(found.values()),
        metadata={level: "equal" if not lines else "; ".join(lines) for level, lines in found.items()},
    )


@market_check(
    asset="lake_in_postgres",
    description="Each copied table has as many rows of the market-day as the lake.",
    blocking=True,
)
def the_copy_is_whole(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count both sides."""
    from bot4_platform.timescale.connection import connect
    from bot4_platform.timescale.lake_copy import SOURCES

    part, lake, rows = market_day(context), bot4.lake(), {}
    with connect(platform_settings().postgres) as db, db.cursor() as cursor:
        for name in SOURCES:
            cursor.execute(f"select count(*) from lake.{name} where day = %s and market = %s", part)
            (count,) = cursor.fetchone() or (0,)
            rows[name] = (int(count), lake.read(name, *part).height)
    return dg.AssetCheckResult(
        passed=all(here == there for here, there in rows.values()),
        metadata={name: f"{here} of {there} rows" for name, (here, there) in rows.items()},
    )


@market_check(
    asset="marts_in_postgres",
    description="The marts of PostgreSQL are the lake's: integers exactly, means of doubles to nine digits. On a day "
    "whose ticks are past the raw retention those of trades are not compared.",
)
def marts_equal_the_lakes(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare mart by mart with what the lake has."""
    from bot4_platform.defs.timescale.assets import mart_names
    from bot4_platform.timescale.marts import mart_differences, read_mart

    part, lake, server = market_day(context), bot4.lake(), platform_settings().postgres
    lines = {}
    for name in mart_names():
        if lake.exists(name, *part):
            lines[name] = mart_differences(read_mart(server, name, part), lake.read(name, *part))
    return dg.AssetCheckResult(
        passed=bool(lines) and not any(lines.values()),
        metadata={name: "equal" if not found else "; ".join(found) for name, found in lines.items()},
    )
