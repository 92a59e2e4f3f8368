"""The simulated exchange on a port: one aiohttp application for REST, WebSocket and controls."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from bot4_live.execution.rest_budget import RestBudget
from bot4_live.simulation import controls, rest_history, rest_market, rest_trading
from bot4_live.simulation.exchange import Exchange
from bot4_live.simulation.rest import EXCHANGE, json_response
from bot4_live.simulation.streams import Listener, websocket_frame

MAX_STREAMS = 1024


def make_app(exchange: Exchange, token: str) -> web.Application:
    """Return the application. Without a token nobody can use the controls that change anything."""
    app = web.Application(middlewares=[_unknown_path])
    app[EXCHANGE] = exchange
    app[controls.TOKEN] = token
    app.add_routes([*rest_market.routes(), *rest_history.routes(), *rest_trading.routes(), *controls.routes()])
    app.add_routes(
        [web.get("/stream", _combined), web.get("/ws/{name}", _single), web.get("/ws", _single), web.get("/", _hello)]
    )
    return app


class Server:
    """The exchange, listening. Use as an async context manager; `port` is the real one after entering."""

    def __init__(self, exchange: Exchange, token: str = "", host: str = "127.0.0.1", port: int = 0) -> None:
        """Prepare; nothing listens yet."""
        self.exchange = exchange
        self.host, self.port = host, port
        self._runner = web.AppRunner(make_app(exchange, token), access_log=None, shutdown_timeout=1.0)
        self._task: asyncio.Task[None] | None = None

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def rest_url(self) -> str:
        """Return the REST endpoint."""
        return f"http://{self._address}"

    @property
    def ws_url(self) -> str:
        """Return the WebSocket endpoint."""
        return f"ws://{self._address}"

    async def __aenter__(self) -> Server:
        """Listen and let the market run. Raises OSError when the port is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port, backlog=1024).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        self._budget = RestBudget(self.rest_url)
        self._budget.forget()  # what another exchange at this address counted, or barred, is over
        self._task = asyncio.create_task(self.exchange.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the market and close every connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for listener in list(self.exchange.hub.listeners):
            listener.transport.abort()
        await self._runner.cleanup()
        self._budget.close()

    async def wait(self) -> None:
        """Return only when the market fails, raising what it failed of."""
        if self._task is not None:
            await self._task


async def _hello(request: web.Request) -> web.Response:
    return json_response({"exchange": "bot4 simulated", "clock": "/bot4/clock", "rest": "/fapi/v1/exchangeInfo"})


@web.middleware
async def _unknown_path(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer paths that are not served with JSON, as the venue does."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as problem:
        if problem.status < 400:
            raise
        return json_response({"code": -5000, "msg": f"Path {request.path}, Method {request.method} is invalid"}, 404)
    return response


async def _combined(request: web.Request) -> web.StreamResponse:
    names = [name for name in request.query.get("streams", "").split("/") if name]
    return await _listen(request, names, combined=True)


async def _single(request: web.Request) -> web.StreamResponse:
    name = request.match_info.get("name", "")
    return await _listen(request, [name] if name else [], combined=False)


async def _listen(request: web.Request, names: list[str], *, combined: bool) -> web.StreamResponse:
    """Serve one connection until it closes. A name that is a valid listen key makes it a user stream."""
    exchange = request.app[EXCHANGE]
    socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 16)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        return socket
    listener = Listener(transport, combined)
    _subscribe(exchange, listener, names)
    exchange.hub.add(listener)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                answer = _request(exchange, listener, message.data)
                if not listener.transport.is_closing():
                    listener.transport.write(websocket_frame(orjson.dumps(answer)))
    finally:
        exchange.hub.listeners.discard(listener)
    return socket


def _subscribe(exchange: Exchange, listener: Listener, names: list[str]) -> None:
    for name in names[:MAX_STREAMS]:
        account = None if "@" in name else exchange.listen_keys.account_of(name, exchange.now_ms())
        if account is not None:
            listener.account, listener.listen_key = account, name
        else:
            listener.subscribe(name)


def _request(exchange: Exchange, listener: Listener, text: str) -> Any:
    """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
    try:
        message = orjson.loads(text)
        method, number = message["method"], message.get("id")
        names = [str(name) for name in message.get("params", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"error": {"code": 3, "msg": "Invalid JSON: expected {method, params, id}"}}
    if method == "SUBSCRIBE":
        _subscribe(exchange, listener, names)
    elif method == "UNSUBSCRIBE":
        listener.unsubscribe(names)
    elif method == "LIST_SUBSCRIPTIONS":
        return {"result": sorted(listener.streams), "id": number}
    else:
        return {"error": {"code": 2, "msg": f"Invalid request: unknown method {method!r}"}, "id": number}
    return {"result": None, "id": number}
