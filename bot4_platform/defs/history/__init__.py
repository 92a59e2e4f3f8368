"""Exchange history: candles, trades and funding from the venue, their gaps, checks and schedule."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.history import assets, automation, checks

    return dg.Definitions(
        assets=[assets.history_candles, assets.history_trades, assets.history_funding],
        asset_checks=[
            checks.history_candles_are_sound,
            checks.history_counts_by_the_instrument,
            checks.every_minute_is_accounted_for,
            checks.nothing_is_missing,
            checks.history_trades_are_sound,
            checks.history_funding_is_sound,
        ],
        jobs=[automation.history_day_job],
        schedules=[automation.history_close],
    )
