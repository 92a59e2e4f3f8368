"""The operational copy in PostgreSQL: ticks with their candles, dbt's marts. Part of the graph in `services` alone."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain: none where nothing of it is kept in PostgreSQL."""
    from bot4_live.settings import load
    from bot4_platform.stores import in_postgres

    if not in_postgres(load(), "ticks"):
        return dg.Definitions()
    from bot4_platform.defs.timescale import assets, checks

    return dg.Definitions(
        assets=[assets.market_ticks, assets.lake_in_postgres, assets.marts_in_postgres],
        asset_checks=[checks.aggregates_equal_the_lake, checks.the_copy_is_whole, checks.marts_equal_the_lakes],
        jobs=[assets.timescale_job],
        schedules=[assets.nightly_copy],
    )
