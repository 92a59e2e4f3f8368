"""Promotion: gates, aliases, and the bundle that a runner takes."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.promotion import assets, checks

    return dg.Definitions(
        assets=[assets.champion], asset_checks=[checks.bundle_is_the_champion, checks.promotion_is_explained]
    )
