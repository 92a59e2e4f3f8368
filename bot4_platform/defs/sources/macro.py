"""Macro series by the day of their release."""

from collections.abc import Iterator

import dagster as dg

from bot4_platform.checks import OWNERS, day_check
from bot4_platform.defs.sources.common import asked, now_ns, sound_rows, teller
from bot4_platform.operations.steps import SOURCE
from bot4_platform.partitions import DAYS
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings

TABLES = {
    "macro_observations": "Values of macro series by the day they were published, revisions as rows of their own; "
    "known from the release's instant on, never before.",
    "macro_releases": "Which releases the day had, by the publishers' schedule.",
}


@dg.multi_asset(
    name="macro_day",
    specs=[
        dg.AssetSpec(
            name, group_name="sources", owners=OWNERS, kinds={"fred", "parquet"}, code_version="1", description=about,
        )
        for name, about in TABLES.items()
    ],
    partitions_def=DAYS,
    retry_policy=SOURCE,
    pool="source_macro",
)  # fmt: skip
def macro_day(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Add what was published on a day."""
    from bot4_platform.reporting import table, when
    from bot4_platform.sources.macro.alfred import Alfred
    from bot4_platform.sources.macro.day import OBSERVATIONS, RELEASES, read_day

    day, settings, lake = str(context.partition_key), platform_settings().sources.macro, bot4.lake()
    with asked("macro", settings.per_s) as client:
        done = read_day(lake, Alfred(client, settings), day, now=now_ns, tell=teller(context))
    for name, why in done.failed.items():
        context.log.warning(f"macro: {name} could not be read: {why}")
    found = [one for name in sorted(done.published) for one in done.published[name]]
    yield dg.MaterializeResult(
        asset_key=OBSERVATIONS,
        metadata={
            "dagster/row_count": len(found),
            "path": dg.MetadataValue.path(str(lake.root / OBSERVATIONS)),
            "failed": "; ".join(f"{name}: {why}" for name, why in done.failed.items()),
            "quarantined_now": done.rejected,
            "without_a_scheduled_release": ", ".join(done.unscheduled),
            "published": table(
                ("series", "period", "value", "known from"),
                [(one.series, one.period, one.text, when(one.released_ns)) for one in found[-15:]],
            ),
        },
    )
    yield dg.MaterializeResult(
        asset_key=RELEASES,
        metadata={
            "dagster/row_count": len(done.releases),
            "path": dg.MetadataValue.path(str(lake.root / RELEASES)),
            "releases": table(("release", "series"), [(name, ", ".join(of)) for name, of in done.releases.items()]),
        },
    )


@day_check(
    asset="macro_observations", description="No value is known before its release's instant, and none is of a period "
    "later than its release.", blocking=True,
)  # fmt: skip
def nothing_is_known_before_its_release(
    context: dg.AssetCheckExecutionContext, bot4: Bot4Resource
) -> dg.AssetCheckResult:
    """Compare each row's time with its series' release time on the vintage's day."""
    from datetime import date

    from bot4_platform.sources.macro.alfred import release_instant

    day = str(context.partition_key)
    at = {one.id: one.at for one in platform_settings().sources.macro.series}
    frame = bot4.lake().read("macro_observations", day)
    early = wrong_day = 0
    for series, period, vintage, created in frame.select("series", "period", "vintage", "created_ns").rows():
        early += created < release_instant(date.fromisoformat(vintage), at.get(series, "00:00"))
        wrong_day += vintage != day or period > vintage
    return dg.AssetCheckResult(
        passed=early == wrong_day == 0, metadata={"rows": frame.height, "early": early, "wrong_day": wrong_day}
    )


CHECKS = [
    nothing_is_known_before_its_release,
    sound_rows(
        "macro_observations", "Each value of a period and vintage once, a number or published as missing.",
        lambda frame: {"no_number": frame.filter(frame["value"].is_null() & (frame["text"] != ".")).height,
                       "not_finite": frame.filter(~frame["value"].fill_null(0).is_finite()).height},
    ),
    sound_rows("macro_releases", "Each release of the day once."),
]  # fmt: skip
