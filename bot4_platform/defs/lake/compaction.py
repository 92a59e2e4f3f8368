"""The daily compaction: one sorted file of the parts that an open day was written in."""

from datetime import UTC, datetime

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.operations.switches import schedule_status
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=["trades", "quotes", "depth", "quarantine"],
    group_name="lake",
    owners=OWNERS,
    kinds={"parquet", "polars"},
    code_version="1",
    description="While a day is open its tables grow by small parts. Once it is over, each partition that still has "
    "parts becomes one sorted file; readers see every row once before, during and after. Superseded parts are removed "
    "15 minutes later, by the next compaction at the latest.",
)
def compaction(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Compact every partition of a day that is over."""
    from bot4_platform.reporting import table

    lake, today = bot4.lake(), datetime.now(UTC).date().isoformat()
    rows, before, after, files = [], 0, 0, 0
    for name in lake.tables():
        for day, market in lake.partitions(name):
            found = lake.compact(name, day, market) if day < today else None
            if found is None:
                continue
            context.log.info(f"{name} {day} {market}: {found.files} files became one of {found.written.rows} rows")
            sizes = (found.size_before, found.written.size)
            rows.append((name, day, market, found.files, found.written.rows, *sizes))
            before, after, files = before + sizes[0], after + sizes[1], files + found.files
    header = ("table", "day", "market", "files", "rows", "bytes before", "bytes after")
    return dg.MaterializeResult(
        metadata={
            "partitions": len(rows),
            "files_before": files,
            "bytes_before": before,
            "bytes_after": after,
            "compacted": table(header, rows),
        }
    )


@dg.asset_check(asset=compaction, description="No partition of a day that is over lies in more than one file.")
def closed_days_are_whole(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the files that hold rows."""
    lake, today = bot4.lake(), datetime.now(UTC).date().isoformat()
    parted = [
        f"{name} {day} {market}"
        for name in lake.tables()
        for day, market in lake.partitions(name)
        if day < today and len(lake.files(name, day, market)) > 1
    ]
    return dg.AssetCheckResult(passed=not parted, metadata={"in_parts": len(parted), "first": ", ".join(parted[:10])})


compaction_job = dg.define_asset_job(
    "compaction_job",
    selection=dg.AssetSelection.assets("compaction"),
    description="One file of each partition whose day is over.",
)


@dg.schedule(
    job=compaction_job,
    cron_schedule="40 0 * * *",
    execution_timezone="UTC",
    default_status=schedule_status("daily_compaction"),
    description="Half an hour after the daily close, when the parts that it superseded are past their grace.",
)
def daily_compaction(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request it, once a day."""
    return dg.RunRequest(run_key=f"compaction-{context.scheduled_execution_time.astimezone(UTC):%Y-%m-%d}")
