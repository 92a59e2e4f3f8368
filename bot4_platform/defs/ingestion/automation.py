"""What starts a market day by itself: the daily close, and a sensor on sealed segments. Both start stopped."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from itertools import product

import dagster as dg

from bot4_platform.defs.lake.assets import CLOSE_TAG
from bot4_platform.operations.switches import schedule_status, sensor_status
from bot4_platform.partitions import MARKETS, MarketDay
from bot4_platform.resources import Bot4Resource

market_day_job = dg.define_asset_job(
    "market_day",
    selection=dg.AssetSelection.groups("ingestion", "lake", "candles", "marts")
    | dg.AssetSelection.assets("minute_profiles", "features", "feature_state", "pass_rates", "feature_drift"),
    description="Everything of one exchange day of one market, from sealed segments to features.",
)


@dg.schedule(
    job=market_day_job,
    cron_schedule="10 0 * * *",
    execution_timezone="UTC",
    default_status=schedule_status("daily_close"),
    description="Closes the day that ended ten minutes ago, one run a market.",
)
def daily_close(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Request yesterday of every market."""
    yesterday = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date().isoformat()
    for market in MARKETS.get_partition_keys():
        yield dg.RunRequest(
            run_key=f"close-{yesterday}-{market}",
            partition_key=MarketDay(yesterday, market).key,
            tags={CLOSE_TAG: yesterday},
        )


@dg.sensor(
    job=market_day_job,
    minimum_interval_seconds=30,
    default_status=sensor_status("sealed_segments"),
    description="A newly sealed segment rebuilds the exchange days it holds, of each of its markets. The run key is "
    "the segment's digest and the partition: Dagster starts one run a key.",
)
def sealed_segments(context: dg.SensorEvaluationContext, bot4: Bot4Resource) -> dg.SensorResult:
    """Request the days of the segments sealed since the cursor (the last first_seq seen)."""
    from bot4_platform.journal_source import seals
    from bot4_platform.partitions import MARKET_DAYS

    seen = int(context.cursor or 0)
    fresh = [seal for seal in seals(bot4.settings().journal_dir) if seal.first_seq > seen]
    known = set(MARKETS.get_partition_keys())
    requests: dict[str, dg.RunRequest] = {}
    skipped = []
    for seal in fresh:
        for day, market in product(seal.days, seal.markets):
            part = MarketDay(day, market)
            if market in known and MARKET_DAYS.has_partition_key(part.key):
                # Of several segments of one day the newest asks for all.
                requests[part.key] = dg.RunRequest(run_key=f"{seal.sha256}:{part.key}", partition_key=part.key)
            else:
                skipped.append(f"{seal.path.name}: no partition {part.key}")
    reason = "; ".join(skipped) or None
    return dg.SensorResult(
        run_requests=list(requests.values()),
        skip_reason=None if requests else reason or "no newly sealed segment",
        cursor=str(max((seal.first_seq for seal in fresh), default=seen)),
    )
