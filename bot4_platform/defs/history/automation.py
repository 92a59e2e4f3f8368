"""What fetches history by itself: every night the last two days, so that each gap is asked after a day later."""

from collections.abc import Iterator
from datetime import UTC, timedelta

import dagster as dg

from bot4_platform.operations.switches import schedule_status
from bot4_platform.partitions import MARKETS, MarketDay

history_day_job = dg.define_asset_job(
    "history_day",
    selection=dg.AssetSelection.groups("history"),
    description="Candles, trades and funding of one day of one market, from the venue.",
)


@dg.schedule(
    job=history_day_job,
    cron_schedule="20 0 * * *",
    execution_timezone="UTC",
    default_status=schedule_status("history_close"),
    description="Fetches the day that is over, and the one before again: what it lacks then, the venue lacks.",
)
def history_close(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Request the last two days of every market."""
    today = context.scheduled_execution_time.astimezone(UTC).date()
    for market in MARKETS.get_partition_keys():
        for back in (2, 1):
            day = (today - timedelta(days=back)).isoformat()
            yield dg.RunRequest(run_key=f"history-{today}-{day}-{market}", partition_key=MarketDay(day, market).key)
