"""Closing every position at once: reduce-only IOC orders whose collar widens until the book gives enough.

A collar bounds what a thin or broken book can cost: bad data must not sell at any price. What the venue reports as
position is the truth after each order; an order whose fate is unknown is asked about, never sent again, and the next
one is sized by the position left (reduce-only, so that two can never turn it around).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Protocol

from bot4_live.clock import boottime_ns
from bot4_live.safety.venue import Filters, OrderUnknown, Position, VenueError

# How far from the best price, as fractions; the last one is kept.
COLLARS = tuple(Decimal(text) for text in ("0.001", "0.003", "0.01", "0.03", "0.05"))
PREFIX = "b4k"  # client ids of the watchdog's own orders: the runner sees that they are not its
_FAR_PRICE = {-4013, -4014, -4016, -4024, -4131}  # outside the venue's own price band
_NOTHING_LEFT = {-2022}  # "ReduceOnly Order is rejected": closed meanwhile
_QUERIES = 5


class Venue(Protocol):
    """What flattening needs of a venue."""

    def positions(self) -> list[Position]: ...
    def best(self, symbol: str) -> tuple[Decimal, Decimal] | None: ...
    def filters(self, symbol: str) -> Filters: ...
    def reduce_only_ioc(self, position: Position, price: Decimal, client_id: str) -> dict[str, Any]: ...
    def query(self, symbol: str, client_id: str) -> dict[str, Any]: ...


def collared_price(position: Position, best: tuple[Decimal, Decimal] | None, collar: Decimal, tick: Decimal) -> Decimal:
    """Return the limit price that closes `position` at most `collar` beyond the best price (the mark without a book).

    Rounded to `tick` towards the market, so that the collar is never exceeded. Raises ValueError with neither.
    """
    sell = position.amount > 0
    reference = position.mark if best is None else best[0] if sell else best[1]
    if reference <= 0:
        raise ValueError(f"{position.symbol} has neither a book nor a mark price")
    limit = reference * (1 - collar if sell else 1 + collar)
    ticks = (limit / tick).to_integral_value(ROUND_CEILING if sell else ROUND_FLOOR)
    return (ticks * tick).quantize(tick.normalize())  # no more digits than the tick has


class Flattener:
    """Repeated attempts to close all positions, with the collar of each symbol kept between them."""

    def __init__(self, venue: Venue, note: Callable[[str, Any], None]) -> None:
        """`note(name, details)` is told of every order and of the market it was sent into."""
        self._venue, self._note = venue, note
        self._level: dict[tuple[str, str], int] = {}
        self._count = 0

    def once(self) -> list[Position]:
        """Send one order a position and return the positions that are left. Raises OSError when the venue fails."""
        positions = self._venue.positions()
        for position in positions:
            self._close(position)
        return self._venue.positions() if positions else []

    def _close(self, position: Position) -> None:
        venue, key = self._venue, (position.symbol, position.side)
        level = self._level.get(key, 0)
        best = venue.best(position.symbol)
        price = collared_price(position, best, COLLARS[level], venue.filters(position.symbol).tick)
        self._count += 1
        client_id = f"{PREFIX}-{boottime_ns() // 1_000_000:x}-{os.getpid():x}-{self._count:x}"
        self._level[key] = min(level + 1, len(COLLARS) - 1)
        details: dict[str, Any] = {
            "symbol": position.symbol,
            "position": str(position.amount),
            "mark": str(position.mark),
            "best": None if best is None else [str(best[0]), str(best[1])],
            "collar": str(COLLARS[level]),
            "price": f"{price:f}",
            "client_id": client_id,
        }
        try:
            answer = venue.reduce_only_ioc(position, price, client_id)
        except OrderUnknown as doubt:
            details["doubt"] = str(doubt)
            answer = self._ask(position.symbol, client_id)
        except VenueError as error:
            if error.code in _FAR_PRICE:
                self._level[key] = 0
            answer = {"status": "REFUSED", "code": error.code}
            self._note("order", {**details, "refused": str(error)})
            if error.code not in _FAR_PRICE | _NOTHING_LEFT:
                raise
            return
        for name in ("status", "executedQty", "avgPrice", "orderId"):
            if name in answer:
                details[name] = answer[name]
        self._note("order", details)

    def _ask(self, symbol: str, client_id: str) -> dict[str, Any]:
        for _ in range(_QUERIES):
            try:
                return self._venue.query(symbol, client_id)
            except VenueError as error:
                answer = {"status": "NOT_FOUND", "code": error.code}
            except OSError:
                answer = {"status": "UNKNOWN"}
            time.sleep(0.02)
        return answer
