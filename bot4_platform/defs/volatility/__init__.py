"""Volatility and fill intensity: the slow features that quotes are priced with."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.volatility import assets, checks

    return dg.Definitions(
        assets=[assets.mids_250ms, assets.garch, assets.fill_intensity, assets.slow_features],
        asset_checks=[
            checks.mids_are_sound,
            checks.garch_is_honest,
            checks.intensity_is_honest,
            checks.slow_features_are_servable,
        ],
    )
