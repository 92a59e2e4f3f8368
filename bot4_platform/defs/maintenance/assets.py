"""Assets that make room: each says what it removed, how much, and why."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.operations.steps import EXTERNAL
from bot4_platform.operations.switches import schedule_status
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings

if TYPE_CHECKING:
    from bot4_platform.retention.plan import Removal

SHOWN = 200


@dg.asset(
    deps=["compaction"],
    group_name="maintenance",
    owners=OWNERS,
    kinds={"s3", "parquet"},
    code_version="1",
    retry_policy=EXTERNAL,
    description="Days and sealed segments older than the newest 160 days of their market go to S3: uploaded, read "
    "back, compared, and only then removed here. Reads of an old day fetch it again. Without a bucket nothing moves.",
)
def archive(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Move what is older than the local window."""
    from bot4_platform.archive.move import archive as move
    from bot4_platform.reporting import table

    where = platform_settings().archive
    moved = move(bot4.settings(), where, progress=context.log.info) if where.bucket else []
    rows = [(one.what, one.rows, one.size, "sent" if one.sent else "was there already") for one in moved[:SHOWN]]
    return dg.MaterializeResult(
        metadata={
            "archive": f"s3://{where.bucket}/{where.prefix}" if where.bucket else "none is set up",
            "files": len(moved),
            "bytes": sum(one.size for one in moved),
            "moved": table(("what", "rows", "bytes", "upload"), rows),
        }
    )


@dg.asset(
    deps=["archive"],
    group_name="maintenance",
    owners=OWNERS,
    kinds={"json"},
    code_version="1",
    description="What retention would remove, with the reason for each: days of tables that can be made again, past "
    "their span, and output of old runs. Nothing is touched. What came from a venue or a source never goes.",
)
def retention_plan(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Write the plan down."""
    from bot4_platform.retention.plan import plan, save

    settings = bot4.settings()
    found = plan(settings, platform_settings().retention)
    path = save(settings, found)
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(path))} | describe(found, "would be removed")
    )


@dg.asset(
    deps=["retention_plan"],
    group_name="maintenance",
    owners=OWNERS,
    kinds={"parquet"},
    code_version="1",
    description="Removes what the plan shows and is still allowed to go; nothing else. Each partition goes whole.",
)
def retention(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Carry the plan out."""
    from bot4_platform.retention.plan import carry_out

    gone = carry_out(bot4.settings(), platform_settings().retention)
    for one in gone:
        context.log.info(f"removed {one.path}: {one.files} files, {one.size} bytes; {one.why}")
    return dg.MaterializeResult(metadata=describe(gone, "removed"))


@dg.asset(
    deps=["retention"],
    group_name="maintenance",
    owners=OWNERS,
    kinds={"json"},
    code_version="1",
    description="What the account's disk is used for, against its budget, and what would free some of it.",
)
def disk_usage(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Measure."""
    from bot4_platform.reporting import table
    from bot4_platform.retention.disk import usage

    known = platform_settings()
    found = usage(bot4.settings(), known.disk, known.retention, known.archive)
    return dg.MaterializeResult(
        metadata={
            "used_bytes": found.used,
            "budget_bytes": found.budget,
            "free_bytes": found.free,
            "percent": found.percent,
            "parts": table(("part", "files", "bytes"), found.parts),
            "would_free": table(("what", "bytes"), found.frees),
        }
    )


def describe(removals: "list[Removal]", title: str) -> dict[str, Any]:
    """Return the metadata of what goes: sums, and the largest folders with their reasons."""
    from bot4_platform.reporting import table

    largest = sorted(removals, key=lambda one: -one.size)[:SHOWN]
    rows = [(one.path, one.files, one.size, one.why) for one in largest]
    return {
        "folders": len(removals),
        "files": sum(one.files for one in removals),
        "bytes": sum(one.size for one in removals),
        title.replace(" ", "_"): table(("folder", "files", "bytes", "why"), rows),
    }


maintenance_job = dg.define_asset_job(
    "maintenance_job",
    selection=dg.AssetSelection.groups("maintenance"),
    description="Archive, retention and the disk budget.",
)


@dg.schedule(
    job=maintenance_job,
    cron_schedule="30 3 * * *",
    default_status=schedule_status("nightly_maintenance"),
    execution_timezone="UTC",
    description="In the night, after the daily close and the compaction.",
)
def nightly_maintenance(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request it, once a day."""
    return dg.RunRequest(run_key=f"maintenance-{context.scheduled_execution_time.astimezone(UTC):%Y-%m-%d}")
