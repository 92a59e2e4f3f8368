"""What keeps the disk in order: the archive, retention, and the budget."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.maintenance import assets, checks

    return dg.Definitions(
        assets=[assets.archive, assets.retention_plan, assets.retention, assets.disk_usage],
        asset_checks=[
            checks.the_window_is_local,
            checks.nothing_raw_goes,
            checks.what_was_planned_is_gone,
            checks.within_budget,
        ],
        jobs=[assets.maintenance_job],
        schedules=[assets.nightly_maintenance],
    )
