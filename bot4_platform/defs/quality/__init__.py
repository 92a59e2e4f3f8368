"""Data quality from a minute's distance: profiles, Great Expectations, Data Docs."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.quality import assets, measures, suites

    return dg.Definitions(
        assets=[
            assets.minute_profiles,
            assets.data_docs,
            assets.quality_page,
            measures.pass_rates,
            measures.feature_drift,
            measures.venue_agreement,
        ],
        asset_checks=[
            assets.profiles_count_everything,
            assets.page_is_whole,
            measures.pass_rate_meets_the_target,
            measures.drift_is_small,
            measures.venues_agree,
            *suites.checks(),
        ],
    )
