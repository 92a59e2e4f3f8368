"""Sources outside the journal: the chain, news, posts, macro series."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.sources import automation, macro, news, onchain, social

    return dg.Definitions(
        assets=[
            onchain.ethereum_day, onchain.onchain_signals, news.news_items, news.news_signals, social.social_posts,
            social.social_signals, macro.macro_day,
        ],
        asset_checks=[*onchain.CHECKS, *news.CHECKS, *social.CHECKS, *macro.CHECKS],
        jobs=[automation.slow_sources_job],
        schedules=[automation.slow_sources_schedule],
    )  # fmt: skip
