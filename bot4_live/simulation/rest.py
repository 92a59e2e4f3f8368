"""What every REST request of the simulated exchange goes through: limits, key, signature, window, errors, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from bot4_live.simulation.auth import authenticate, check_signature, check_window, read_params
from bot4_live.simulation.errors import ApiError
from bot4_live.simulation.exchange import Exchange

EXCHANGE = web.AppKey("exchange", Exchange)


@dataclass(frozen=True)
class Call:
    """One request: the exchange at its moment, the account that asks ("" on public paths) and the parameters."""

    exchange: Exchange
    account: str
    params: dict[str, str]
    now_ms: int


Answer = Callable[[Call], Any]


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers=headers, content_type="application/json")


def _refusal(problem: ApiError, headers: dict[str, str]) -> web.Response:
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return json_response({"code": problem.code, "msg": problem.text}, problem.status, headers)


Weight = int | Callable[[dict[str, str]], int]  # fixed, or by the parameters


def route(method: str, path: str, answer: Answer, weight: Weight = 1, security: str = "NONE") -> web.RouteDef:
    """Return the route of an answer.

    `security` is Binance's: NONE, MARKET_DATA (a key alone), USER_DATA (signed), TRADE (signed, counted as an order,
    and hit by request faults).
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        exchange = request.app[EXCHANGE]
        trades = security == "TRADE"
        if trades and exchange.request_faults.lost_before():
            return _cut_off(request)
        body = (await request.read()).decode(errors="replace") if request.can_read_body else ""
        query = request.raw_path.partition("?")[2]
        headers: dict[str, str] = {}
        try:
            now_ms = exchange.catch_up() // 1_000_000
            params, account = read_params(query, body), ""
            cost = weight if isinstance(weight, int) else weight(params)
            headers["X-MBX-USED-WEIGHT-1M"] = str(exchange.limits.spend(cost, now_ms))
            if exchange.request_faults.refused(path):
                raise exchange.limits.silence(exchange.request_faults.plan.refuse_after_s)
            if security != "NONE":
                key = authenticate(exchange.keys, request.headers.get("X-MBX-APIKEY", ""))
                account = key.account
                if security != "MARKET_DATA":
                    check_signature(key, query, body)
                    check_window(params, now_ms)
            if trades and request.method == "POST":
                headers |= exchange.limits.spend_order(account, now_ms)
            response = json_response(answer(Call(exchange, account, params, now_ms)), headers=headers)
        except ApiError as problem:
            response = _refusal(problem, headers)
        exchange.flush_user_events()
        if trades:
            delay_ms = exchange.request_faults.plan.response_delay_ms
            if delay_ms > 0:
                await asyncio.sleep(delay_ms / 1000)
            if exchange.request_faults.lost_after():
                return _cut_off(request)
        return response

    return web.route(method, path, handle)


def per_symbol(one: int, all_symbols: int) -> Weight:
    """Return the weight of what answers for one symbol or, without the parameter, for all."""
    return lambda params: one if params.get("symbol") else all_symbols


def _cut_off(request: web.Request) -> web.StreamResponse:
    """Break the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)  # never leaves
