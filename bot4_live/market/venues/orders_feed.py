"""What the level-3 feeds do alike: orders into an OrdersBook, and the price levels that changed into L2 events.

L3 lives beside the L2 events, not among them (docs/decisions/006): what goes out are the same DEPTH_SNAPSHOT and
DEPTH_DIFF that a level-2 feed sends, so engine, features and lake need nothing new. The orders themselves are in
`orders`, and every frame of theirs is in the raw log, from which this same feed makes them again.
"""

from __future__ import annotations

from collections.abc import Iterable

from bot4_live.events import Kind, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.validation import UNLIMITED
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.emitter import Refused
from bot4_live.market.venues.ladder import Level, VenueBook
from bot4_live.market.venues.orders_book import Order, OrdersBook
from bot4_live.market.venues.registry import Instruments

LONGEST_ID = 64


class OrdersFeed(VenueFeed):
    """A VenueFeed of orders; `orders[name]` is right exactly while `books[name].live`, and empty otherwise."""

    def __init__(
        self, instruments: Instruments, raw_log: RawLog | None = None, *, liquidation_usd: float = LARGE_LIQUIDATION_USD
    ) -> None:
        """Follow `instruments`, all stale."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        self.orders = {name: OrdersBook() for name in self.books}
        self.limits = UNLIMITED  # a trade is proven by its maker's order

    def forget(self, book: VenueBook) -> None:
        """Empty the orders of a book that went stale."""
        self._orders(book).clear()

    def _orders(self, book: VenueBook) -> OrdersBook:
        return self.orders.setdefault(book.name, OrdersBook())

    def _order(self, book: VenueBook, order_id: str, sign: int, price: str, qty: str) -> Order:
        """Return an order whose numbers are exact. Raises Refused or BrokenNumber."""
        if not 0 < len(order_id) <= LONGEST_ID:
            raise Refused(Reason.WRONG_TYPE, f"{book.name}: order id {order_id[:40]!r}")
        price_scale, qty_scale = self.instruments.scales(book.name)
        ticks = price_scale.units(price)
        if ticks == 0:
            raise Refused(Reason.ZERO_PRICE, f"{book.name}: order at price 0")
        return Order(order_id, sign, ticks, qty_scale.units(qty))

    def _all_orders(
        self,
        book: VenueBook,
        orders: Iterable[Order],
        *,
        exch_ns: int = 0,
        update_id: int | None = None,
        checksum: int | None = None,
    ) -> None:
        """Replace a book by these orders, each queue in their order: it is live. Raises Refused."""
        mine = self._orders(book)
        mine.clear()
        for order in orders:
            if not mine.add(order):
                mine.clear()
                raise Refused(Reason.BAD_NUMBER, f"snapshot of {book.name}: order {order.id} twice or of quantity 0")
        if book.depth:
            mine.cut(book.depth)
        sides = ([Level(level.price, level.lots, "", "") for level in mine.levels(sign)] for sign in (1, -1))
        try:
            self._replace(book, *sides, exch_ns=exch_ns, update_id=update_id, checksum=checksum)
        except Refused:
            mine.clear()
            raise

    def _levels_changed(
        self,
        book: VenueBook,
        touched: Iterable[tuple[int, int]],
        *,
        exch_ns: int = 0,
        ids: tuple[int, int, int] | None = None,
        checksum: int | None = None,
    ) -> None:
        """Tell what now rests at the (sign, price) pairs that orders came to or left."""
        mine = self._orders(book)
        sides: dict[int, list[Level]] = {1: [], -1: []}
        for sign, price in touched:
            sides[sign].append(Level(price, mine.lots(sign, price), "", ""))
        if book.depth:
            mine.cut(book.depth)
        self._change(book, sides[1], sides[-1], exch_ns=exch_ns, ids=ids, checksum=checksum)

    def _keep_frame(self) -> None:
        """Put the frame into the raw log, also where it changes no level."""
        self._keep(Kind.DEPTH_DIFF)
