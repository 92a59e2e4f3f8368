"""Fast features by the engine's kernels, the feature views, and the online store."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.features import assets, online

    return dg.Definitions(
        assets=[assets.feature_day, online.online_slow_features],
        asset_checks=[assets.features_are_whole, assets.state_is_usable, online.online_store_is_current],
    )
