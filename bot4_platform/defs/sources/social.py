"""Posts of a day and their quarters of an hour."""

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
    kinds={"mastodon", "parquet"},
    code_version="1",
    retry_policy=SOURCE,
    pool="source_social",
    description="Public posts by hashtag, their authors digests, scored by an offline lexicon or a local model; what "
    "looks like spam is marked by what came before it.",
)
def social_posts(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Add the day's posts."""
    from bot4_platform.reporting import table
    from bot4_platform.sources.social.day import SCOPE, TABLE, publication, read_day

    day, settings, lake = str(context.partition_key), platform_settings().sources.social, bot4.lake()
    with asked("social", settings.per_s) as client:
        done = read_day(lake, client, settings, day, now=now_ns, tell=teller(context))
    frame = lake.read(TABLE, day, SCOPE)
    spam = frame.filter(frame["spam"] != "")
    reasons = spam["spam"].str.split(",").explode().value_counts(sort=True)
    return dg.MaterializeResult(
        metadata=partition_metadata(lake, TABLE, day, SCOPE)
        | {
            "added": done.added,
            "pages": done.pages,
            "quarantined_now": done.rejected,
            "voices": frame["author"].n_unique(),
            "spam": spam.height,
            "spam_by_reason": table(("reason", "posts"), reasons.rows()),
            "scorer": ", ".join(sorted(set(frame["scorer"]))),
            "lag": publication(settings).why,
        }
    )


@dg.asset(
    deps=["social_posts"],
    partitions_def=DAYS,
    group_name="sources",
    owners=OWNERS,
    kinds={"polars", "parquet"},
    code_version="1",
    description="Quarters of an hour of posts, by coin: how many, from how many voices, how they sound; spam left out.",
)
def social_signals(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Count a day by quarters."""
    from bot4_platform.sources import signals
    from bot4_platform.sources.social.day import SCOPE, publication

    day, lake = str(context.partition_key), bot4.lake()
    lag = publication(platform_settings().sources.social).lag_ns
    rows = signals.social_signals(day, lake.read("social_posts", day, SCOPE), now_ns() - lag, lag)
    frame, metadata = write_signals(lake, "social_signals", day, SCOPE, rows)
    everything = frame.filter(frame["coin"] == "ALL")
    counts = {"posts": int(everything["posts"].sum()), "spam": int(everything["spam"].sum())}
    return dg.MaterializeResult(metadata=metadata | counts)


CHECKS = [
    sound_rows(
        "social_posts", "Each post once, its sentiment from -1 to 1, its author a digest.",
        lambda frame: {"sentiment": frame.filter(~frame["sentiment"].is_between(-1, 1)).height,
                       "author": frame.filter(frame["author"].str.len_chars() != 16).height},
    ),
    sound_rows(
        "social_signals", "Each quarter and coin once; no more voices than posts.",
        lambda frame: {"voices": frame.filter(frame["voices"] > frame["posts"]).height},
    ),
]  # fmt: skip
