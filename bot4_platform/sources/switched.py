"""Which of the slow sources are set up, and which assets are theirs: what is off is neither scheduled nor missed."""

from __future__ import annotations

from bot4_platform.sources.settings import SourcesSettings

ASSETS = {
    "ethereum": ["chain_blocks", "onchain_transfers", "dex_swaps", "stablecoin_supply", "onchain_signals"],
    "news": ["news_items", "news_signals"],
    "social": ["social_posts", "social_signals"],
    "macro": ["macro_observations", "macro_releases"],
}


def switched_on(settings: SourcesSettings) -> list[str]:
    """Return the names of the slow sources that are set up."""
    given = {
        "ethereum": settings.ethereum.url.get_secret_value(),
        "news": settings.news.feeds,
        "social": settings.social.url,
        "macro": settings.macro.key.get_secret_value(),
    }
    return [name for name, value in given.items() if value]


def assets_off(settings: SourcesSettings) -> frozenset[str]:
    """Return the assets of the sources that are not."""
    on = switched_on(settings)
    return frozenset(asset for name, assets in ASSETS.items() if name not in on for asset in assets)
