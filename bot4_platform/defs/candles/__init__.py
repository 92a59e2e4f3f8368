"""Candles: dbt's models and tests as assets and checks."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.candles import assets

    return dg.Definitions(assets=[assets.candles], asset_checks=[assets.candles_agree_with_trades])
