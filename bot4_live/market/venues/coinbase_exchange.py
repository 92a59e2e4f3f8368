"""Coinbase's feed of 2021, `wss://ws-feed.pro.coinbase.com`, today `wss://ws-feed.exchange.coinbase.com`.

Channels level2 (`snapshot`, then `l2update` with one or more changes), matches and ticker. Updates of level2 carry no
number: the venue promises to deliver them all, and nothing in the frames proves it. What shows a lost one is the end
of the connection, a crossed book, or a ticker whose best prices are not ours (`bot4 verify-book` compares them).

`side` of a match is the maker's: the aggressor did the opposite. `last_match`, the first message of a subscription,
tells of a trade before it: it becomes a TICKER, not a TRADE, or features would count an old trade as new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from bot4_live.events import Field
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.coinbase_frames import decoded, request
from bot4_live.market.venues.times import rfc3339_ns_or_0


class _Frame(msgspec.Struct):
    type: str
    product_id: str = ""
    message: str = ""


class _Snapshot(msgspec.Struct):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: str = ""


class _Update(msgspec.Struct):
    changes: list[tuple[Literal["buy", "sell"], str, str]]
    time: str = ""


class _Match(msgspec.Struct):
    trade_id: int
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: str


class Ticker(msgspec.Struct):
    """A frame of the ticker channel, which comes after a match."""

    price: str
    time: str = ""
    trade_id: int = 0
    last_size: str = ""
    open_24h: str = ""
    high_24h: str = ""
    low_24h: str = ""
    volume_24h: str = ""
    best_bid: str = ""
    best_bid_size: str = ""
    best_ask: str = ""
    best_ask_size: str = ""

    def values(self) -> list[tuple[Field, str | None]]:
        """Return what it says."""
        return [
            (Field.LAST_PRICE, self.price), (Field.LAST_QTY, self.last_size),
            (Field.BID_PRICE, self.best_bid), (Field.BID_QTY, self.best_bid_size),
            (Field.ASK_PRICE, self.best_ask), (Field.ASK_QTY, self.best_ask_size),
            (Field.OPEN_PRICE, self.open_24h), (Field.HIGH_PRICE, self.high_24h), (Field.LOW_PRICE, self.low_24h),
            (Field.VOLUME, self.volume_24h),
        ]  # fmt: skip


_frame = msgspec.json.Decoder(_Frame)
_snapshot = msgspec.json.Decoder(_Snapshot)
_update = msgspec.json.Decoder(_Update)
_match = msgspec.json.Decoder(_Match)
_ticker = msgspec.json.Decoder(Ticker)

_BOOKS = ("snapshot", "l2update")
_TRADES = ("match", "last_match")
_CONTROL = ("subscriptions", "heartbeat", "status")
_CHANNELS = ["level2", "matches", "ticker"]


def read_ticker(raw: bytes) -> Ticker:
    """Return a frame of the ticker channel. Raises msgspec's errors."""
    return _ticker.decode(raw)


class CoinbaseExchangeFeed(VenueFeed):
    """Books, trades and tickers of any number of products on one connection."""

    venue: ClassVar[str] = "coinbase"
    tickers_by: ClassVar[str] = "arrival"

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether this frame can only be this feed's: matches and tickers come with the orders' channels too."""
        frame = decoded(_frame, raw)
        return frame is not None and bool(frame.product_id) and frame.type in (*_BOOKS, "last_match")

    def decode(self, raw: bytes) -> None:
        """Read one frame."""
        frame = _frame.decode(raw)
        if frame.type in _CONTROL:
            self._control()
            return
        if frame.type == "error":
            raise self._unknown(f"the venue says: {frame.message[:80]}")
        if frame.type not in (*_BOOKS, *_TRADES, "ticker"):
            raise self._unknown(f"message type {frame.type[:40]!r}")
        book = self._book(frame.product_id)
        if frame.type == "snapshot":
            snapshot = _snapshot.decode(raw)
            self._snapshot(book, snapshot.bids, snapshot.asks, exch_ns=rfc3339_ns_or_0(snapshot.time))
        elif frame.type == "l2update":
            update = _update.decode(raw)
            bids = [(price, qty) for side, price, qty in update.changes if side == "buy"]
            asks = [(price, qty) for side, price, qty in update.changes if side == "sell"]
            self._update(book, bids, asks, exch_ns=rfc3339_ns_or_0(update.time))
        elif frame.type == "ticker":
            self._harmless()
            ticker = read_ticker(raw)
            self._ticker(book, ticker.values(), trade_id=ticker.trade_id, exch_ns=rfc3339_ns_or_0(ticker.time))
        else:
            self._harmless()
            match = _match.decode(raw)
            at = rfc3339_ns_or_0(match.time)
            if frame.type == "match":
                self._trade(book, match.trade_id, match.price, match.size, sell=match.side == "buy", exch_ns=at)
            else:
                values = ((Field.LAST_PRICE, match.price), (Field.LAST_QTY, match.size))
                self._ticker(book, values, trade_id=match.trade_id, exch_ns=at)

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return one frame for all three channels."""
        return [request("subscribe", names, _CHANNELS)]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return the frames that leave and enter level2, which begins with a snapshot."""
        return [request("unsubscribe", [name], ["level2"]), request("subscribe", [name], ["level2"])]
