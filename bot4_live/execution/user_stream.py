"""The venue's user stream: our orders, fills and balances as they happen, on a listen key that is kept alive.

A break of any kind is told to the owner, who reconciles after the next connection: what happened in between is only
known by asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from bot4_live.execution.rest import Request, RestClient, VenueError

KEEPALIVE_MS = 20 * 60_000  # a listen key lives 60 minutes (exchange time)
PING_S = 5.0  # the stream is silent by nature: only an answered ping says that it lives
FIRST_RETRY_S, LAST_RETRY_S = 0.05, 5.0


class KeyExpired(Exception):
    """The venue has ended the listen key."""


class UserStream:
    """Connects, reads, reconnects until cancelled.

    `on_up()` is called when messages flow, before the first is handled; `on_down(why)` once for each break;
    `on_message(message)` for each parsed message, in order. `on_bad(why)` tells of a message that could not be read.
    """

    def __init__(
        self,
        rest: RestClient,
        ws_url: str,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_message: Callable[[dict[str, Any]], None],
        on_bad: Callable[[str], None],
    ) -> None:
        self._rest = rest
        self._base = ws_url.rstrip("/")
        self._on_up, self._on_down, self._on_message, self._on_bad = on_up, on_down, on_message, on_bad
        self.connected = False
        self.connects = 0
        self.messages = 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = FIRST_RETRY_S
        while True:
            try:
                key = await self._listen_key()
                # The key is a secret: it is in the path only, never in a message or a log.
                async with connect(
                    f"{self._base}/ws/{key}",
                    compression=None,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    max_size=1 << 20,
                    open_timeout=5,
                    close_timeout=1,
                    proxy=None,
                ) as socket:
                    pause = FIRST_RETRY_S
                    await self._read(socket)
                why = "closed by the venue"
            except KeyExpired:
                why = "the listen key expired"
            except VenueError as error:
                why = str(error)
            except (WebSocketException, InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
                why = f"{type(error).__name__}"
            if self.connected:
                self.connected = False
                self._on_down(why)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY_S)

    async def _listen_key(self) -> str:
        answer = await self._rest.call(Request("POST", "/fapi/v1/listenKey", signed=False))
        return str(answer["listenKey"])

    async def _read(self, socket: ClientConnection) -> None:
        self.connected = True
        self.connects += 1
        self._on_up()
        keeper = asyncio.create_task(self._keep_alive())
        try:
            async for frame in socket:
                self.messages += 1
                self._take(frame)
        finally:
            keeper.cancel()

    def _take(self, frame: str | bytes) -> None:
        try:
            message = orjson.loads(frame)
            if not isinstance(message, dict):
                raise ValueError("not an object")
        except ValueError as error:
            self._on_bad(f"user stream: a message that is not JSON ({error})")
            return
        if message.get("e") == "listenKeyExpired":
            raise KeyExpired
        try:
            self._on_message(message)
        except (ValueError, KeyError, TypeError) as error:
            self._on_bad(f"user stream: a {message.get('e')} that cannot be read ({error!r})")

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._rest.time.real_s(KEEPALIVE_MS))
            try:
                await self._rest.call(Request("PUT", "/fapi/v1/listenKey", signed=False))
            except VenueError as error:
                self._on_bad(f"user stream: the listen key was not renewed ({error})")
