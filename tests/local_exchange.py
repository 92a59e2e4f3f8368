"""The simulated exchange in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import generated_source

MARKET = "binance_usdm:BTCUSDT"
NOW_MS = 1_723_204_801_000  # what the exchange below shows: 2024-08-09 12:00:01 UTC


@contextmanager
def local_exchange(**options: Any) -> Iterator[Server]:
    """Serve a generated market that stands still a second after its start, in its own time."""
    source = generated_source(5, 30.0)
    exchange = Exchange(source, {}, {}, **{"paused": True, "from_ns": source.start_ns + 10**9, "shift_ms": 0} | options)
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    server = Server(exchange)

    async def serve() -> None:
        async with server:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
