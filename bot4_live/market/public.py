"""The venue's public REST answers a feed needs, and where an endpoint may be."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from bot4_live.clock import boottime_ns
from bot4_live.execution.gateways.binance_usdm import instrument_of
from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled, Ticket
from bot4_live.execution.weights import cost
from bot4_live.instrument import Instrument

log = logging.getLogger(__name__)

SNAPSHOT_LEVELS = 1000
LONGEST_NAP_S = 60.0
LOCAL_NAMES = {"localhost", "ip6-localhost"}


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is this machine, by address or by the name localhost."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES


def require_loopback(url: str) -> None:
    """Raise ValueError for an endpoint that is not this machine."""
    if not is_loopback(url):
        raise ValueError(
            f"{url} is not on this machine; start `bot4 exchange` and use its address, or record a venue's public "
            "market data with `bot4 record --venue NAME --symbol NAME --public`"
        )


def stream_url(ws_url: str, *symbols: str) -> str:
    """Return the combined-stream address of the depth, best quotes and trades of some symbols."""
    names = (f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("depth@0ms", "bookTicker", "trade"))
    return f"{ws_url.rstrip('/')}/stream?streams={'/'.join(names)}"


@dataclass(frozen=True)
class ExchangeClock:
    """What `GET /bot4/clock` of the simulated exchange says; times in ns of market time."""

    market_ns: int
    speed_milli: int
    shift_ns: int
    paused: bool
    source: str
    symbol: str


class PublicRest:
    """Unsigned GETs over one keep-alive connection. Use as an async context manager; raises OSError with one line.

    What the venue counts is claimed from the budget that all processes share, and waits as long as that says.
    """

    advice = ""  # what to do when it cannot be reached

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Name the endpoint."""
        self.url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def __aenter__(self) -> Self:
        """Open the session."""
        self.budget = RestBudget(self.url)
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()
        self.budget.close()

    async def claimed(self, path: str, weight: int, priority: Priority) -> bytes:
        """Return the answer of a path that the venue counts, once the budget has room for it."""
        told = 0.0
        while True:
            try:
                ticket = self.budget.claim(weight, priority)
                break
            except Throttled as stop:
                if stop.wait_s > 1.0 and time.monotonic() >= told:
                    log.warning("GET %s%s waits %.1f s: %s", self.url, path, stop.wait_s, stop)
                    told = time.monotonic() + LONGEST_NAP_S
                await asyncio.sleep(min(stop.wait_s, LONGEST_NAP_S))  # a ban may be lifted, an exchange started anew
        return await self.get(path, ticket)

    async def get(self, path: str, ticket: Ticket | None = None) -> bytes:
        """Return the answer of a path; the budget is told what it says of the claim, if there is one."""
        try:
            async with self._session.get(f"{self.url}{path}") as response:
                body = await response.read()
                if ticket is not None:
                    text = body[:500].decode(errors="replace") if response.status != 200 else ""
                    self.budget.note(ticket, response.status, response.headers, text=text)
        except (TimeoutError, aiohttp.ClientError) as error:
            cause = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            if isinstance(error, aiohttp.ClientConnectorError):
                cause = error.os_error.strerror or cause
            raise ConnectionError(f"{self.url} cannot be reached ({cause}){self.advice}") from None
        if response.status != 200:
            raise ConnectionError(f"GET {self.url}{path}: HTTP {response.status} {body[:120]!r}")
        return body


class PublicApi(PublicRest):
    """The public REST of Binance USD-M, or of the exchange that speaks its protocol."""

    advice = "; is the exchange running?"

    def __init__(self, rest_url: str, symbol: str, *, timeout_s: float = 5.0) -> None:
        """Name the endpoint and the symbol that is asked about unless another is named."""
        super().__init__(rest_url, timeout_s=timeout_s)
        self._symbol = symbol

    async def depth(self, symbol: str | None = None) -> bytes:
        """Return the raw depth snapshot, of its own symbol or another, once the budget has room for it.

        Raises OSError when the venue refuses it all the same; the next call then waits as long as it was told.
        """
        path, levels = "/fapi/v1/depth", {"limit": SNAPSHOT_LEVELS}
        query = f"symbol={symbol or self._symbol}&limit={SNAPSHOT_LEVELS}"
        return await self.claimed(f"{path}?{query}", *cost("GET", path, levels))

    async def instrument(self, known: Instrument) -> Instrument:
        """Return the instrument as exchangeInfo has it: `known` when nothing has changed, else its next version.

        Raises ValueError when it is not traded, or for an answer that is no listing.
        """
        path = "/fapi/v1/exchangeInfo"
        body = await self.claimed(path, *cost("GET", path, {}))
        try:
            return instrument_of(orjson.loads(body), known)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ValueError(f"{self.url}{path}: no listing of {known.symbol}: {body[:80]!r}") from None

    async def clock(self) -> ExchangeClock:
        """Return the simulated exchange's clock. Raises ValueError when the answer is not one."""
        body = await self.get("/bot4/clock")
        try:
            answer = orjson.loads(body)
            said = ExchangeClock(
                int(answer["market_ns"]),
                int(answer["speed_milli"]),
                int(answer["shift_ns"]),
                bool(answer["paused"]),
                str(answer["source"]),
                str(answer["symbol"]),
            )
            if not said.paused:
                self.budget.set_clock(said.market_ns, boottime_ns(), said.speed_milli)
            return said
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{self.url}/bot4/clock: not the clock of a simulated exchange: {body[:80]!r}") from None
