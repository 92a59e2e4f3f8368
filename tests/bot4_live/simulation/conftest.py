"""Shared by the tests of the simulated exchange: a short generated market, keys, a server, a signed client."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from yarl import URL

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.simulation.accounts import make_accounts
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.server import Server
from bot4_live.simulation.source import Source, generated_source

TOKEN = "token-of-the-test"
KEYS = {
    "runner-key": {"secret": "runner-secret", "account": "paper", "balance": "10000"},
    "watchdog-key": {"secret": "watchdog-secret", "account": "paper"},
    "other-key": {"secret": "other-secret", "account": "other", "balance": "50"},
}


@pytest.fixture(scope="session")
def market() -> Source:
    """A generated market of 30 s."""
    return generated_source(5, 30.0)


class Client:
    """Signs as Binance documents it, apart from the product's own signing."""

    def __init__(self, server: Server, http: aiohttp.ClientSession, key: str = "runner-key") -> None:
        self.server, self.http, self.key = server, http, key

    async def call(self, method: str, path: str, *, signed: bool = True, **params: Any) -> tuple[int, Any]:
        """Return (status, JSON)."""
        if signed:
            params.setdefault("timestamp", self.server.exchange.now_ms())
        text = urlencode(params)
        if signed:
            secret = KEYS[self.key]["secret"].encode()
            text += "&signature=" + hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        return await self.raw(method, f"{path}?{text}" if text else path)

    async def raw(self, method: str, target: str, **options: Any) -> tuple[int, Any]:
        """Send a target as it is."""
        headers = {"X-MBX-APIKEY": self.key} | options.pop("headers", {})
        url = URL(self.server.rest_url + target, encoded=True)
        async with self.http.request(method, url, headers=headers, **options) as answer:
            self.headers = answer.headers
            return answer.status, await answer.json()

    async def order(self, side: str, price: str, quantity: str, life: str = "GTC", **more: Any) -> tuple[int, Any]:
        """Place a limit order."""
        return await self.call(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side=side, type="LIMIT", timeInForce=life, quantity=quantity,
            price=price, **more,
        )  # fmt: skip

    async def quote(self) -> tuple[int, int]:
        """Return the best bid and ask in ticks."""
        book = self.server.exchange.venue.book
        return book.best(bids=True)[0], book.best(bids=False)[0]

    def price(self, ticks: int) -> str:
        return str(BTCUSDT_USDM.price(ticks))

    async def clock(self, **values: Any) -> tuple[int, Any]:
        """Change the clock."""
        async with self.http.post(
            self.server.rest_url + "/bot4/clock", json=values, headers={"X-Bot4-Token": TOKEN}
        ) as answer:
            return answer.status, await answer.json()


@pytest.fixture
def serve(market: Source) -> Callable[..., Any]:
    """Start an exchange over the generated market, paused a second in, and yield a client of it."""

    @asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Client]:
        keys, accounts = make_accounts(KEYS, BTCUSDT_USDM)
        options = {"paused": True, "from_ns": market.start_ns + 1_000_000_000} | options
        exchange = Exchange(options.pop("source", market), keys, accounts, **options)
        async with Server(exchange, TOKEN) as server, aiohttp.ClientSession() as http:
            yield Client(server, http)

    return started
