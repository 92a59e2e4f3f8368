"""Whether the data are as new as they should be: one check an asset that has a rule in bot4_platform/staleness.

By the time of the newest row, never of the last run: an asset that runs every hour over a source that stopped is old.
The checks have a job of their own. They are no part of a backfill of last year, whose data are old by intention.
"""

from collections.abc import Iterator

import dagster as dg

from bot4_platform.checks import AGE_CHECK
from bot4_platform.operations.switches import schedule_status
from bot4_platform.resources import Bot4Resource
from bot4_platform.staleness.rules import rule_of
from bot4_platform.tables import TABLES


def aged(others: dg.Definitions) -> list[str]:
    """Return the assets of `others` that have a rule, by name."""
    keys = [key for one in others.assets or () for key in (one.keys if isinstance(one, dg.AssetsDefinition) else [])]
    names = sorted(key.to_user_string() for key in keys)
    return [name for name in names if rule_of(name, TABLES[name].columns if name in TABLES else {}) is not None]


def age_checks(others: dg.Definitions) -> dg.AssetChecksDefinition:
    """Return the checks of every asset of `others` that has a rule, as one step of which a part can run."""
    names = aged(others)

    @dg.multi_asset_check(
        name="data_age",
        can_subset=True,
        specs=[
            dg.AssetCheckSpec(
                AGE_CHECK, asset=name, description="The newest row is as new as bot4_platform/staleness/rules.py says."
            )
            for name in names
        ],
    )
    def data_age(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> Iterator[dg.AssetCheckResult]:
        import time

        from bot4_platform.staleness.report import look, span

        report = look(bot4.settings(), time.time_ns())
        for key in sorted(context.selected_asset_check_keys):
            name = key.asset_key.to_user_string()
            old = [found for found in report.stale if found.item.name == name]
            metadata: dict[str, dg.MetadataValue] = {}
            for found in old:
                age = f"{span(found.age_s)} old" if found.age_s is not None else "there is nothing yet"
                causes = ", ".join(str(cause) for cause in found.causes)
                metadata[found.item.scope or "all"] = dg.MetadataValue.text(
                    f"{age}, {span(found.limit_s)} allowed; because of {causes}"
                )
            holds = sorted({str(item) for cause in report.causes if cause.item.name == name for item in cause.holds_up})
            if holds:
                metadata["holds_up"] = dg.MetadataValue.text(", ".join(holds))
            yield dg.AssetCheckResult(
                asset_key=key.asset_key, check_name=AGE_CHECK, passed=not old, severity=dg.AssetCheckSeverity.WARN,
                metadata=metadata,
            )  # fmt: skip

    return data_age


def age_watch(checks: dg.AssetChecksDefinition) -> dg.ScheduleDefinition:
    """Return the schedule of a job that runs all of the checks and nothing else."""
    return dg.ScheduleDefinition(
        name="data_age_watch",
        job=dg.define_asset_job(
            "data_ages",
            selection=dg.AssetSelection.checks(checks),
            description="How old the newest data of every table, view and model are, against what is allowed.",
        ),
        cron_schedule="*/15 * * * *",
        execution_timezone="UTC",
        default_status=schedule_status("data_age_watch"),
        description="Looks every 15 minutes, the shortest cadence of what is served from here, how old everything is.",
    )
