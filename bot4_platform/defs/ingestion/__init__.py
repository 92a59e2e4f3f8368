"""From journal to platform: the ledger of sealed segments, the sensor on them, the daily close."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.ingestion import assets, automation

    return dg.Definitions(
        assets=[assets.raw_segments],
        asset_checks=[assets.digests_hold],
        jobs=[automation.market_day_job],
        schedules=[automation.daily_close],
        sensors=[automation.sealed_segments],
    )
