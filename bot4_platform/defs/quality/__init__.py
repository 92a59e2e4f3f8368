"""Data quality from a minute's distance: profiles, Great Expectations, Data Docs."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.quality import assets, suites

    return dg.Definitions(
        assets=[assets.minute_profiles, assets.data_docs],
        asset_checks=[assets.profiles_count_everything, *suites.checks()],
    )
