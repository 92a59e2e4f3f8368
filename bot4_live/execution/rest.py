"""The venue's REST API: signed requests and a plain verdict on each.

There are four ends of a request, and what may be done next differs: an answer; `VenueRejected`, it was refused and
had no effect; `NotSent`, no byte of it left; `UnknownFate`, it may have been executed: ask, never resend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr
from yarl import URL

from bot4_live.clock import boottime_ns
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled, Ticket, account_tag
from bot4_live.execution.signing import signed_query
from bot4_live.execution.weights import cost, counted

TIMESTAMP_OUTSIDE_WINDOW = -1021
# Errors by which the venue says that it does not know itself (Binance: "execution status unknown").
UNKNOWN_CODES = {-1000, -1001, -1006, -1007}
FREE = Ticket(-1, 0, 0, 0)  # of a request that nobody counts


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


class RateLimited(NotSent):
    """The request budget has no room for it now; `wait_s` (real, jittered) is when it may have."""

    def __init__(self, text: str, wait_s: float) -> None:
        super().__init__(text)
        self.wait_s = wait_s


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

    `timeout_s` is real time. `budget` is shared with every process that asks this venue from here; by default the one
    of `base_url`.
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
        budget: RestBudget | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._key = api_key
        self._secret = secret
        self.time = exchange_time
        self.recv_window_ms = recv_window_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._own_budget = budget is None
        self.budget = RestBudget(self._base) if budget is None else budget
        self._tag = account_tag(api_key.get_secret_value())
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
        if self._own_budget:
            self.budget.close()

    async def call(self, request: Request, guard: Callable[[], None] | None = None) -> Any:
        """Send `request` and return the parsed answer. Raises VenueRejected, NotSent (RateLimited), UnknownFate or the
        guard's own.

        The guard runs when the connection is ready, just before the first byte is written: what it raises leaves
        nothing sent.
        """
        where = f"{request.method} {request.path}"
        if self._session is None:
            raise NotSent(f"{where}: the client is closed")
        ticket = self._claim(request, where)
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
        finally:
            if not sending.sent and ticket is not FREE:
                self.budget.give_back(ticket)
        answer, code, text = _parse(body)
        if ticket is not FREE:
            self.budget.note(ticket, status, answer_headers, code, text)
        if status < 300 and answer is not None:
            if isinstance(answer, dict) and "rateLimits" in answer:
                self.budget.learn(answer["rateLimits"])
            return answer
        # Only an error of the 4xx kind with a code says that nothing was done.
        if 400 <= status < 500 and code not in UNKNOWN_CODES:
            raise VenueRejected(where, status, code, text)
        raise UnknownFate(f"{where}: HTTP {status} {text}".rstrip())

    def _claim(self, request: Request, where: str) -> Ticket:
        if not counted(request.path):
            return FREE
        weight, priority = cost(request.method, request.path, request.params)
        try:
            return self.budget.claim(weight, priority, self._tag, order=priority == Priority.ORDER)
        except Throttled as stop:
            raise RateLimited(f"{where}: {stop}; again in {stop.wait_s:.1f} s", stop.wait_s) from None

    def _query(self, request: Request) -> tuple[str, dict[str, str]]:
        if not request.signed:
            return "&".join(f"{k}={v}" for k, v in request.params.items()), self._key_header()
        stamped = dict(request.params) | {"recvWindow": self.recv_window_ms, "timestamp": self.time.now_ms()}
        return signed_query(stamped, self._secret.get_secret_value()), self._key_header()

    def _key_header(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {"X-MBX-APIKEY": key} if key else {}

    async def server_time_ms(self) -> int:
        """Return the venue's time in ms."""
        answer = await self.call(Request("GET", "/fapi/v1/time", signed=False))
        return int(answer["serverTime"])

    async def sync_time(self) -> None:
        """Measure the offset of the venue's clock by a few more samples."""
        await self.time.sync(self.server_time_ms)
        self._tell_time()

    async def refresh_time(self) -> None:
        """Take the sample that is due (`time.due`)."""
        await self.time.refresh(self.server_time_ms)
        self._tell_time()

    def _tell_time(self) -> None:
        self.budget.set_clock(self.time.now_ns(), boottime_ns(), self.time.clock.speed_milli)


def _parse(body: bytes) -> tuple[Any, int, str]:
    """Return (answer, error code, error text) of a body; the answer is None when it is not JSON."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, 0, ""
    if not isinstance(answer, dict):
        return answer, 0, ""
    code = answer.get("code", 0)
    return answer, code if isinstance(code, int) else 0, str(answer.get("msg", ""))
