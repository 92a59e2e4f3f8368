"""Kraken spot, WebSocket v2 (JSON objects) and v1 (arrays, the pairs' old names), told apart frame by frame.

Neither has sequence numbers. Proof of the book is the CRC32 of its ten best levels a side, sent with every update
(v2: with the snapshot too), computed over the numbers' text after the book was cut to its depth. Below those ten, a
removal of a level that we lack says that an update is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar
from zlib import crc32

import msgspec

from bot4_live.events import Field, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.base import RawLevels, Refused, VenueFeed
from bot4_live.market.venues.ladder import Level, VenueBook
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.venues.times import rfc3339_ns, rfc3339_ns_or_0

CHECKED_LEVELS = 10
DEPTHS = (10, 25, 100, 500, 1000)

Number = msgspec.Raw  # a JSON number whose text matters: 45283.50 is not 45283.5 to a checksum


class _Level(msgspec.Struct):
    price: Number
    qty: Number


class _Book(msgspec.Struct):
    symbol: str
    checksum: int
    bids: list[_Level] = []
    asks: list[_Level] = []
    timestamp: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    side: str
    price: Number
    qty: Number
    trade_id: int
    timestamp: str


class _Ticker(msgspec.Struct):
    symbol: str
    bid: Number
    bid_qty: Number
    ask: Number
    ask_qty: Number
    last: Number
    volume: Number
    low: Number
    high: Number
    timestamp: str = ""


class _Result(msgspec.Struct):
    channel: str = ""
    symbol: str = ""
    depth: int = 0


class _Outer(msgspec.Struct):
    """Any object of v2, and the control objects of v1 (`event`)."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    success: bool = True
    error: str | None = None
    result: _Result | None = None
    event: str = ""
    status: str = ""
    errorMessage: str = ""


class _OldBook(msgspec.Struct):
    """A part of a v1 book message: `as` and `bs` are its snapshot."""

    bids: list[list[str]] | None = msgspec.field(default=None, name="bs")
    asks: list[list[str]] | None = msgspec.field(default=None, name="as")
    a: list[list[str]] = []
    b: list[list[str]] = []
    c: str | None = None


class _OldTicker(msgspec.Struct):
    """v1: a and b are (price, whole lots, lots), c is (price, lots), the others (today, 24 hours)."""

    a: tuple[str, int | str, str]
    b: tuple[str, int | str, str]
    c: tuple[str, str]
    v: tuple[str, str]
    l: tuple[str, str]  # noqa: E741 - the venue's name
    h: tuple[str, str]


_outer = msgspec.json.Decoder(_Outer)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_books = msgspec.json.Decoder(list[_Book])
_trades = msgspec.json.Decoder(list[_Trade])
_tickers = msgspec.json.Decoder(list[_Ticker])
_old_book = msgspec.json.Decoder(_OldBook)
_old_trades = msgspec.json.Decoder(list[list[str]])
_old_ticker = msgspec.json.Decoder(_OldTicker)
_old_spread = msgspec.json.Decoder(tuple[str, str, str, str, str])

_SECONDS = re.compile(r"(\d{1,10})\.(\d{1,9})", re.ASCII)
_OLD_CHANNEL = re.compile(r"book-\d+|trade|ticker|spread", re.ASCII)


class KrakenFeed(VenueFeed):
    """Both protocols; `protocol` says which one is subscribed to, `depth` the levels a side."""

    venue: ClassVar[str] = "kraken"
    removes_what_is_there: ClassVar[bool] = True  # of 1,615 removals in the capture not one is of an unknown level

    def __init__(
        self,
        instruments: Instruments,
        raw_log: RawLog | None = None,
        *,
        protocol: int = 2,
        depth: int = 1000,
        liquidation_usd: float = LARGE_LIQUIDATION_USD,
    ) -> None:
        """Begin stale. Raises ValueError for a protocol or depth that the venue does not have."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        if protocol not in (1, 2) or depth not in DEPTHS:
            raise ValueError(f"Kraken has protocols 1 and 2 and depths {DEPTHS}; got {protocol} and {depth}")
        self._protocol, self._depth = protocol, depth
        self._forms: dict[str, tuple[int, int]] = {}
        for book in self.books.values():
            book.depth = depth

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether it is a v1 channel's array or a v2 book."""
        try:
            if raw.lstrip()[:1] == b"[":
                channel, pair = map(_text.decode, _array.decode(raw)[2:][-2:])
                return _OLD_CHANNEL.fullmatch(channel) is not None and "/" in pair
            return has_checksum(raw, "book")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return False

    def checksum(self, book: VenueBook) -> int:
        """Return the CRC32 over asks, then bids: each number's digits without point and leading zeros."""
        levels = (*book.asks.top(CHECKED_LEVELS), *book.bids.top(CHECKED_LEVELS))
        return crc32("".join(map(_digits, levels)).encode())

    def forget(self, book: VenueBook) -> None:
        """Forget how its numbers are written."""
        self._forms.pop(book.name, None)

    def decode(self, raw: bytes) -> None:
        """Read a frame of either protocol."""
        if raw.lstrip()[:1] == b"[":
            self._old(raw)
            return
        outer = read_outer(raw)
        if outer.event or outer.method:
            self._answer(outer)
        elif outer.channel == "book":
            self._new_books(outer)
        elif outer.channel == "trade":
            self._harmless()
            self._new_trades(outer)
        elif outer.channel == "ticker":
            self._harmless()
            self._new_tickers(outer)
        elif outer.channel in ("heartbeat", "status"):
            self._control()
        else:
            raise self._unknown(f"channel {outer.channel[:40]!r}")

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return the subscriptions to books, trades and tickers."""
        return [self._request("subscribe", channel, names) for channel in ("book", "trade", "ticker")]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return what makes the venue send the book's snapshot again."""
        return [self._request(verb, "book", [name]) for verb in ("unsubscribe", "subscribe")]

    def _request(self, verb: str, channel: str, names: Sequence[str]) -> bytes:
        options: dict[str, object] = {"depth": self._depth} if channel == "book" else {}
        if self._protocol == 1:
            request = {"event": verb, "pair": list(names), "subscription": {"name": channel} | options}
            return json.dumps(request).encode()
        if verb == "subscribe":
            options |= {"snapshot": channel != "trade"}
        if verb == "subscribe" and channel == "ticker":
            options |= {"event_trigger": "bbo"}
        return json.dumps({"method": verb, "params": {"channel": channel, "symbol": list(names)} | options}).encode()

    def _answer(self, outer: _Outer) -> None:
        """Take an acknowledgement, heartbeat or status; a refused subscription is an error to be seen."""
        self._control()
        check_answer(outer)
        result = outer.result
        if result is not None and result.channel == "book" and result.symbol in self.books and result.depth in DEPTHS:
            self.books[result.symbol].depth = result.depth

    # v2

    def _new_books(self, outer: _Outer) -> None:
        messages = _books.decode(outer.data)
        for book, message in zip(self._books(m.symbol for m in messages), messages, strict=True):
            bids, asks = _levels(message.bids), _levels(message.asks)
            exch_ns = rfc3339_ns_or_0(message.timestamp)
            self._check_form(book, (*bids, *asks), new=outer.type == "snapshot")
            if outer.type == "snapshot":
                self._snapshot(book, bids, asks, exch_ns=exch_ns, checksum=message.checksum)
            elif outer.type == "update":
                self._update(book, bids, asks, exch_ns=exch_ns, checksum=message.checksum)
            else:
                raise Refused(Reason.UNKNOWN_STREAM, f"book message of type {outer.type[:40]!r}")

    def _new_trades(self, outer: _Outer) -> None:
        if outer.type == "snapshot":
            self._control()  # trades from before the subscription
            return
        for trade in _trades.decode(outer.data):
            book = self._known(trade.symbol)
            sell = _sells(trade.side, "buy", "sell")
            price, qty = number_text(trade.price), number_text(trade.qty)
            self._trade(book, trade.trade_id, price, qty, sell=sell, exch_ns=rfc3339_ns(trade.timestamp))

    def _new_tickers(self, outer: _Outer) -> None:
        for ticker in _tickers.decode(outer.data):
            fields = [(field, number_text(getattr(ticker, name))) for name, field in _TICKER_FIELDS]
            exch_ns = rfc3339_ns_or_0(ticker.timestamp)
            self._ticker(self._known(ticker.symbol), fields, exch_ns=exch_ns)

    # v1

    def _old(self, raw: bytes) -> None:
        parts = _array.decode(raw)
        if len(parts) < 4:
            raise Refused(Reason.MISSING_FIELD, f"array of {len(parts)}, expected channel id, data, channel and pair")
        channel, pair = _text.decode(parts[-2]), _text.decode(parts[-1])
        if channel.startswith("book-"):
            self._old_book(self._book(pair), channel, parts[1:-2])
            return
        self._harmless()
        book = self._known(pair)
        if channel == "trade":
            for trade in _old_trades.decode(parts[1]):
                if len(trade) < 4:
                    raise Refused(Reason.MISSING_FIELD, f"trade of {len(trade)} fields")
                price, qty, at, side = trade[:4]
                self._trade(book, None, price, qty, sell=_sells(side, "b", "s"), exch_ns=_seconds(at))
        elif channel == "ticker":
            ticker = _old_ticker.decode(parts[1])
            texts = [ticker.b[0], ticker.b[2], ticker.a[0], ticker.a[2], ticker.c[0]]
            texts += [ticker.v[1], ticker.l[1], ticker.h[1]]
            self._ticker(book, [(field, text) for (_, field), text in zip(_TICKER_FIELDS, texts, strict=True)])
        elif channel == "spread":
            bid, ask, at, bid_qty, ask_qty = _old_spread.decode(parts[1])
            self._quote(book, (bid, bid_qty), (ask, ask_qty), exch_ns=_seconds(at))
        else:
            raise self._unknown(f"channel {channel[:40]!r}")

    def _old_book(self, book: VenueBook, channel: str, parts: Sequence[msgspec.Raw]) -> None:
        depth = channel.partition("-")[2]
        if depth not in map(str, DEPTHS):
            raise Refused(Reason.UNKNOWN_STREAM, f"book channel {channel[:40]!r}")
        book.depth = int(depth)
        messages = [_old_book.decode(part) for part in parts]
        first = messages[0]
        if first.bids is not None and first.asks is not None and len(messages) == 1:
            bids, bids_at = _old_levels(first.bids)
            asks, asks_at = _old_levels(first.asks)
            self._check_form(book, (*bids, *asks), new=True)
            self._snapshot(book, bids, asks, exch_ns=max(bids_at, asks_at))
            return
        checksums = [message.c for message in messages if message.c is not None]
        if len(checksums) != 1 or not (checksums[0].isascii() and checksums[0].isdigit()):
            raise Refused(Reason.MISSING_FIELD, f"book update of {book.name} without one checksum")
        bids, bids_at = _old_levels([level for message in messages for level in message.b])
        asks, asks_at = _old_levels([level for message in messages for level in message.a])
        self._check_form(book, (*bids, *asks), new=False)
        self._update(book, bids, asks, exch_ns=max(bids_at, asks_at), checksum=int(checksums[0][:12]))

    def _check_form(self, book: VenueBook, levels: RawLevels, *, new: bool) -> None:
        """Refuse numbers with another count of decimals than the snapshot's.

        The venue writes each pair's numbers with fixed decimals. The checksum is over the digits alone, so it cannot
        see a lost point; this can.
        """
        if new:
            self._forms.pop(book.name, None)
        for price, qty in levels:
            form = _decimals(price), _decimals(qty)
            known = self._forms.setdefault(book.name, form)
            if form != known and not (form[0] == known[0] and not qty.strip("0.")):
                raise Refused(
                    Reason.BAD_NUMBER, f"{book.name}: level {price[:40]} {qty[:40]}, expected decimals {known}"
                )


_TICKER_FIELDS = (
    ("bid", Field.BID_PRICE),
    ("bid_qty", Field.BID_QTY),
    ("ask", Field.ASK_PRICE),
    ("ask_qty", Field.ASK_QTY),
    ("last", Field.LAST_PRICE),
    ("volume", Field.VOLUME),
    ("low", Field.LOW_PRICE),
    ("high", Field.HIGH_PRICE),
)


def read_outer(raw: bytes) -> _Outer:
    """Return what any frame of v2 begins with. Raises msgspec's errors."""
    return _outer.decode(raw)


def has_checksum(raw: bytes, channel: str) -> bool:
    """Return whether it is a frame of v2 of that channel with a checksum in it. Raises msgspec's errors."""
    outer = read_outer(raw)
    return outer.channel == channel and b'"checksum"' in bytes(outer.data)


def check_answer(outer: _Outer) -> None:
    """Raise Refused, with the venue's words, for an answer that says no."""
    if not outer.success or outer.status == "error":
        raise Refused(Reason.UNKNOWN_STREAM, f"the venue refuses: {outer.error or outer.errorMessage}")


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def _digits(level: Level) -> str:
    return level.raw_price.replace(".", "").lstrip("0") + level.raw_qty.replace(".", "").lstrip("0")


def number_text(raw: Number) -> str:
    """Return a JSON number as it is written; quotes around it are left out."""
    return bytes(raw).decode().strip('"')


def _levels(levels: Iterable[_Level]) -> RawLevels:
    return [(number_text(level.price), number_text(level.qty)) for level in levels]


def _old_levels(levels: Iterable[list[str]]) -> tuple[RawLevels, int]:
    """Return (price, volume) pairs and the newest time. A fourth field `r` marks a level that is sent again."""
    pairs, newest = [], 0
    for level in levels:
        if not (len(level) == 3 or (len(level) == 4 and level[3] == "r")):
            raise Refused(Reason.MISSING_FIELD, f"level {level[:4]}: expected price, volume, time")
        pairs.append((level[0], level[1]))
        newest = max(newest, _seconds(level[2]))
    return pairs, newest


def _sells(side: str, buy: str, sell: str) -> bool:
    """Return whether the taker sold."""
    if side not in (buy, sell):
        raise Refused(Reason.WRONG_TYPE, f"side {side[:40]!r}")
    return side == sell


def _seconds(text: str) -> int:
    parts = _SECONDS.fullmatch(text)
    if parts is None:
        raise Refused(Reason.TIME_OUT_OF_RANGE, f"time {text[:40]!r}")
    return int(parts[1]) * 10**9 + int(parts[2].ljust(9, "0"))
