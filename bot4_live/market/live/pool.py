"""All connections to one venue: its instruments are divided among them, and nothing of it is connected at once.

>>> pool = open_pool("kraken", ["BTC/USD", "ETH/USD"], sequencer.push, journal, instruments=instruments, remote=True)
>>> await pool.run()
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot4_live.instrument import Instrument
from bot4_live.market.feed_core import FeedCore, RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.live.binance_reader import BinanceReader, Fetch
from bot4_live.market.live.connection import Surroundings, surroundings
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.reader import Emit
from bot4_live.market.live.shard import Shard
from bot4_live.market.live.status import PoolStatus
from bot4_live.market.live.venue_reader import VenueReader
from bot4_live.market.public import require_loopback
from bot4_live.market.venues import dialects
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.binance_sockets import socket_urls, streams_of
from bot4_live.market.venues.coinbase import CoinbaseFeed
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.coinbase_orders import CoinbaseOrdersFeed
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.venues.dialects import Dialect
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.kraken_orders import KrakenOrdersFeed
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Instruments


@dataclass(frozen=True)
class Venue:
    """How a venue is reached. `feed` is None for Binance, whose books need REST snapshots."""

    url: str
    dialect: type[Dialect]
    feed: type[VenueFeed] | None = None
    split: bool = False  # its sockets carry either books or the rest
    fetches: bool = False  # its books begin with a REST snapshot


VENUES: dict[str, Venue] = {
    "binance_usdm": Venue("wss://fstream.binance.com", dialects.BinanceDialect, split=True),
    "binance_coinm": Venue("wss://dstream.binance.com", dialects.BinanceCoinmDialect),
    "binance_spot": Venue("wss://stream.binance.com:9443", dialects.BinanceSpotDialect),
    "kraken": Venue("wss://ws.kraken.com/v2", dialects.KrakenDialect, KrakenFeed),
    "kraken_v1": Venue("wss://ws.kraken.com", dialects.KrakenOldDialect, KrakenFeed),
    "okx": Venue("wss://ws.okx.com:8443/ws/v5/public", dialects.OkxDialect, OkxFeed),
    "deribit": Venue("wss://www.deribit.com/ws/api/v2", dialects.DeribitDialect, DeribitFeed),
    "coinbase": Venue("wss://advanced-trade-ws.coinbase.com", dialects.CoinbaseDialect, CoinbaseFeed),
    "coinbase_exchange": Venue(
        "wss://ws-feed.exchange.coinbase.com", dialects.CoinbaseExchangeDialect, CoinbaseExchangeFeed
    ),
    "kraken_orders": Venue("wss://ws-l3.kraken.com/v2", dialects.KrakenOrdersDialect, KrakenOrdersFeed),
    "coinbase_orders": Venue(
        "wss://ws-feed.exchange.coinbase.com", dialects.CoinbaseOrdersDialect, CoinbaseOrdersFeed, fetches=True
    ),
}


class Pool:
    """Connections to one venue. `run()` ends when `stop()` was called; it raises only what `emit` raises."""

    def __init__(self, venue: str, around: Surroundings, shards: Sequence[Shard]) -> None:
        """Prepare; nothing is opened before `run()`."""
        self.venue = venue
        self.shards = list(shards)
        self._around = around

    def status(self) -> PoolStatus:
        """Return what is to be said of all connections."""
        rows = tuple(row for shard in self.shards for row in shard.status())
        return PoolStatus(self.venue, self._around.breaker.state, rows)

    def feed(self, name: str) -> VenueFeed:
        """Return the feed that holds an instrument's book now; of level 3, its `orders`. A renewal brings another one.

        Raises KeyError for what is not followed, and for Binance, whose books are in its FeedCores.
        """
        for shard in self.shards:
            if isinstance(shard.reader, VenueReader) and name in shard.reader.names:
                return shard.reader.feed(name)
        raise KeyError(name)

    def stop(self) -> None:
        """End `run()` soon."""
        for shard in self.shards:
            shard.stop()

    async def run(self) -> None:
        """Keep all shards connected until stopped; the first that fails ends the others."""
        tasks = [asyncio.create_task(shard.run()) for shard in self.shards]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error


def open_pool(
    venue: str,
    names: Sequence[str],
    emit: Emit,
    raw_log: RawLog | None = None,
    *,
    instruments: Instruments | Mapping[str, Instrument],
    url: str | None = None,
    remote: bool = False,
    now_ns: Callable[[], int] = time.time_ns,
    fetch_snapshot: Fetch | None = None,
    per_connection: int | None = None,
    times: StreamTimes | None = None,
    quiet: Callable[[], bool] = lambda: False,
    on_batch: Callable[[], None] | None = None,
    room: Callable[[], bool] = lambda: True,
    seed: int | None = None,
    liquidation_usd: float = LARGE_LIQUIDATION_USD,
    **feed: Any,
) -> Pool:
    """Return a pool that follows `names`, the venue's own names of instruments, of one of VENUES.

    `emit` receives records in log order. `instruments` has at least the instruments of `names`: for Binance a mapping
    by symbol, for the others their Instruments. `fetch_snapshot(symbol)` gives Binance's raw depth snapshots; of
    `coinbase_orders`, it is given the path to GET at https://api.exchange.coinbase.com. It keeps to the REST budget.
    `url` is the venue's public one unless given; one that is not on this machine is refused unless `remote` is asked
    for. While there is no `room` no socket is read. `per_connection` is how many instruments share a connection, at
    most what the venue's limits allow. Liquidations worth `liquidation_usd` are marked. `feed` goes to the venue's feed
    (Kraken's `depth`, Deribit's `interval`; of level 3 Kraken's `token` and Coinbase's `channel` and `signed`). Raises
    ValueError.
    """
    known = VENUES.get(venue)
    if known is None:
        raise ValueError(f"no venue {venue!r}; there are {', '.join(VENUES)}")
    url = url or known.url
    if not remote:
        require_loopback(url)
    names = list(dict.fromkeys(names))
    if not names:
        raise ValueError(f"{venue}: no instruments to follow; name at least one")
    for name in names:
        if instruments.get(name) is None:
            raise ValueError(f"{venue}: the digits of {name} are not known; declare the instrument")
    limits = known.dialect.limits
    size = min(per_connection or limits.names, limits.names)
    groups = [names[at : at + size] for at in range(0, len(names), size)]
    if limits.connections is not None and len(groups) >= limits.connections:
        raise ValueError(
            f"{venue}: {len(names)} instruments at {size} a connection need {len(groups)} connections, and one more in "
            f"a renewal; it allows {limits.connections}"
        )
    times = times or StreamTimes()
    around = surroundings(limits, now_ns, times, random.Random(seed), quiet=quiet, on_batch=on_batch, room=room)
    if (known.feed is None or known.fetches) and fetch_snapshot is None:
        raise ValueError(f"{venue}: its books begin with a REST snapshot; give fetch_snapshot")
    if known.feed is None:
        assert fetch_snapshot is not None
        cores = {
            name.lower(): FeedCore(_instrument(instruments, name), emit, raw_log, liquidation_usd=liquidation_usd)
            for name in names
        }
        return Pool(venue, around, _binance_shards(venue, known, url, groups, cores, fetch_snapshot, around))
    feed["liquidation_usd"] = liquidation_usd
    if venue == "kraken_v1":
        feed["protocol"] = 1
    shards = []
    for index, group in enumerate(groups):
        reader = VenueReader(
            _feed_maker(known.feed, instruments, group, feed), group, emit, raw_log, times,
            now_ns=now_ns, fetch=fetch_snapshot if known.fetches else None,
        )  # fmt: skip
        shards.append(Shard(f"{venue}-{index}", url, reader, known.dialect, around))
    return Pool(venue, around, shards)


def _binance_shards(
    venue: str,
    known: Venue,
    url: str,
    groups: Sequence[Sequence[str]],
    cores: Mapping[str, FeedCore],
    fetch: Fetch,
    around: Surroundings,
) -> list[Shard]:
    """Return the shards of Binance: of each group one, or two where books and the rest have sockets of their own."""
    shards = []
    for index, group in enumerate(groups):
        mine = {name.lower(): cores[name.lower()] for name in group}
        streams = streams_of(group, derivatives=venue != "binance_spot")
        for address, carried in socket_urls(url, streams, split=known.split).items():
            books = any("@depth" in stream for stream in carried)
            reader = BinanceReader(mine, fetch, around.now_ns, around.times, books=books)
            name = f"{venue}-{index}" if books else f"{venue}-{index}-market"
            shards.append(Shard(name, address, reader, known.dialect, around))
    return shards


def _instrument(instruments: Instruments | Mapping[str, Instrument], name: str) -> Instrument:
    found = instruments.get(name)
    assert found is not None
    return found


def _feed_maker(
    kind: type[VenueFeed],
    instruments: Instruments | Mapping[str, Instrument],
    group: Sequence[str],
    options: Mapping[str, Any],
) -> Callable[[RawLog], VenueFeed]:
    if not isinstance(instruments, Instruments):
        raise ValueError(f"{kind.venue}: its instruments must be given as Instruments, which know how to read numbers")
    mine = instruments.only(group)
    return lambda raw_log: kind(mine, raw_log, **options)
