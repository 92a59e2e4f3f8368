"""The venues whose frames can be read here, and how to tell them apart."""

from __future__ import annotations

from collections.abc import Iterable

from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.coinbase import CoinbaseFeed
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.coinbase_orders import CoinbaseOrdersFeed
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.kraken_orders import KrakenOrdersFeed
from bot4_live.market.venues.okx import OkxFeed

FEEDS: tuple[type[VenueFeed], ...] = (
    KrakenFeed,
    KrakenOrdersFeed,
    OkxFeed,
    DeribitFeed,
    CoinbaseFeed,
    CoinbaseExchangeFeed,
    CoinbaseOrdersFeed,
)
LOOKED_AT = 1000  # frames: acknowledgements and status come before the first that tells


def feed_of(frames: Iterable[bytes]) -> type[VenueFeed] | None:
    """Return the feed that knows one of the first frames, or None."""
    for _, raw in zip(range(LOOKED_AT), frames, strict=False):
        for feed in FEEDS:
            if feed.recognises(raw):
                return feed
    return None
