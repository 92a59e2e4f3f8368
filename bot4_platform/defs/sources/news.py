"""News of a day and its quarters of an hour."""

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.defs.sources.common import asked, now_ns, partition_metadata, sound_rows, teller, write_signals
from bot4_platform.operations.steps import SOURCE
from bot4_platform.partitions import DAYS
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings


@dg.asset(
    partitions_def=DAYS,
    group_name="sources",
    owners=OWNERS,
    kinds={"rss", "parquet"},
    code_version="1",
    retry_policy=SOURCE,
    pool="source_news",
    description="Stories of RSS and Atom feeds, each once, with categories and an impact by declared rules. A feed "
    "holds its newest stories only: older days are read as far as it goes back.",
)
def news_items(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Add the day's stories."""
    from bot4_platform.reporting import table, when
    from bot4_platform.sources.news.day import SCOPE, TABLE, publication, read_day

    day, settings, lake = str(context.partition_key), platform_settings().sources.news, bot4.lake()
    with asked("news", settings.per_s) as client:
        done = read_day(lake, client, settings, day, now=now_ns, tell=teller(context))
    for name, why in done.failed.items():
        context.log.warning(f"news: {name} could not be read: {why}")
    frame = lake.read(TABLE, day, SCOPE)
    top = frame.sort("impact", "id", descending=[True, False]).head(8)
    return dg.MaterializeResult(
        metadata=partition_metadata(lake, TABLE, day, SCOPE)
        | {
            "feeds": done.feeds,
            "unchanged": done.unchanged,
            "failed": "; ".join(f"{name}: {why}" for name, why in done.failed.items()),
            "added": done.added,
            "copies": done.copies,
            "quarantined_now": done.rejected,
            "feeds_reach_back_to": when(done.oldest_ns) if done.oldest_ns else "nothing",
            "lag": publication(settings).why,
            "largest_impact": table(
                ("time", "feed", "title", "categories", "impact"),
                [
                    (when(at)[11:16], feed, title.replace("|", "/"), categories, f"{impact:.2f}")
                    for at, feed, title, categories, impact in top.select(
                        "event_ns", "feed", "title", "categories", "impact"
                    ).rows()
                ],
            ),
        }
    )  # fmt: skip


@dg.asset(
    deps=["news_items"],
    partitions_def=DAYS,
    group_name="sources",
    owners=OWNERS,
    kinds={"polars", "parquet"},
    code_version="1",
    description="Quarters of an hour of news: stories, the sum and the largest of their impacts, their tone.",
)
def news_signals(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Count a day by quarters."""
    from bot4_platform.sources import signals
    from bot4_platform.sources.news.day import SCOPE, publication

    day, lake = str(context.partition_key), bot4.lake()
    lag = publication(platform_settings().sources.news).lag_ns
    rows = signals.news_signals(day, lake.read("news_items", day, SCOPE), now_ns() - lag, lag)
    frame, metadata = write_signals(lake, "news_signals", day, SCOPE, rows)
    stories = {"stories": int(frame["stories"].sum()), "impact": float(frame["impact"].sum())}
    return dg.MaterializeResult(metadata=metadata | stories)


CHECKS = [
    sound_rows(
        "news_items", "Each story once, its impact from 0 to 1, its tone from -1 to 1.",
        lambda frame: {"impact": frame.filter(~frame["impact"].is_between(0, 1)).height,
                       "tone": frame.filter(~frame["tone"].is_between(-1, 1)).height,
                       "no_title": frame.filter(frame["title"] == "").height},
    ),
    sound_rows(
        "news_signals", "Each quarter once; the largest impact is no larger than the sum.",
        lambda frame: {"largest": frame.filter(frame["largest_impact"] > frame["impact"] + 1e-9).height},
    ),
]  # fmt: skip
