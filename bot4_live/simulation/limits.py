"""How often one may ask the simulated exchange: Binance's limits of weight and orders, its 429 and its ban.

Weight is counted per minute of exchange time over all clients (one address), orders per account in 10 s and 1 min. Who
asks on during the silence that a 429 demanded is banned with 418: for 2 minutes first, longer each time, up to 3
days (Binance USD-M API, "Limits"; after how many requests is not documented). Silence and ban last in real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bot4_live.simulation.errors import ApiError
from bot4_live.simulation.payloads import ORDER_LIMIT_1M, ORDER_LIMIT_10S, WEIGHT_LIMIT

BAN_AFTER = 20  # requests during a silence; those that were on their way when it began are forgiven
FIRST_BAN_S, LONGEST_BAN_S = 120.0, 259_200.0
ADDRESS = "127.0.0.1"


@dataclass
class RateLimits:
    """Counts of one exchange; `speed_milli` is the pace of its time, by which the rest of a minute lasts."""

    weight_limit: int = WEIGHT_LIMIT
    speed_milli: Callable[[], int] = lambda: 1000
    monotonic: Callable[[], float] = time.monotonic
    ban_after: int = BAN_AFTER
    next_ban_s: float = FIRST_BAN_S
    bans: int = 0
    refused: int = 0
    _minute: int = -1
    _minute_until: float = 0.0  # in real time: a market that stands still has no next minute
    _weight: int = 0
    _silent_until: float = 0.0
    _violations: int = 0
    _banned_until: float = 0.0
    _orders: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def spend(self, weight: int, now_ms: int) -> int:
        """Count a request; return this minute's weight. Raises ApiError -1003: 429 past the limit, 418 banned."""
        now = self.monotonic()
        if now < self._banned_until:
            raise self._banned(now_ms)
        minute = now_ms // 60_000
        if minute != self._minute or now >= self._minute_until:
            self._minute, self._weight = minute, 0
            self._minute_until = now + (60_000 - now_ms % 60_000) / self.speed_milli()
        self._weight += weight
        if now < self._silent_until:
            self._violations += 1
            if self._violations > self.ban_after:
                self.ban(self.next_ban_s)
                raise self._banned(now_ms)
        if self._weight > self.weight_limit:
            left_ms = 60_000 - now_ms % 60_000
            raise self.silence(-(-left_ms // self.speed_milli()))  # market ms at a pace of 1/1000: real seconds
        return self._weight

    def silence(self, seconds: int) -> ApiError:
        """Demand `seconds` without a request; return the 429 that says so."""
        now = self.monotonic()
        if now >= self._silent_until:
            self._violations = 0
        self._silent_until = max(self._silent_until, now + seconds)
        self.refused += 1
        text = (
            f"Too many requests; current limit of IP({ADDRESS}) is {self.weight_limit} requests per minute. Please "
            "use the websocket for live updates to avoid polling the API."
        )
        return ApiError(-1003, text, 429, seconds)

    def ban(self, seconds: float) -> None:
        """Ban everybody for `seconds` from now; the next ban is twice as long."""
        self._banned_until = self.monotonic() + seconds
        self._silent_until, self._violations = 0.0, 0
        self.next_ban_s = min(2 * self.next_ban_s, LONGEST_BAN_S)
        self.bans += 1

    def _banned(self, now_ms: int) -> ApiError:
        left = self._banned_until - self.monotonic()
        until_ms = now_ms + int(left * self.speed_milli())
        text = (
            f"Way too many requests; IP({ADDRESS}) banned until {until_ms}. Please use the websocket for live updates "
            "to avoid bans."
        )
        self.refused += 1
        return ApiError(-1003, text, 418, max(1, int(-(-left // 1))))

    def spend_order(self, account: str, now_ms: int) -> dict[str, str]:
        """Count an order; return the headers that tell. Raises ApiError -1015 (429) past a limit."""
        headers = {}
        for name, span_ms, limit in (("10S", 10_000, ORDER_LIMIT_10S), ("1M", 60_000, ORDER_LIMIT_1M)):
            window = now_ms // span_ms
            known, count = self._orders.get((account, span_ms), (window, 0))
            count = count + 1 if known == window else 1
            self._orders[account, span_ms] = (window, count)
            headers[f"X-MBX-ORDER-COUNT-{name}"] = str(count)
            if count > limit:
                text = f"Too many new orders; current limit is {limit} orders per {span_ms // 1000} SECOND."
                left_ms = span_ms - now_ms % span_ms
                raise ApiError(-1015, text, 429, -(-left_ms // self.speed_milli()))
        return headers
