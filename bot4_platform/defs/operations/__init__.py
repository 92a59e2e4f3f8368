"""Operations: how old everything is, who is told of a failure, and what follows its inputs by itself."""

import dagster as dg


def definitions(others: dg.Definitions) -> dg.Definitions:
    """Return the definitions of this domain, which are about those of all `others`."""
    from bot4_platform.defs.operations import ages, sensors

    checks = ages.age_checks(others)
    return dg.Definitions(
        asset_checks=[checks],
        schedules=[ages.age_watch(checks)],
        sensors=[sensors.failure_alerts, sensors.glue],
    )
