"""The simulated exchange with one thing more: on SIGUSR1 the traded symbol bursts, as fast as its client takes it.

Run as `python burst_exchange.py FRAMES SECONDS ALSO ACCOUNTS`. It serves a generated market like `bot4 exchange`, whose
ready line it prints. The burst continues the diffs that were sent and ends in a hole, for the market's own frames of
that time are lost: ids go on far above, and the client has to find its book again. Lines of JSON on stdout say when it
begins and when its last byte is out.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bot4_live.simulation.accounts import load_accounts
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.further import listings
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import Source, generated_source
from bot4_live.simulation.streams import Listener
from tests.system.live.burst import ROUND, Burst, framed, quote

SEED = 7
UNSENT_BYTES = 1 << 20  # that wait for the client: little, so that times are those of sending
LOOK_S = 0.002
IDS_AFTER, TRADES_AFTER = 500_000_000_000, 7_000_000_000_000  # added to the market's ids: more than the burst has
_IDS = re.compile(rb'"(U|u|pu|t)":(\d{10,13})')


class Market:
    """A generated market whose ids leap when `leapt` is set."""

    def __init__(self, seconds: float) -> None:
        self._source = generated_source(SEED, seconds)
        self.leapt = False
        self.source: Source = replace(self._source, frames=self._frames)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        for local_ns, raw in self._source.frames():
            yield local_ns, _IDS.sub(_leap, raw) if self.leapt else raw


def _leap(found: re.Match[bytes]) -> bytes:
    return b'"%s":%d' % (found[1], int(found[2]) + (TRADES_AFTER if found[1] == b"t" else IDS_AFTER))


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def burst(made: Burst, exchange: Exchange, market: Market, frames: int) -> None:
    """Send at least `frames` frames, in whole rounds, to the one client that follows the traded symbol."""
    hub, book = exchange.hub, exchange.venue.book
    (client,) = (one for one in hub.listeners if one.wanted("btcusdt@depth@0ms"))
    hub.listeners.discard(client)
    market.leapt = True
    rounds = -(-frames // ROUND)
    counts = {name: count * rounds for name, count in made.counts.items()}
    counts["quotes"] += 1  # of the opening
    counts["diffs"] += 1
    say(state="burst", frames=rounds * ROUND + 2, **counts)
    began = time.monotonic()
    client.transport.write(made.opening(exchange.now_ms(), book.last_id, book.bids.levels(), book.asks.levels()))
    for number in range(rounds):
        client.transport.write(made.round(number, exchange.now_ms()))
        await until_sent(client)
    client.transport.write(framed(quote(book.quote_id, exchange.now_ms(), book.quote)))  # the market's own again
    hub.listeners.add(client)
    say(state="over", seconds=round(time.monotonic() - began, 1))


async def until_sent(client: Listener) -> None:
    while client.transport.get_write_buffer_size() > UNSENT_BYTES:
        if client.transport.is_closing():
            raise ConnectionError("the client hung up in the burst")
        await asyncio.sleep(LOOK_S)


async def serve(frames: int, seconds: float, also: str, accounts: Path) -> None:
    made, market = Burst(), Market(seconds)
    keys, held = load_accounts(accounts, market.source.instrument)
    exchange = Exchange(market.source, keys, held, also=listings(also), also_seed=SEED)
    loop, stop, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, go.set)
    async with Server(exchange, os.environ.get("BOT4_EXCHANGE_TOKEN", "")) as server:
        say(rest=server.rest_url, ws=server.ws_url)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, asyncio.create_task(go.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if go.is_set():
            await burst(made, exchange, market, frames)
        await stopping


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
