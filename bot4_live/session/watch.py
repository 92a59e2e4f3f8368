"""Instruments that are followed and not traded: feeds of their own beside the traded one's, into the same journal.

Their records carry their instrument's id. The engine reads past them (`step`), so what it decides is what it would
decide without them; its own feed has a connection, a book and a clock of latencies of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from bot4_live.execution.gateways.binance_usdm import instrument_of, listed
from bot4_live.instrument import Instrument
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.binance_reader import BinanceReader, Fetch
from bot4_live.market.live.connection import surroundings
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.pool import Pool
from bot4_live.market.live.shard import Shard
from bot4_live.market.public import stream_url
from bot4_live.market.validation import Limits
from bot4_live.market.venues.dialects import BinanceDialect
from bot4_live.session.core import Core
from bot4_live.settings import Settings

REMEMBERED = 512  # ids a symbol, by which a repeated frame is known: of seconds, and little memory where there are many


def watched_instruments(settings: Settings, info: Any, traded: Instrument) -> list[Instrument]:
    """Return the instruments of BOT4_WATCH as exchangeInfo lists them, numbered after the traded one.

    The numbers hold for a session, whose header names them. Raises ValueError for a symbol that the venue does not
    list or trade.
    """
    found = []
    for number, symbol in enumerate(settings.watched, traded.id + 1):
        try:
            found.append(listed(info, traded.venue, symbol, number))
        except ValueError as error:
            raise ValueError(f"BOT4_WATCH: {error}") from None
    return found


class Watch:
    """Keeps the feeds of some instruments fed; `run` is a task of the session, `pool` says how they are."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        core: Core,
        ws_url: str,
        fetch: Fetch,
        *,
        quiet: Callable[[], bool],
        remark: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is opened before `run()`. `fetch` is asked for snapshots by symbol."""
        self._core, self._remark = core, remark
        self._complaints: dict[str, str] = {}
        believed = Limits(remembered=REMEMBERED)
        self.cores = {
            one.symbol.lower(): FeedCore(one, core.on_watched, core.journal, limits=believed) for one in instruments
        }
        limits, times, now_ns = BinanceDialect.limits, StreamTimes(), core.clock.now_ns
        around = surroundings(limits, now_ns, times, random.Random(), quiet=quiet, room=lambda: core.journal.room)
        names = list(self.cores)
        shards = []
        for index, at in enumerate(range(0, len(names), limits.names)):
            mine = {name: self.cores[name] for name in names[at : at + limits.names]}
            reader = BinanceReader(mine, fetch, now_ns, times)
            shards.append(Shard(f"watch-{index}", stream_url(ws_url, *mine), reader, BinanceDialect, around))
        self.pool = Pool(BinanceDialect.venue, around, shards)

    async def run(self) -> None:
        """Follow until cancelled. Raises what the core's consumers raise, e.g. for a full disk."""
        await self.pool.run()

    def compare(self, info: Any) -> None:
        """Take over what exchangeInfo says of the instruments anew, each as an INSTRUMENT event."""
        for core in self.cores.values():
            symbol = core.instrument.symbol
            try:
                found = instrument_of(info, core.instrument)
            except (ValueError, KeyError) as error:
                if self._complaints.get(symbol) != str(error):
                    self._complaints[symbol] = str(error)
                    self._remark(f"watched: {error}")
                continue
            self._complaints.pop(symbol, None)
            if found is not core.instrument:
                self._remark(f"watched: {symbol} version {found.version}")
                core.change_instrument(self._core.clock.now_ns(), found)

    def counts(self) -> dict[str, Any]:
        """Return what came of each, for JSON."""
        return {core.instrument.symbol: core.counts.as_dict() for core in self.cores.values()}
