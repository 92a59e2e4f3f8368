"""Coinbase Exchange's order feeds: channel `full` (objects) and `level3` (the same as arrays), with REST level 3.

Each product has a `sequence`, one more with every message, whatever it says: a jump is a gap. The stream has no
snapshot: messages wait while GET /products/X/book?level=3 is fetched (`wants_snapshot`); those up to its `sequence`
are in it, the others follow. A snapshot older than the first that waits is fetched again.

`open` comes to the book, `match` fills a resting maker, `change` resizes or moves an order, `done` takes one out;
`received`, and `done` or `change` of orders that never rested, change nothing. What contradicts the book (a match of
an order that is not here or is smaller, a `change` from another size) makes it stale, as a gap does. `heads` counts how
often a match's maker was first in line at the best price, which is what price-time priority demands.

Both channels want a signed subscription. Written from the venue's documentation (docs/venues.md), not proven live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec
import numpy as np

from bot4_live.events import Field, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.numbers import BrokenNumber
from bot4_live.market.venues.coinbase_exchange import read_ticker
from bot4_live.market.venues.coinbase_frames import decoded, request
from bot4_live.market.venues.emitter import Refused
from bot4_live.market.venues.ladder import VenueBook
from bot4_live.market.venues.orders_book import Order
from bot4_live.market.venues.orders_feed import OrdersFeed
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.venues.times import rfc3339_ns_or_0

MAX_WAITING = 200_000

# What an array of level3 holds, as the venue documents it; its first frame says it anew.
SCHEMA = {
    "change": ("type", "product_id", "sequence", "order_id", "price", "size", "time"),
    "done": ("type", "product_id", "sequence", "order_id", "time"),
    "match": ("type", "product_id", "sequence", "maker_order_id", "taker_order_id", "price", "size", "time"),
    "noop": ("type", "product_id", "sequence", "time"),
    "open": ("type", "product_id", "sequence", "order_id", "side", "price", "size", "time"),
}


class _Rows(msgspec.Struct):
    """The body of GET /products/X/book?level=3: price, size, order id."""

    sequence: int
    bids: list[tuple[str, str, str]]
    asks: list[tuple[str, str, str]]
    auction_mode: bool = False
    time: str = ""


class _Message(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    sequence: int = -1
    order_id: str = ""
    maker_order_id: str = ""
    side: Literal["buy", "sell", ""] = ""
    price: str | None = None
    size: str | None = None
    remaining_size: str | None = None
    new_size: str | None = None
    old_size: str | None = None
    new_price: str | None = None
    trade_id: int | None = None
    time: str = ""
    message: str = ""
    book: _Rows | None = None
    level_schema: dict[str, list[str]] | None = msgspec.field(default=None, name="schema")


_message = msgspec.json.Decoder(_Message)
_array = msgspec.json.Decoder(list[str | int])
_rows = msgspec.json.Decoder(_Rows)

_NUMBERED = ("received", "open", "done", "match", "change", "noop")
_CONTROL = ("subscriptions", "heartbeat", "status", "activate")
_SNAPSHOT = "book"  # of ours: a REST answer with the product that was asked for, which the answer does not say
_SIGNS = {"buy": 1, "sell": -1, "": 0}


@dataclass
class _Product:
    """The state of one product's sequence; `last` and `snapshot` are -1 while there is none."""

    last: int = -1
    snapshot: int = -1
    waiting: deque[_Event] = field(default_factory=deque)


@dataclass(frozen=True)
class _Event:
    """A message whose numbers are exact; `lots` is None where no size is said, `was` the size before a change."""

    type: str
    sequence: int
    order_id: str
    sign: int
    price: int | None
    lots: int | None
    was: int | None
    exch_ns: int


class CoinbaseOrdersFeed(OrdersFeed):
    """Orders, trades and tickers of any number of products on one connection."""

    venue: ClassVar[str] = "coinbase"
    max_frame: ClassVar[int] = 64 << 20  # a whole book of orders

    def __init__(
        self,
        instruments: Instruments,
        raw_log: RawLog | None = None,
        *,
        channel: Literal["full", "level3"] = "full",
        signed: Callable[[], Mapping[str, str]] | None = None,
        liquidation_usd: float = LARGE_LIQUIDATION_USD,
    ) -> None:
        """Begin stale. `signed` returns what signs a subscription made now (see venues.credentials)."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        self._channel, self._signed = channel, signed
        self._schema: dict[str, tuple[str, ...]] = dict(SCHEMA)
        self._products: dict[str, _Product] = {}
        self._subscribed = False
        for book in self.books.values():
            book.chained = True

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether only the channels of orders have this frame; a `match` is in others too."""
        if raw.lstrip()[:1] == b"[":
            row = decoded(_array, raw)
            return row is not None and len(row) >= 4 and row[0] in SCHEMA
        message = decoded(_message, raw)
        if message is None:
            return False
        numbered = message.type in _NUMBERED and message.type != "match" and message.sequence >= 0
        return numbered or (message.type == "level3" and message.level_schema is not None)

    def on_connect(self, recv_ns: int) -> list[np.ndarray]:
        """Open: what came before does not connect."""
        self._products.clear()
        self._subscribed = False
        return super().on_connect(recv_ns)

    def forget(self, book: VenueBook) -> None:
        """Forget the orders and what waits; the stream's own sequence goes on."""
        super().forget(book)
        product = self._product(book)
        product.snapshot = -1
        product.waiting.clear()

    def shares_ids(self, book: VenueBook) -> bool:
        """Say yes: a product's sequence is the venue's own, not the connection's."""
        return True

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return one frame for orders, tickers and heartbeats."""
        signed = self._signed() if self._signed is not None else None
        return [request("subscribe", names, [self._channel, "ticker", "heartbeat"], signed)]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return nothing: the stream goes on, and `wants_snapshot` names what is to be fetched."""
        return []

    @property
    def wants_snapshot(self) -> list[str]:
        """Return the books that are stale and whose stream has begun, so that nothing can fall between."""
        if not self._connected:
            return []
        begun = self._subscribed
        return [name for name, book in self.books.items() if not book.live and (begun or self._product(book).last >= 0)]

    def snapshot_path(self, name: str) -> str:
        """Return the path at https://api.exchange.coinbase.com."""
        return f"/products/{name}/book?level=3"

    def on_snapshot(self, recv_ns: int, name: str, body: bytes) -> list[np.ndarray]:
        """Take the answer of GET `snapshot_path(name)`; the raw log and a capture keep it with the product's name."""
        label = msgspec.json.encode({"type": _SNAPSHOT, "product_id": name})
        return self.on_frame(recv_ns, label[:-1] + b',"book":' + body.strip() + b"}")

    def decode(self, raw: bytes) -> None:
        """Read a frame of either channel, a ticker, or a REST answer."""
        if raw.lstrip()[:1] == b"[":
            self._take(self._unpacked(_array.decode(raw)))
            return
        message = _message.decode(raw)
        if message.type in _NUMBERED:
            self._take(message)
        elif message.type in _CONTROL:
            self._control()
            self._subscribed |= message.type == "subscriptions"
        elif message.type == "ticker":
            self._harmless()
            ticker = read_ticker(raw)
            at = rfc3339_ns_or_0(ticker.time)
            self._ticker(self._known(message.product_id), ticker.values(), trade_id=ticker.trade_id, exch_ns=at)
        elif message.type == _SNAPSHOT and message.book is not None:
            self._rest(self._book(message.product_id), message.book)
        elif message.type == "level3" and message.level_schema is not None:
            self._control()
            self._schema = {kind: tuple(names) for kind, names in message.level_schema.items()}
        elif not message.type and len(self.books) == 1:  # a bare REST answer in a capture of one product
            self._rest(self._book(next(iter(self.books))), _rows.decode(raw))
        elif message.type == "error":
            raise self._unknown(f"the venue says: {message.message[:80]}")
        else:
            raise self._unknown(f"message type {message.type[:40]!r}")

    def _unpacked(self, row: list[str | int]) -> _Message:
        """Return what an array of level3 says, by the schema in force."""
        kind = str(row[0]) if row else ""
        names = self._schema.get(kind)
        if names is None or kind not in _NUMBERED:
            raise self._unknown(f"array of type {kind[:40]!r}")
        if len(row) < len(names):
            raise Refused(Reason.MISSING_FIELD, f"{kind} of {len(row)} fields, expected {len(names)}")
        return msgspec.convert(dict(zip(names, row, strict=False)), _Message, strict=False)

    def _product(self, book: VenueBook) -> _Product:
        return self._products.setdefault(book.name, _Product())

    def _take(self, message: _Message) -> None:
        """Follow the sequence; then the message changes the book, or waits for a snapshot."""
        book = self._book(message.product_id)
        price = message.new_price or message.price
        size = message.new_size or message.remaining_size or message.size
        if self._measure(book, [(price or "0", one) for one in (size, message.old_size) if one]):
            return
        if message.sequence < 0:
            raise Refused(Reason.MISSING_FIELD, f"{message.type} without a sequence")
        product = self._product(book)
        self._follow(book, product, message.sequence)
        self._keep_frame()
        try:
            event = self._event(book, message, price, size)
            if message.type == "match":
                self._tell_trade(book, message, event)
        except (Refused, BrokenNumber):
            product.waiting.clear()  # what waits has a hole here
            raise
        if book.live:
            self._apply(book, product, event)
            return
        product.waiting.append(event)
        if len(product.waiting) > MAX_WAITING:
            product.waiting.popleft()

    def _follow(self, book: VenueBook, product: _Product, number: int) -> None:
        """Compare a message's number with the last one's, or with the snapshot's where it is the first."""
        last, product.last = product.last, number
        if last < 0:
            if number > product.snapshot + 1:
                self._gap(book, product.snapshot + 1, number)
            return
        if number <= last:
            product.last = last
            self._harmless()
            raise Refused(Reason.DUPLICATE, f"{book.name}: sequence {number} came before, last {last}")
        self.counts.links += 1
        self.counts.links_unbroken += number == last + 1
        if number != last + 1:
            product.waiting.clear()
            self._gap(book, last + 1, number)

    def _event(self, book: VenueBook, message: _Message, price: str | None, size: str | None) -> _Event:
        prices, lots = self.instruments.scales(book.name)
        needed = {"open": (message.side, price, size), "match": (price, size)}.get(message.type, ())
        if not all(needed):
            raise Refused(Reason.MISSING_FIELD, f"{book.name}: {message.type} lacks side, price or size")
        return _Event(
            message.type,
            message.sequence,
            message.maker_order_id if message.type == "match" else message.order_id,
            _SIGNS[message.side],
            prices.units(price) if price else None,
            lots.units(size) if size else None,
            lots.units(message.old_size) if message.old_size else None,
            rfc3339_ns_or_0(message.time),
        )

    def _tell_trade(self, book: VenueBook, message: _Message, event: _Event) -> None:
        """Emit a trade: `side` is the maker's; arrays do not say it, but the maker rests in the book."""
        maker = self._orders(book).get(event.order_id)
        sign = event.sign or (maker.sign if maker is not None else 0)
        price, size, at = message.price or "", message.size or "", event.exch_ns
        if sign:
            self._trade(book, message.trade_id, price, size, sell=sign > 0, exch_ns=at)
        else:
            self._ticker(book, [(Field.LAST_PRICE, price), (Field.LAST_QTY, size)], exch_ns=at)

    def _rest(self, book: VenueBook, rows: _Rows) -> None:
        """Take a snapshot and what waited for it."""
        if self._measure(book, [(price, size) for price, size, _ in (*rows.bids, *rows.asks)]):
            return
        product = self._product(book)
        self._keep_frame()
        if rows.auction_mode:
            raise Refused(Reason.CROSSED_QUOTE, f"{book.name} is in an auction: its book may be crossed")
        if book.live:
            self.counts.control += 1  # asked for twice
            return
        first = product.waiting[0].sequence if product.waiting else product.last + 1
        if rows.sequence + 1 < first:
            self.counts.snapshots_too_old += 1  # fetch again
            return
        sides = ((1, rows.bids), (-1, rows.asks))
        orders = [self._order(book, name, sign, price, size) for sign, side in sides for price, size, name in side]
        later = [event for event in product.waiting if event.sequence > rows.sequence]
        self._all_orders(book, orders, exch_ns=rfc3339_ns_or_0(rows.time), update_id=rows.sequence)
        product.snapshot = rows.sequence
        product.waiting.clear()
        for event in later:
            if book.live:
                self._apply(book, product, event)

    def _apply(self, book: VenueBook, product: _Product, event: _Event) -> None:
        """Change the orders as a message says, and tell the levels that changed."""
        number = event.sequence
        if number <= product.snapshot:
            return
        touched = self._change_orders(book, event)
        if touched is None:
            self._gap(book, number, number)
        elif touched:
            self._levels_changed(book, touched, exch_ns=event.exch_ns, ids=(number, number, book.update_id))

    def _change_orders(self, book: VenueBook, event: _Event) -> set[tuple[int, int]] | None:
        """Return the (sign, price) pairs that changed, None where the message contradicts the book."""
        mine, lots, price = self._orders(book), event.lots, event.price
        if event.type == "open":
            order = Order(event.order_id, event.sign, price or 0, lots or 0)
            return {(order.sign, order.price)} if mine.add(order) else None
        known = mine.get(event.order_id)
        if event.type == "match":
            if known is None or lots is None or known.price != price or known.qty < lots:
                return None
            self.counts.heads += 1
            self.counts.heads_matched += mine.head(known.sign) == known
            mine.resize(known.id, known.qty - lots)
            return {(known.sign, known.price)}
        if known is None or event.type in ("received", "noop"):
            return set()
        here = known.sign, known.price
        if event.type == "done":
            return {here} if lots in (None, known.qty) and mine.remove(known.id) else None
        if lots is None:  # only its funds changed
            return set()
        if event.was not in (None, known.qty):
            return None
        if price is None or price == known.price:
            mine.resize(known.id, lots)
            return {here}
        moved = known._replace(price=price, qty=lots)
        return {here, (moved.sign, moved.price)} if mine.move(moved) else None
