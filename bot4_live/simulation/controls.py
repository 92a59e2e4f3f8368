"""Controls of the simulated exchange, which no venue has: its clock, bad frames, faults, a change of tick or filters.

Changes need the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from bot4_live.simulation.bad_frames import read as read_bad_frames
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.faults import FaultPlan
from bot4_live.simulation.instrument_change import read_change
from bot4_live.simulation.payloads import exchange_info
from bot4_live.simulation.rest import EXCHANGE, json_response

TOKEN = web.AppKey("token", str)
TOKEN_HEADER = "X-Bot4-Token"
CLOCK_FIELDS = {"speed_milli": int, "paused": bool, "until_ns": int}


def routes() -> list[web.RouteDef]:
    """Return the routes under /bot4."""
    return [
        web.get("/bot4/clock", _clock),
        web.post("/bot4/clock", _changing(_set_clock)),
        web.post("/bot4/bad-frames", _changing(_inject)),
        web.post("/bot4/faults", _changing(_faults)),
        web.post("/bot4/instrument", _changing(_set_instrument)),
    ]


async def _clock(request: web.Request) -> web.Response:
    return json_response(request.app[EXCHANGE].clock())


def _changing(change: Callable[[Exchange, Any], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap a change: the token first, then JSON, then its own errors as one line."""

    async def handle(request: web.Request) -> web.Response:
        token = request.app[TOKEN]
        given = request.headers.get(TOKEN_HEADER, "")
        if not token:
            return json_response({"error": "this exchange was started without BOT4_EXCHANGE_TOKEN"}, 403)
        if not hmac.compare_digest(token.encode(), given.encode()):
            return json_response({"error": f"{TOKEN_HEADER} is missing or wrong"}, 403)
        try:
            return json_response(change(request.app[EXCHANGE], orjson.loads(await request.read())))
        except ValueError as problem:
            return json_response({"error": str(problem)}, 400)

    return handle


def _set_clock(exchange: Exchange, values: Any) -> Any:
    if not isinstance(values, dict) or not values or not set(values) <= set(CLOCK_FIELDS):
        raise ValueError(f"expected a JSON object with any of {', '.join(CLOCK_FIELDS)}")
    for name, value in values.items():
        if type(value) is not CLOCK_FIELDS[name]:
            raise ValueError(f"{name} must be {CLOCK_FIELDS[name].__name__}, not {value!r}")
    exchange.set_clock(
        speed_milli=values.get("speed_milli"), paused=values.get("paused"), until_ns=values.get("until_ns")
    )
    return exchange.clock()


def _set_instrument(exchange: Exchange, values: Any) -> Any:
    exchange.set_instrument(read_change(values, exchange.instrument))
    return exchange_info(exchange.instruments, exchange.now_ms())


def _inject(exchange: Exchange, values: Any) -> Any:
    frames = read_bad_frames(values)
    exchange.inject(frames)
    return {"injected": len(frames)}


def _faults(exchange: Exchange, values: Any) -> Any:
    exchange.set_faults(FaultPlan.read(values))
    return {}
