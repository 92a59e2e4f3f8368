"""What keeps the slow sources fresh: a quarter-hourly schedule of those that are set up. It starts stopped."""

from collections.abc import Iterator
from datetime import UTC, timedelta

import dagster as dg

from bot4_platform.operations.switches import schedule_status
from bot4_platform.settings import platform_settings
from bot4_platform.sources.switched import ASSETS, switched_on

slow_sources_job = dg.define_asset_job(
    "slow_sources",
    selection=dg.AssetSelection.assets(*(name for names in ASSETS.values() for name in names)),
    description="A UTC day of the chain, news, posts and macro releases, as far as they are set up.",
)


@dg.schedule(
    job=slow_sources_job,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=schedule_status("slow_sources_schedule"),
    description="Brings today up to date, one run a source that is set up; in the day's first two hours yesterday too, "
    "since confirmations and lags reach past midnight.",
)
def slow_sources_schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request today of every source that is on."""
    at = context.scheduled_execution_time.astimezone(UTC)
    days = [at.date().isoformat()] + ([(at - timedelta(days=1)).date().isoformat()] if at.hour < 2 else [])
    names = switched_on(platform_settings().sources)
    if not names:
        yield dg.SkipReason("no slow source is set up (BOT4_PLATFORM__SOURCES__...)")
    for name in names:
        for day in days:
            yield dg.RunRequest(
                run_key=f"{name}-{day}-{at:%Y-%m-%dT%H:%M}",
                partition_key=day,
                asset_selection=[dg.AssetKey(asset) for asset in ASSETS[name]],
                tags={"bot4/source": name},
            )
