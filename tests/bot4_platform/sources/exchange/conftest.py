"""The simulated exchange in a thread of its own, for clients that block; clients of it and of a scripted server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import generated_source
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.settings import HttpSettings

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


@pytest.fixture(scope="module")
def quiet_exchange() -> Iterator[Server]:
    """Serve a past without outages; shared by a module, so nobody changes it."""
    with local_exchange() as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., HistoryClient]]:
    """Return what makes clients of an address, in a hurry."""
    made: list[HistoryClient] = []

    def make(url: str, *, budget: bool = True, **policy: Any) -> HistoryClient:
        settings = HttpSettings(**{"per_s": 1000.0, "first_wait_s": 0.001} | policy)
        made.append(HistoryClient(MARKET, settings, endpoint=url, budget=budget, hosts=Hosts()))
        return made[-1]

    yield make
    for client in made:
        client.close()


def exchange_info() -> bytes:
    """Return what the exchange lists, for servers that answer all else badly."""
    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_live.simulation.payloads import exchange_info as listed

    return json.dumps(listed([BTCUSDT_USDM], NOW_MS)).encode()
