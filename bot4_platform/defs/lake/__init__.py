"""The tick tables of the lake and their checks."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.lake import assets, checks, compaction, instruments, statement_checks

    return dg.Definitions(
        assets=[assets.ticks, compaction.compaction, instruments.instruments],
        asset_checks=[
            checks.trades_are_sound,
            checks.data_reaches_the_journal,
            checks.quotes_are_sound,
            checks.depth_ids_hold,
            checks.quarantine_is_complete,
            statement_checks.funding_is_whole,
            statement_checks.liquidations_are_sound,
            statement_checks.tickers_are_sound,
            compaction.closed_days_are_whole,
            instruments.intervals_hold,
        ],
        jobs=[compaction.compaction_job],
        schedules=[compaction.daily_compaction],
    )
