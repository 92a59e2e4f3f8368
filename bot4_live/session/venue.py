"""Where the session trades: only on loopback, and by the market clock of what is there."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot4_live.clock import MS, MarketClock
from bot4_live.execution.gateways.binance_usdm import Gateway
from bot4_live.execution.rest import RestClient, VenueError, VenueRejected
from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled
from bot4_live.safety.venue import KEY_CODES

SAMPLES = 7


def require_loopback(url: str, setting: str) -> None:
    """Raise ValueError unless every address that the URL's host resolves to is a loopback address."""
    host = urlsplit(url).hostname
    if not host:
        raise ValueError(f"{setting}={url} names no host; give one such as http://127.0.0.1:8411")
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except socket.gaierror:
        raise ValueError(f"{setting}: host {host} does not resolve; paper trading needs a loopback exchange") from None
    if not all(ipaddress.ip_address(str(address).split("%")[0]).is_loopback for address in addresses):
        raise ValueError(
            f"{setting}: {host} is not loopback; only paper trading against an exchange on this machine is allowed "
            "(start one with `bot4 exchange`)"
        )


@dataclass(frozen=True)
class Market:
    """The market's clock as the exchange gives it. `simulated` is False where there is no /bot4/clock."""

    clock: MarketClock
    error_ns: int
    shift_ns: int
    source: str
    simulated: bool
    paused: bool


async def _ask(session: aiohttp.ClientSession, url: str, budget: RestBudget | None) -> tuple[Any, int, int]:
    ticket = budget.claim(1, Priority.QUERY) if budget is not None else None
    sent = time.monotonic_ns()
    async with session.get(url) as response:
        body = await response.json() if response.status == 200 else None
        if budget is not None and ticket is not None:
            budget.note(ticket, response.status, response.headers)
    return body, sent, time.monotonic_ns()


async def read_market(rest_url: str, timeout_s: float = 3.0) -> Market:
    """Read the market's clock; the sample with the shortest round trip counts. Raises OSError when nothing answers."""
    base = rest_url.rstrip("/")
    best: tuple[int, int, dict[str, Any]] | None = None
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session:
            answer, _, _ = await _ask(session, f"{base}/bot4/clock", None)
            simulated = answer is not None
            path, budget = ("/bot4/clock", None) if simulated else ("/fapi/v1/time", RestBudget(base))
            for _ in range(SAMPLES):
                answer, sent, received = await _ask(session, f"{base}{path}", budget)
                if answer is not None and (best is None or received - sent < best[0]):
                    best = (received - sent, (sent + received) // 2, answer)
            if budget is not None:
                budget.close()
    except Throttled as stop:
        raise ConnectionError(f"{base} cannot be asked for its time: {stop}; again in {stop.wait_s:.0f} s") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ConnectionError(
            f"no exchange answers at {base} ({type(error).__name__}); start one with `bot4 exchange`, "
            "or set BOT4_REST_URL to where it is"
        ) from None
    if best is None:
        raise ConnectionError(f"{base} answers, but not as an exchange; check BOT4_REST_URL")
    trip, middle, body = best
    if simulated:
        speed = int(body["speed_milli"])
        clock = MarketClock(int(body["market_ns"]), middle, speed)
        source, shift, paused = str(body.get("source", "")), int(body["shift_ns"]), bool(body.get("paused"))
    else:
        speed, source, shift, paused = 1000, base, 0, False
        clock = MarketClock(int(body["serverTime"]) * MS + MS // 2, middle, speed)
    return Market(clock, trip // 2 * speed // 1000, shift, source, simulated, paused)


async def require_keys(rest: RestClient, gateway: Gateway) -> None:
    """Raise ValueError when the venue refuses the API key; other troubles are for the session, which tries again."""
    try:
        await rest.call(gateway.open_orders())
    except VenueRejected as error:
        if error.code in KEY_CODES:
            raise ValueError(
                f"the exchange refuses BOT4_API_KEY and BOT4_API_SECRET ({error}); set a pair that it knows "
                "(`bot4 exchange --accounts`)"
            ) from None
    except VenueError:
        return


async def wait_until_running(rest_url: str, poll_s: float = 0.05) -> Market:
    """Return the market's clock once it is not paused: a clock taken from a standing market would run ahead of it."""
    market = await read_market(rest_url)
    while market.paused:
        await asyncio.sleep(poll_s)
        market = await read_market(rest_url)
    return market


async def wait_until_past(clock: MarketClock, ns: int, most_s: float = 10.0) -> bool:
    """Wait until the clock is past a time, so that no two sessions of a journal overlap; return whether it is.

    A session goes on a moment by its own clock after its market was stopped, or the machine's clock was set back a
    little meanwhile. What is further off than `most_s` is not waited for.
    """
    missing = clock.wall_s(ns + 1 - clock.now_ns())
    if missing > most_s:
        return False
    while missing > 0:
        await asyncio.sleep(missing)
        missing = clock.wall_s(ns + 1 - clock.now_ns())
    return True
