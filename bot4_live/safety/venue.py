"""The watchdog's own way to the venue: Binance USD-M's REST by http.client and hmac, blocking, one connection.

Nothing here is shared with the runner but the request budget, which keeps a reserve for it: another key, another
connection, no event loop, no compiled code. Requests that may be repeated are (once, on a fresh connection); an order
never is: when its fate is in doubt OrderUnknown is raised and the caller asks. Secrets appear in no error and no repr.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from bot4_live.clock import MS, boottime_ns
from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled, Ticket, account_tag
from bot4_live.execution.weights import cost
from bot4_live.safety.exchange_clock import ExchangeClock

QUERY_WINDOW_MS = 5_000  # of questions and cancels: one that comes late does no harm
ORDER_WINDOW_MS = 1_000  # of orders: nothing may act after it was given up
KEY_CODES = {-1022, -2008, -2014, -2015}  # bad signature, bad key id, bad key format, key not permitted
_CLOCK_ERROR, _NO_SUCH_ENDPOINT = -1021, -5000
_UNKNOWN_CODES = {-1000, -1001, -1006, -1007}  # the venue does not know itself what became of the request


class VenueError(OSError):
    """The venue answered with an error; `code` is its number, `status` that of HTTP."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(f"the venue refused ({status}, {code}): {text}")
        self.status, self.code = status, code

    @property
    def refuses_key(self) -> bool:
        """Return whether the key or its signature is what the venue does not accept."""
        return self.code in KEY_CODES


class VenueSilenced(VenueError):
    """Not sent: the venue has answered 429 or 418 and wants no request for `wait_s` more real seconds."""

    def __init__(self, stop: Throttled) -> None:
        super().__init__(418 if stop.banned else 429, 0, f"{stop}; nothing was sent")
        self.wait_s = stop.wait_s


class VenueUnreachable(ConnectionError):
    """No answer: refused, timed out or broken off."""


class OrderUnknown(ConnectionError):
    """An order was sent and no answer came: ask for it by its client id, never send it again."""

    def __init__(self, client_id: str, cause: Exception) -> None:
        super().__init__(f"fate of order {client_id} is not known ({cause})")
        self.client_id = client_id


@dataclass(frozen=True)
class Position:
    """An open position; `amount` is signed, in base currency."""

    symbol: str
    amount: Decimal
    mark: Decimal
    side: str = "BOTH"  # LONG or SHORT in hedge mode


FILTERS_S = 300.0


@dataclass(frozen=True)
class Filters:
    """What an order's price and quantity must fit."""

    tick: Decimal
    lot: Decimal
    max_qty: Decimal


class SafetyVenue:
    """A blocking client for one account. Errors: VenueError, VenueUnreachable, OrderUnknown (all OSError)."""

    def __init__(self, rest_url: str, api_key: str, api_secret: str, *, timeout_s: float = 1.0) -> None:
        """`timeout_s` bounds connecting and each answer. Raises ValueError for a URL that is not http(s)."""
        parts = urlsplit(rest_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not a REST endpoint: {rest_url}")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._key, self._secret, self._timeout = api_key, api_secret.encode(), timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._filters: dict[str, Filters] = {}
        self._filters_at = 0.0
        self.clock = ExchangeClock()
        self._tag = account_tag(api_key)
        self._budget = _budget(rest_url)

    def twin(self) -> SafetyVenue:
        """Return a client of the same account on a connection of its own, knowing what this one knows."""
        other = copy.copy(self)
        other._connection = None
        other._filters, other.clock = dict(self._filters), copy.copy(self.clock)
        return other

    def __repr__(self) -> str:
        return f"SafetyVenue({self._host}:{self._port})"

    # Market.

    def sync_time(self) -> int:
        """Read the venue's clock, keep the offset and return its time, ms."""
        before = time.monotonic_ns()
        server_ms = int(self._public("/fapi/v1/time", {})["serverTime"])
        self.clock.sample(server_ms, before, time.monotonic_ns())
        if self.clock.rate_known:
            at, speed = (self.clock.now_ms() * MS, boottime_ns()), round(self.clock.rate * 1000)
            self._tell(lambda budget: budget.set_clock(*at, speed))
        return server_ms

    def best(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """Return best bid and ask; None when a side is empty."""
        book = self._public("/fapi/v1/depth", {"symbol": symbol, "limit": 5})
        if not book["bids"] or not book["asks"]:
            return None
        return Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0])

    def filters(self, symbol: str) -> Filters:
        """Return tick, lot and largest quantity of a symbol. Venues change them: asked again after `FILTERS_S`.

        When the venue does not answer then, what it said before is better than nothing: a kill must go on.
        """
        stale = time.monotonic() - self._filters_at > FILTERS_S
        if symbol not in self._filters or stale:
            try:
                self._ask_filters()
            except OSError:
                if symbol not in self._filters:
                    raise
        if symbol not in self._filters:
            raise VenueError(200, 0, f"it does not list {symbol}")
        return self._filters[symbol]

    def _ask_filters(self) -> None:
        for entry in self._public("/fapi/v1/exchangeInfo", {})["symbols"]:
            rules = {rule["filterType"]: rule for rule in entry["filters"]}
            price, lot = rules["PRICE_FILTER"], rules.get("MARKET_LOT_SIZE", rules["LOT_SIZE"])
            self._filters[entry["symbol"]] = Filters(
                Decimal(price["tickSize"]), Decimal(rules["LOT_SIZE"]["stepSize"]), Decimal(lot["maxQty"])
            )
        self._filters_at = time.monotonic()

    # Account.

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the open orders of the whole account."""
        orders: list[dict[str, Any]] = self._signed("GET", "/fapi/v1/openOrders", {})
        return orders

    def positions(self) -> list[Position]:
        """Return the positions that are not flat, of the whole account."""
        try:
            rows = self._signed("GET", "/fapi/v3/positionRisk", {})
        except VenueError as error:
            if error.status != 404:
                raise
            rows = self._signed("GET", "/fapi/v2/positionRisk", {})
        found = (
            Position(
                row["symbol"],
                Decimal(row["positionAmt"]),
                Decimal(row.get("markPrice") or 0),
                row.get("positionSide", "BOTH"),
            )
            for row in rows
        )
        return [position for position in found if position.amount]

    def cancel_all(self, symbol: str) -> None:
        """Cancel every open order of a symbol."""
        self._signed("DELETE", "/fapi/v1/allOpenOrders", {"symbol": symbol})

    def cancel_algo(self, symbol: str) -> bool:
        """Cancel every open conditional (stop) order of a symbol; False where the venue has no such endpoint."""
        try:
            self._signed("DELETE", "/fapi/v1/algoOpenOrders", {"symbol": symbol})
        except VenueError as error:
            if error.status in (404, 405) or error.code == _NO_SUCH_ENDPOINT:
                return False
            raise
        return True

    def reduce_only_ioc(self, position: Position, price: Decimal, client_id: str) -> dict[str, Any]:
        """Send an IOC limit order at `price` that closes `position`, or as much as one order may; return the answer.

        Raises OrderUnknown when no answer came.
        """
        filters = self.filters(position.symbol)
        quantity = min(abs(position.amount), filters.max_qty)
        params: dict[str, Any] = {
            "symbol": position.symbol,
            "side": "SELL" if position.amount > 0 else "BUY",
            "type": "LIMIT",
            "timeInForce": "IOC",
            "quantity": f"{quantity:f}",
            "price": f"{price:f}",
            "newClientOrderId": client_id,
            "newOrderRespType": "RESULT",
        }
        if position.side == "BOTH":
            params["reduceOnly"] = "true"
        else:
            params["positionSide"] = position.side  # in hedge mode closing orders only reduce
        try:
            return self._signed("POST", "/fapi/v1/order", params, window_ms=ORDER_WINDOW_MS, repeat=False)
        except VenueUnreachable as error:
            raise OrderUnknown(client_id, error) from error
        except VenueError as error:
            if not 400 <= error.status < 500 or error.code in _UNKNOWN_CODES:
                raise OrderUnknown(client_id, error) from error
            raise  # only an error of the 4xx kind says that nothing was done

    def query(self, symbol: str, client_id: str) -> dict[str, Any]:
        """Return an order by its client id."""
        order: dict[str, Any] = self._signed(
            "GET", "/fapi/v1/order", {"symbol": symbol, "origClientOrderId": client_id}
        )
        return order

    def signed_get(self, path: str, params: dict[str, Any]) -> Any:
        """Return the answer to any signed query."""
        return self._signed("GET", path, params)

    # The wire.

    def _public(self, path: str, params: dict[str, Any]) -> Any:
        return self._send("GET", path, urlencode(params), repeat=True)

    def _signed(
        self, method: str, path: str, params: dict[str, Any], *, window_ms: int = QUERY_WINDOW_MS, repeat: bool = True
    ) -> Any:
        if not self.clock.known:
            self.sync_time()
        for attempt in (1, 2):
            stamped = {**params, "recvWindow": window_ms, "timestamp": self.clock.now_ms()}
            text = urlencode(stamped)
            signature = hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
            try:
                return self._send(method, path, f"{text}&signature={signature}", repeat=repeat)
            except VenueError as error:
                if error.code != _CLOCK_ERROR or attempt == 2:
                    raise
                self.sync_time()
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, query: str, *, repeat: bool) -> Any:
        try:
            return self._exchange(method, path, query)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, VenueError):
                raise
            self.close()
            if not repeat:
                raise VenueUnreachable(self._describe(error)) from error
        try:
            return self._exchange(method, path, query)
        except VenueError:
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise VenueUnreachable(self._describe(error)) from error

    def _describe(self, error: Exception) -> str:
        return f"{self._host}:{self._port} does not answer ({type(error).__name__}: {error})"

    def _claim(self, method: str, path: str, query: str) -> Ticket | None:
        """Take the request from the reserve that the shared budget keeps for a kill; None without a budget."""
        if self._budget is None:
            return None
        name = path.rpartition("/")[2]
        weight, _ = cost(method, path, dict(parse_qsl(query)))
        try:
            return self._budget.claim(weight, Priority.KILL, self._tag, order=(method, name) == ("POST", "order"))
        except Throttled as stop:
            raise VenueSilenced(stop) from None
        except OSError:
            self._budget = None  # shared memory fails: a kill goes on without it
            return None

    def _tell(self, tell: Callable[[RestBudget], None]) -> None:
        if self._budget is not None:
            try:
                tell(self._budget)
            except OSError:
                self._budget = None

    def _exchange(self, method: str, path: str, query: str) -> Any:
        ticket = self._claim(method, path, query)
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=self._timeout)
        headers = {"X-MBX-APIKEY": self._key, "Accept": "application/json"}
        target, body = f"{self._prefix}{path}", None
        if method == "POST":
            body = query.encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif query:
            target = f"{target}?{query}"
        self._connection.request(method, target, body=body, headers=headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        known = value if isinstance(value, dict) else {}
        if ticket is not None:
            code, text = known.get("code", 0) if answer.status >= 400 else 0, str(known.get("msg", ""))
            self._tell(lambda budget: budget.note(ticket, answer.status, answer.headers, code, text))
            self._tell(lambda budget: budget.learn(known.get("rateLimits")))
        if answer.status >= 400 or value is None:
            raise VenueError(answer.status, int(known.get("code", 0)), str(known.get("msg", "no reason given"))[:200])
        return value

    def close(self) -> None:
        """Shut the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _budget(rest_url: str) -> RestBudget | None:
    """Return the budget of the venue; a kill must not fail because shared memory does."""
    try:
        return RestBudget(rest_url)
    except OSError:
        return None
