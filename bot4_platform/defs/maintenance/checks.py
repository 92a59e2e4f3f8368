"""Checks of what makes room: nothing that is needed went."""

import dagster as dg

from bot4_platform.defs.maintenance.assets import archive, disk_usage, retention, retention_plan
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings


@dg.asset_check(
    asset=archive,
    description="Every archived day is outside its market's newest 160 days, and every stub can be read.",
)
def the_window_is_local(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Look for archived partitions within the window that training reads."""
    from bot4_platform.archive.settings import LEAST_DAYS
    from bot4_platform.archive.stub import read_stub
    from bot4_platform.archive.window import before, newest_days

    lake = bot4.lake()
    newest, away, early = newest_days(lake), 0, []
    for name in lake.tables():
        for day, market in sorted({*lake.partitions(name, archived=True)} - {*lake.partitions(name)}):
            away += read_stub(lake.path(name, day, market)) is not None
            if market in newest and day > before(newest[market], LEAST_DAYS):
                early.append(f"{name} {day} {market}")
    return dg.AssetCheckResult(passed=not early, metadata={"archived": away, "too_early": ", ".join(early[:10])})


@dg.asset_check(
    asset=retention_plan,
    description="The plan names only tables that can be made again, outside the newest 160 days, of which the day that "
    "they are made of is still there.",
    blocking=True,
)
def nothing_raw_goes(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Judge the plan by itself, as it was written."""
    from bot4_platform.archive.settings import LEAST_DAYS
    from bot4_platform.archive.window import before, newest_days
    from bot4_platform.retention.plan import saved
    from bot4_platform.retention.rules import RULES

    lake = bot4.lake()
    newest, wrong = newest_days(lake), []
    planned = saved(bot4.settings())
    for one in planned:
        parts = one.path.split("/")
        if one.table:
            known = one.table in RULES and parts[:2] == ["lake", one.table]
            old = known and one.day <= before(newest[one.market], LEAST_DAYS)
            allowed = old and lake.exists(RULES[one.table].made_of, one.day, one.market)
        else:
            allowed = parts[:2] == ["dagster", "storage"] and parts[3:] == ["compute_logs"]
        if not allowed:
            wrong.append(one.path)
    return dg.AssetCheckResult(passed=not wrong, metadata={"planned": len(planned), "wrong": ", ".join(wrong[:10])})


@dg.asset_check(asset=retention, description="Nothing that the plan showed and that may still go is left.")
def what_was_planned_is_gone(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare the plan with what may go now."""
    from bot4_platform.retention.plan import plan, saved

    settings = bot4.settings()
    left = {one.path for one in saved(settings)} & {one.path for one in plan(settings, platform_settings().retention)}
    return dg.AssetCheckResult(passed=not left, metadata={"left": len(left), "first": ", ".join(sorted(left)[:10])})


@dg.asset_check(
    asset=disk_usage,
    description="The account is within its disk budget (BOT4_PLATFORM__DISK__BUDGET_GB, without it the disk): a "
    "warning from 80 %, a failure from 95 %, with what would free room.",
)
def within_budget(bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Measure again, against the limits."""
    from bot4_platform.reporting import table
    from bot4_platform.retention.disk import usage

    known = platform_settings()
    found = usage(bot4.settings(), known.disk, known.retention, known.archive)
    verdict = found.verdict(known.disk)
    severity = dg.AssetCheckSeverity.ERROR if verdict == "fail" else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=verdict == "ok",
        severity=severity,
        metadata={
            "percent": found.percent,
            "used_bytes": found.used,
            "budget_bytes": found.budget,
            "free_bytes": found.free,
            "would_free": table(("what", "bytes"), found.frees),
        },
    )
