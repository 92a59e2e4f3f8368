"""Kraken spot, WebSocket v2, channel `level3`: every visible order of the best 10, 100 or 1000 prices a side.

There are no sequence numbers. Proof of the book is the CRC32 over all orders at the ten best prices a side, in the
order of their queues: it proves the queues too. Beyond those, an `add` of an order that is here and a `modify` or
`delete` of one that is not say that an update is missing. The venue sends no delete for prices that fall out of the
depth; it adds their orders again when the prices come back.

The channel is on a socket of its own, wss://ws-l3.kraken.com/v2, and needs a token (GetWebSocketsToken), which goes
into the subscription and nowhere else. Written from the venue's documentation (docs/venues.md), not proven live.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar, Literal
from zlib import crc32

import msgspec

from bot4_live.events import Reason
from bot4_live.instrument import E8
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.emitter import Refused
from bot4_live.market.venues.kraken import (
    CHECKED_LEVELS,
    Number,
    check_answer,
    has_checksum,
    number_text,
    read_outer,
)
from bot4_live.market.venues.ladder import VenueBook
from bot4_live.market.venues.orders_book import Order, OrdersBook
from bot4_live.market.venues.orders_feed import OrdersFeed
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.venues.times import rfc3339_ns_or_0

DEPTHS = (10, 100, 1000)
TOKEN_VARIABLE = "BOT4_KRAKEN_WS_TOKEN"


class _Order(msgspec.Struct):
    order_id: str
    limit_price: Number
    order_qty: Number
    event: Literal["add", "modify", "delete"] = "add"


class _Orders(msgspec.Struct):
    symbol: str
    checksum: int
    bids: list[_Order] = []
    asks: list[_Order] = []
    timestamp: str = ""


_orders = msgspec.json.Decoder(list[_Orders])

Event = tuple[str, Order]


class KrakenOrdersFeed(OrdersFeed):
    """Orders of any number of pairs (the venue allows 200 a connection) on one connection."""

    venue: ClassVar[str] = "kraken"

    def __init__(
        self,
        instruments: Instruments,
        raw_log: RawLog | None = None,
        *,
        depth: int = 1000,
        token: str = "",
        liquidation_usd: float = LARGE_LIQUIDATION_USD,
    ) -> None:
        """Begin stale. Raises ValueError for a depth that the venue does not have."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        if depth not in DEPTHS:
            raise ValueError(f"Kraken's level3 has depths {DEPTHS}; got {depth}")
        self._depth, self._token = depth, token
        self._decimals: dict[str, tuple[int, int]] = {}
        for book in self.books.values():
            book.depth = depth

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether it is a level3 book."""
        try:
            return has_checksum(raw, "level3")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return the subscription. Raises ValueError without a token."""
        return [self._request("subscribe", names)]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return what makes the venue send the orders' snapshot again."""
        return [self._request(verb, [name]) for verb in ("unsubscribe", "subscribe")]

    def _request(self, verb: str, names: Sequence[str]) -> bytes:
        if not self._token:
            raise ValueError(f"Kraken's level3 needs a token: set {TOKEN_VARIABLE} to that of GetWebSocketsToken")
        options: dict[str, object] = {"snapshot": True} if verb == "subscribe" else {}
        params = {"channel": "level3", "symbol": list(names), "depth": self._depth, "token": self._token}
        return json.dumps({"method": verb, "params": params | options}).encode()

    def checksum(self, book: VenueBook) -> int:
        """Return the CRC32 over each order at the ten best asks, then bids: the digits of price and quantity.

        The venue writes "full precision": as many decimals as the pair has. Where a writer left zeros at the end out,
        they count all the same: decimals are the most that were seen of this book.
        """
        tick, lot = book.instrument.tick_e8, book.instrument.lot_e8
        price_ten, qty_ten = (10**n for n in self._decimals.get(book.name, (0, 0)))
        mine = self._orders(book)
        digits = [
            f"{order.price * tick * price_ten // E8}{order.qty * lot * qty_ten // E8}"
            for sign in (-1, 1)
            for order in mine.orders(sign, CHECKED_LEVELS)
        ]
        return crc32("".join(digits).encode())

    def forget(self, book: VenueBook) -> None:
        """Forget the orders and how their numbers are written."""
        super().forget(book)
        self._decimals.pop(book.name, None)

    def decode(self, raw: bytes) -> None:
        """Read a frame."""
        outer = read_outer(raw)
        if outer.method:
            self._control()
            check_answer(outer)
            result = outer.result
            if result is not None and result.symbol in self.books and result.depth in DEPTHS:
                self.books[result.symbol].depth = result.depth
        elif outer.channel == "level3":
            messages = _orders.decode(outer.data)
            for book, message in zip(self._books(m.symbol for m in messages), messages, strict=True):
                self._take(book, message, outer.type)
        elif outer.channel in ("heartbeat", "status"):
            self._control()
        else:
            raise self._unknown(f"channel {outer.channel[:40]!r}")

    def _take(self, book: VenueBook, message: _Orders, what: str) -> None:
        texts = [
            (one.event, one.order_id, sign, number_text(one.limit_price), number_text(one.order_qty))
            for sign, side in ((1, message.bids), (-1, message.asks))
            for one in side
        ]
        if self._measure(book, [(price, qty) for *_, price, qty in texts]):
            return
        events = [(event, self._order(book, name, sign, price, qty)) for event, name, sign, price, qty in texts]
        at = rfc3339_ns_or_0(message.timestamp)
        self._keep_frame()
        if what == "snapshot":
            self._decimals.pop(book.name, None)
        elif what != "update":
            raise Refused(Reason.UNKNOWN_STREAM, f"level3 message of type {what[:40]!r}")
        elif not book.live:
            self.counts.ignored += 1
            return
        self._see_decimals(book, [(price, qty) for *_, price, qty in texts])
        if what == "snapshot":
            self._all_orders(book, [order for _, order in events], exch_ns=at, checksum=message.checksum)
            return
        mine = self._orders(book)
        touched: dict[tuple[int, int], None] = {}
        for event, order in events:
            known = mine.get(order.id)
            if not _apply(mine, event, order):
                self._gap(book, book.update_id + 1, 0)
                return
            touched[order.sign, order.price] = None
            if known is not None:
                touched[known.sign, known.price] = None
        self._levels_changed(book, touched, exch_ns=at, checksum=message.checksum)

    def _see_decimals(self, book: VenueBook, numbers: Sequence[tuple[str, str]]) -> None:
        price, qty = self._decimals.get(book.name, (0, 0))
        for price_text, qty_text in numbers:
            price = max(price, len(price_text.partition(".")[2]))
            qty = max(qty, len(qty_text.partition(".")[2]))
        self._decimals[book.name] = price, qty


def _apply(orders: OrdersBook, event: str, order: Order) -> bool:
    """Do what one event says; False when it contradicts what is known."""
    if event == "add":
        return orders.add(order)
    known = orders.get(order.id)
    if known is None or known.sign != order.sign:
        return False
    if event == "delete":
        return orders.remove(order.id)
    return orders.resize(order.id, order.qty) if known.price == order.price else orders.move(order)
