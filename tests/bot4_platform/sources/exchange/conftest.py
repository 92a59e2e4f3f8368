"""Clients of the simulated exchange and of a scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bot4_live.simulation.server import Server
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.hosts import Hosts
from bot4_platform.sources.settings import HttpSettings
from tests.local_exchange import MARKET, NOW_MS, local_exchange


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
