"""The venue's REST API: signed requests and a plain verdict on each.

There are four ends of a request, and what may be done next differs: an answer; `VenueRejected`, it was refused and
had no effect; `NotSent`, no byte of it left; `UnknownFate`, it may have been executed: ask, never resend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr
from yarl import URL

from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.signing import signed_query

TIMESTAMP_OUTSIDE_WINDOW = -1021
# Errors by which the venue says that it does not know itself (Binance: "execution status unknown").
UNKNOWN_CODES = {-1000, -1001, -1006, -1007}
RATE_STATUS = {418, 429}
WEIGHT_LIMIT = 2400  # a minute and IP address (exchangeInfo, rateLimits)
WEIGHT_RESERVE = 0.8  # what is beyond is for cancels, queries and the watchdog


class VenueError(Exception):
    """A request that brought no answer. The text never holds the query, which carries the signature."""


class VenueRejected(VenueError):
    """The venue refused the request; it had no effect."""

    def __init__(self, where: str, status: int, code: int, text: str) -> None:
        super().__init__(f"{where}: refused with {code} ({text or 'no message'}, HTTP {status})")
        self.status = status
        self.code = code


class NotSent(VenueError):
    """No byte of the request left this machine."""


class UnknownFate(VenueError):
    """The request left, or part of it; what became of it is not known."""


class Withheld(Exception):
    """Raised by a guard to stop a request just before its bytes leave; `cause` is the guard's."""

    def __init__(self, cause: int) -> None:
        super().__init__(f"withheld, cause {cause}")
        self.cause = cause


@dataclass(frozen=True)
class Request:
    """One call: `params` without timestamp and signature, which are added last."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    signed: bool = True


@dataclass
class _Sending:
    """How far one request has come; the trace hook below fills it."""

    guard: Callable[[], None] | None
    sent: bool = False


async def _before_bytes(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    """Run the guard: aiohttp calls this on a ready connection, immediately before it writes the request."""
    sending: _Sending = context.trace_request_ctx
    if sending.guard is not None:
        sending.guard()
    sending.sent = True


class RestClient:
    """An async client of one account. Use as a context manager.

    `timeout_s` is real time. `used_weight` is what the venue last said of this minute's budget, `blocked_until`
    (CLOCK_MONOTONIC, seconds) the time before which it wants no request.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr,
        secret: SecretStr,
        exchange_time: ExchangeTime,
        recv_window_ms: int,
        *,
        timeout_s: float = 3.0,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._key = api_key
        self._secret = secret
        self.time = exchange_time
        self.recv_window_ms = recv_window_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self.used_weight = 0
        self._weight_minute = 0
        self.blocked_until = 0.0
        self.requests = 0

    async def __aenter__(self) -> RestClient:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_before_bytes)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=60.0),
            timeout=self._timeout,
            trace_configs=[trace],
            headers={"Accept": "application/json"},
            skip_auto_headers={"Content-Type", "User-Agent", "Accept-Encoding"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, request: Request, guard: Callable[[], None] | None = None) -> Any:
        """Send `request` and return the parsed answer. Raises VenueRejected, NotSent, UnknownFate or the guard's own.

        The guard runs when the connection is ready, just before the first byte is written: what it raises leaves
        nothing sent.
        """
        where = f"{request.method} {request.path}"
        if self._session is None:
            raise NotSent(f"{where}: the client is closed")
        if time.monotonic() < self.blocked_until:
            raise NotSent(f"{where}: the venue asked for silence (rate limit)")
        query, headers = self._query(request)
        url = URL(f"{self._base}{request.path}{'?' if query else ''}{query}", encoded=True)
        sending = _Sending(guard)
        self.requests += 1
        try:
            async with self._session.request(
                request.method, url, headers=headers, trace_request_ctx=sending, allow_redirects=False
            ) as response:
                body = await response.read()
                status, answer_headers = response.status, response.headers
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            cause = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            if not sending.sent:
                raise NotSent(f"{where}: {self._base} cannot be reached ({cause})") from None
            raise UnknownFate(f"{where}: {cause} after it was sent") from None
        self._note_limits(status, answer_headers)
        return self._verdict(where, status, body)

    @property
    def weight_spent(self) -> bool:
        """Return whether so much of this minute's request weight is used that only cancels and queries may go on."""
        return self.used_weight >= WEIGHT_RESERVE * WEIGHT_LIMIT and self._weight_minute == self.time.now_ms() // 60_000

    def _query(self, request: Request) -> tuple[str, dict[str, str]]:
        if not request.signed:
            return "&".join(f"{k}={v}" for k, v in request.params.items()), self._key_header()
        stamped = dict(request.params) | {"recvWindow": self.recv_window_ms, "timestamp": self.time.now_ms()}
        return signed_query(stamped, self._secret.get_secret_value()), self._key_header()

    def _key_header(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {"X-MBX-APIKEY": key} if key else {}

    def _note_limits(self, status: int, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdigit():
            self.used_weight, self._weight_minute = int(used), self.time.now_ms() // 60_000
        if status in RATE_STATUS:
            wait = headers.get("Retry-After", "")
            self.blocked_until = time.monotonic() + (float(wait) if wait.isdigit() else 1.0)

    @staticmethod
    def _verdict(where: str, status: int, body: bytes) -> Any:
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if status < 300 and answer is not None:
            return answer
        code = answer.get("code", 0) if isinstance(answer, dict) else 0
        text = str(answer.get("msg", "")) if isinstance(answer, dict) else ""
        # Only an error of the 4xx kind with a code says that nothing was done.
        if 400 <= status < 500 and code not in UNKNOWN_CODES:
            raise VenueRejected(where, status, int(code), text)
        raise UnknownFate(f"{where}: HTTP {status} {text}".rstrip())

    async def server_time_ms(self) -> int:
        """Return the venue's time in ms."""
        answer = await self.call(Request("GET", "/fapi/v1/time", signed=False))
        return int(answer["serverTime"])

    async def sync_time(self) -> None:
        """Measure the offset of the venue's clock anew."""
        await self.time.sync(self.server_time_ms)
