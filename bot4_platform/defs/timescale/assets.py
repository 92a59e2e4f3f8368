"""Market-days from the lake to the database. The lake stays the truth: nothing here is read by features or training."""

from collections.abc import Iterator
from datetime import UTC, timedelta

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.operations.steps import EXTERNAL
from bot4_platform.operations.switches import schedule_status
from bot4_platform.partitions import MARKET_DAYS, MARKETS, MarketDay, market_day
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings

POOL = "postgres_bulk"
GROUP = "timescale"


@dg.asset(
    deps=["trades"],
    partitions_def=MARKET_DAYS,
    pool=POOL,
    retry_policy=EXTERNAL,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    code_version="1",
    description="Trades of the market-day in market.market_ticks, each once, with its candles refreshed. A day that is "
    "there already is corrected by what came late. Days past the raw retention (30 days) are left to the lake.",
)
def market_ticks(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Append or merge the day."""
    from bot4_platform.timescale.aggregates import TooOld
    from bot4_platform.timescale.load import load_day
    from bot4_platform.timescale.ticks import of_trades

    part, server = market_day(context), platform_settings().postgres
    rows = of_trades(bot4.lake().read("trades", *part), part.market)
    try:
        done = load_day(server, rows, part)
    except TooOld as error:
        context.log.warning(str(error))
        return dg.MaterializeResult(metadata={"how": "left to the lake", "why": str(error)})
    context.log.info(f"{done.source}: {done.how}, {done.written} rows written, {done.removed} removed")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": done.rows,
            "how": done.how,
            "written": done.written,
            "removed": done.removed,
            "digest": done.digest,
            "database": f"{server.place}, {server.database}",
        }
    )


@dg.asset(
    deps=["quotes", "depth", "funding", "liquidations", "features"],
    partitions_def=MARKET_DAYS,
    pool=POOL,
    retry_policy=EXTERNAL,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    code_version="1",
    description="The market-day of the lake's other tables that dbt's models read, in the schema `lake`. A partition "
    "is replaced whole; one that has not changed is not touched.",
)
def lake_in_postgres(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Copy each table's partition."""
    from bot4_platform.reporting import table
    from bot4_platform.timescale.lake_copy import SOURCES, copy_partition

    part, lake, server = market_day(context), bot4.lake(), platform_settings().postgres
    rows = [(name, copy_partition(server, lake, name, part)) for name in SOURCES]
    return dg.MaterializeResult(metadata={"tables": table(("table", "rows"), rows)})


@dg.asset(
    deps=["market_ticks", "lake_in_postgres"],
    partitions_def=MARKET_DAYS,
    pool=POOL,
    retry_policy=EXTERNAL,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"dbt", "postgres"},
    code_version="1",
    description="dbt's marts of the market-day in the schema `marts`, by the same models and tests as in the lake: "
    "candles of all intervals, trade flow, funding, liquidations, spread, depth, liquidity.",
)
def marts_in_postgres(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Run dbt's postgres target."""
    from bot4_platform.timescale.marts import build_marts

    part, names = market_day(context), mart_names()
    build_marts(platform_settings().postgres, part, bot4.settings().root / "dbt-postgres", names)
    yield dg.MaterializeResult(metadata={"marts": len(names), "names": ", ".join(names)})


def mart_names() -> list[str]:
    """Return the marts of one market and day."""
    from bot4_platform.defs.candles.steps import CANDLES, MARTS

    return sorted(CANDLES.marts | MARTS.marts)


timescale_job = dg.define_asset_job(
    "timescale",
    selection=dg.AssetSelection.groups(GROUP),
    description="One market-day into PostgreSQL, with the checks against the lake.",
)


@dg.schedule(
    job=timescale_job,
    cron_schedule="40 0 * * *",
    execution_timezone="UTC",
    default_status=schedule_status("nightly_copy"),
    description="Half an hour after the daily close: yesterday of every market into PostgreSQL, and compared.",
)
def nightly_copy(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Request yesterday of every market."""
    yesterday = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date().isoformat()
    for market in MARKETS.get_partition_keys():
        yield dg.RunRequest(run_key=f"copy-{yesterday}-{market}", partition_key=MarketDay(yesterday, market).key)
