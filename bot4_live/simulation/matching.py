"""Matching against a recorded market: pure, integer, no clock.

The record cannot react to our orders, so fills are honest in kind and stated here:

- A taker walks the displayed book level by level. What it took of a level stays taken until the market restates that
  level, so the same liquidity is never sold twice.
- A maker order joins behind what is displayed at its price on arrival (nothing, when it improves the touch). Trades
  at its price consume the queue first, then it. A trade beyond its price would have met it first: it fills from that
  trade's volume. Our orders share a trade's volume in price-time order, never more than the trade.
- Displayed quantity that disappears without trades was cancelled: behind and ahead alike, so the queue ahead shrinks
  in proportion, rounded against us. Trade and quote messages of one event may come in either order: a trade within
  CREDIT_NS of such a decrease explains it, and is not counted a second time.
- When the opposite touch reaches its price, those who come would have met it: it fills, at its own price, with up to
  what the opposite side displays there.
- Our own orders do not trade with each other.
"""

from __future__ import annotations

from collections.abc import Callable

from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.orders import Order

CREDIT_NS = 100_000_000  # exchange time for which a trade and a decrease may explain each other


class Matching:
    """Resting orders against one market book.

    `fill(order, price, qty, maker)` is called at once for each fill, so that `room(order)`, what it may still fill
    (reduce-only orders shrink with the position), is true for the next.
    """

    def __init__(
        self, book: MarketBook, room: Callable[[Order], int], fill: Callable[[Order, int, int, bool], None]
    ) -> None:
        """Begin without orders."""
        self.book = book
        self.resting: dict[int, Order] = {}  # in order of arrival
        self._room = room
        self._fill = fill
        self._taken: dict[tuple[bool, int], tuple[int, int]] = {}  # (bids, price) -> (displayed then, taken)

    def rescale(self, times: int) -> None:
        """Count prices in ticks that are `times` as fine (the orders are the caller's)."""
        self._taken = {(bids, price * times): was for (bids, price), was in self._taken.items()}

    def crosses(self, *, buys: bool, price: int) -> bool:
        """Return whether a limit order at `price` would trade at once."""
        touch = self.book.best(bids=not buys)[0]
        return touch > 0 and (price >= touch if buys else price <= touch)

    def takeable(self, *, buys: bool, limit: int) -> int:
        """Return the lots that a taker could get up to `limit` (0: any price)."""
        return sum(qty for _, qty in self._offers(buys=buys, limit=limit))

    def take(self, order: Order) -> None:
        """Fill a taker from the displayed book, level by level, at the levels' prices."""
        self._walk(order, order.price, maker=False)

    def rest(self, order: Order) -> None:
        """Let the rest of an order wait at its price, behind what is displayed there."""
        order.shown = order.ahead = self.book.displayed(order.price, bids=order.buys)
        self.resting[order.id] = order

    def remove(self, order: Order) -> None:
        """Take an order out of the queue."""
        self.resting.pop(order.id, None)

    def on_book(self, now_ns: int) -> None:
        """Look again after the book changed: queues move up, and what the opposite touch reached fills."""
        for order in list(self.resting.values()):
            self._follow(order, now_ns)
            if self.crosses(buys=order.buys, price=order.price):
                self._walk(order, order.price, maker=True)
        if len(self._taken) > 1000:
            self._taken = {key: was for key, was in self._taken.items() if self._displayed(*key) == was[0]}

    def on_trade(self, price: int, qty: int, *, sells: bool, now_ns: int) -> None:
        """Let a trade of the market (its aggressor sold or bought) consume queues and fill orders."""
        reached = [
            order
            for order in self.resting.values()
            if order.buys == sells and (order.price >= price if sells else order.price <= price)
        ]
        reached.sort(key=lambda order: -order.price if sells else order.price)  # stable: then by arrival
        volume = qty
        for order in reached:
            if order.price == price:
                beyond = self._pass_queue(order, volume, now_ns)
            else:
                beyond = volume
                order.ahead = 0  # the market traded through: nothing is left before it
            got = min(beyond, self._room(order))
            if got > 0:
                self._fill(order, order.price, got, True)
                volume -= got
            if volume <= 0:
                break

    def _pass_queue(self, order: Order, volume: int, now_ns: int) -> int:
        """Consume the queue ahead of an order with a trade at its price; return what goes beyond it."""
        if order.cancelled and now_ns - order.cancelled_ns <= CREDIT_NS:
            # The display told of this trade before the trade did: undo that share of the pro-rata guess.
            known = min(volume, order.cancelled)
            undone = order.cancelled_ahead * known // order.cancelled
            order.cancelled -= known
            order.cancelled_ahead -= undone
            order.ahead += undone
            order.traded += volume - known
        else:
            order.traded += volume
        order.traded_ns = now_ns
        passed = min(order.ahead, volume)
        order.ahead -= passed
        return volume - passed

    def _follow(self, order: Order, now_ns: int) -> None:
        """Move up in the queue by what was cancelled ahead."""
        shown = self.book.displayed(order.price, bids=order.buys)
        if order.traded and now_ns - order.traded_ns > CREDIT_NS:
            order.traded = 0
        if shown == order.shown:
            return
        gone = order.shown - shown
        if gone > 0:
            explained = min(order.traded, gone)
            order.traded -= explained
            cancelled = gone - explained
            before = order.shown - explained
            if cancelled > 0:
                moved = cancelled * min(order.ahead, before) // before
                order.ahead -= moved
                if now_ns - order.cancelled_ns > CREDIT_NS:
                    order.cancelled = order.cancelled_ahead = 0
                order.cancelled += cancelled
                order.cancelled_ahead += moved
                order.cancelled_ns = now_ns
        order.shown = shown
        order.ahead = min(order.ahead, shown)

    def _walk(self, order: Order, limit: int, *, maker: bool) -> None:
        for price, offered in list(self._offers(buys=order.buys, limit=limit, lots=order.left)):
            got = min(offered, self._room(order))
            if got <= 0:
                return
            key = (not order.buys, price)
            shown = self._displayed(*key)
            was = self._taken.get(key, (shown, 0))
            self._taken[key] = (shown, got + (was[1] if was[0] == shown else 0))
            self._fill(order, order.price if maker else price, got, maker)

    def _offers(self, *, buys: bool, limit: int, lots: int = 0) -> list[tuple[int, int]]:
        """Return the opposite levels up to `limit`, less what was taken of them, until `lots` are covered (0: all)."""
        offers, found = [], 0
        for price, shown in self.book.levels(bids=not buys):
            if limit and (price > limit if buys else price < limit):
                break
            was = self._taken.get((not buys, price))
            free = shown - was[1] if was is not None and was[0] == shown else shown
            if free > 0:
                offers.append((price, free))
                found += free
                if lots and found >= lots:
                    break
        return offers

    def _displayed(self, bids: bool, price: int) -> int:
        return self.book.displayed(price, bids=bids)
