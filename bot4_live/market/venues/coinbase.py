"""Coinbase Advanced Trade, `wss://advanced-trade-ws.coinbase.com`: level2 (frames say l2_data), market_trades, ticker.

Every frame of a connection, of whatever channel, has `sequence_num`, one more than the last: a jump means that frames
were lost, and any book may have lost an update, so all are stale at once. A number that came before is a duplicate.
An update of a book is numbered by its frame: a = b = sequence_num, and the previous one is the last that changed it.

`side` of a trade is the maker's: the aggressor did the opposite. The `snapshot` of market_trades tells of trades
before the subscription: its newest becomes a TICKER. Written from the venue's documentation, not proven live.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np

from bot4_live.events import Field, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.base import RawLevels, Refused, VenueFeed
from bot4_live.market.venues.coinbase_frames import decoded, request
from bot4_live.market.venues.ladder import VenueBook
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.venues.times import rfc3339_ns_or_0


class _Frame(msgspec.Struct):
    channel: str = ""
    sequence_num: int = -1
    timestamp: str = ""
    events: msgspec.Raw = msgspec.Raw(b"")
    type: str = ""
    message: str = ""


class _Level(msgspec.Struct):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class _BookEvent(msgspec.Struct):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[_Level]


class _Trade(msgspec.Struct):
    trade_id: str
    product_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class _TradesEvent(msgspec.Struct):
    type: Literal["snapshot", "update"]
    trades: list[_Trade]


class _Ticker(msgspec.Struct):
    product_id: str
    price: str
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    best_bid: str = ""
    best_bid_quantity: str = ""
    best_ask: str = ""
    best_ask_quantity: str = ""

    def values(self) -> list[tuple[Field, str | None]]:
        """Return what it says."""
        return [
            (Field.LAST_PRICE, self.price), (Field.BID_PRICE, self.best_bid), (Field.BID_QTY, self.best_bid_quantity),
            (Field.ASK_PRICE, self.best_ask), (Field.ASK_QTY, self.best_ask_quantity),
            (Field.HIGH_PRICE, self.high_24_h), (Field.LOW_PRICE, self.low_24_h), (Field.VOLUME, self.volume_24_h),
        ]  # fmt: skip


class _TickerEvent(msgspec.Struct):
    tickers: list[_Ticker]


_frame = msgspec.json.Decoder(_Frame)
_books = msgspec.json.Decoder(list[_BookEvent])
_trades = msgspec.json.Decoder(list[_TradesEvent])
_tickers = msgspec.json.Decoder(list[_TickerEvent])

_BOOK, _TRADES, _TICKERS = "l2_data", "market_trades", ("ticker", "ticker_batch")
_CONTROL = ("subscriptions", "heartbeats", "status")
_CHANNELS = ("level2", "market_trades", "ticker", "heartbeats")  # heartbeats: a lost frame shows within a second


class CoinbaseFeed(VenueFeed):
    """Books, trades and tickers of any number of products on one connection."""

    venue: ClassVar[str] = "coinbase"

    def __init__(
        self, instruments: Instruments, raw_log: RawLog | None = None, *, liquidation_usd: float = LARGE_LIQUIDATION_USD
    ) -> None:
        """Follow `instruments`, all stale."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        self._last = -1
        for book in self.books.values():
            book.chained = True

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether this frame can only be this feed's."""
        frame = decoded(_frame, raw)
        return frame is not None and frame.sequence_num >= 0 and frame.channel in (_BOOK, _TRADES, *_TICKERS)

    def on_connect(self, recv_ns: int) -> list[np.ndarray]:
        """Open: the venue counts from 0 on each connection."""
        self._last = -1
        return super().on_connect(recv_ns)

    def decode(self, raw: bytes) -> None:
        """Read one frame."""
        frame = _frame.decode(raw)
        if frame.type == "error":
            raise self._unknown(f"the venue says: {frame.message[:80]}")
        if frame.sequence_num < 0:
            raise Refused(Reason.MISSING_FIELD, "no sequence_num")
        self._follow(frame.sequence_num)
        if frame.channel == _BOOK:
            self._at_stake = tuple(self.books.values())
            self._books_of(frame)
            return
        self._harmless()
        if frame.channel == _TRADES:
            self._trades_of(frame)
        elif frame.channel in _TICKERS:
            at = rfc3339_ns_or_0(frame.timestamp)
            for event in _tickers.decode(frame.events):
                for ticker in event.tickers:
                    self._ticker(self._known(ticker.product_id), ticker.values(), exch_ns=at)
        elif frame.channel in _CONTROL:
            self._control()
        else:
            raise self._unknown(f"channel {frame.channel[:40]!r}")

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return one frame a channel."""
        return [request("subscribe", names, channel) for channel in _CHANNELS]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return the frames that leave and enter level2, which begins with a snapshot."""
        return [request("unsubscribe", [name], "level2"), request("subscribe", [name], "level2")]

    def _follow(self, number: int) -> None:
        """Check the frame's number; what is missing makes every book stale."""
        last = self._last
        if last >= 0:
            if number <= last:
                self._harmless()
                raise Refused(Reason.DUPLICATE, f"sequence_num {number} came before, last {last}")
            self.counts.links += 1
            self.counts.links_unbroken += number == last + 1
            if number != last + 1:
                for book in self.books.values():
                    self._gap(book, last + 1, number)
        self._last = number

    def _books_of(self, frame: _Frame) -> None:
        at, number = rfc3339_ns_or_0(frame.timestamp), frame.sequence_num
        events = _books.decode(frame.events)
        merged: dict[str, _BookEvent] = {}
        for event in events:
            begun = merged.get(event.product_id)
            if begun is None or event.type == "snapshot":
                merged[event.product_id] = event
            else:
                begun.updates.extend(event.updates)
        stranger = next((name for name in merged if name not in self.books), None)
        if stranger is not None and self._measured is None:
            self._at_stake = tuple(self.books[name] for name in merged if name in self.books)
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{stranger[:40]!r} is not followed")
        books = zip([self._known(name) for name in merged], merged.values(), strict=True)
        read = [(book, event.type, _side(event, "bid"), _side(event, "offer")) for book, event in books]
        self._at_stake = tuple(book for book, *_ in read)
        for book, _, bids, asks in read:  # all are read before one is applied
            self._test(book, bids, asks)
        for book, what, bids, asks in read:
            if what == "snapshot":
                self._snapshot(book, bids, asks, exch_ns=at, update_id=number)
            else:
                self._update(book, bids, asks, exch_ns=at, ids=(number, number, book.update_id))

    def _test(self, book: VenueBook, bids: RawLevels, asks: RawLevels = ()) -> None:
        """Read numbers without using them. Raises BrokenNumber, Refused."""
        if not self._measure(book, (*bids, *asks)):
            self._levels(book, bids, asks)

    def _trades_of(self, frame: _Frame) -> None:
        for group in _trades.decode(frame.events):
            read = sorted((rfc3339_ns_or_0(t.time), _trade_id(t.trade_id), t) for t in group.trades)
            books = {t.product_id: self._known(t.product_id) for *_, t in read}
            if group.type == "snapshot":
                newest = {t.product_id: (at, number, t) for at, number, t in read}
                for name, (at, number, t) in newest.items():
                    values = [(Field.LAST_PRICE, t.price), (Field.LAST_QTY, t.size)]
                    self._ticker(books[name], values, trade_id=number, exch_ns=at)
                continue
            for _, _, t in read:
                self._test(books[t.product_id], [(t.price, t.size)])
            for at, number, t in read:
                self._trade(books[t.product_id], number, t.price, t.size, sell=t.side == "BUY", exch_ns=at)


def _side(event: _BookEvent, side: str) -> list[tuple[str, str]]:
    return [(level.price_level, level.new_quantity) for level in event.updates if level.side == side]


def _trade_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(Reason.BAD_NUMBER, f"trade id {text[:40]!r}")
    return int(text)
