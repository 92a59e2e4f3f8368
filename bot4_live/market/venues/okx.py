"""OKX, WebSocket v5: order books, trades, tickers, best quotes, funding, mark prices, open interest, liquidations.

Each update names the one before it (`prevSeqId`; -1 on a snapshot). An update that changes nothing has seqId ==
prevSeqId; after maintenance seqId may fall below prevSeqId and counts on from there. Before June 2026 a CRC32 over the
25 best levels came too, and older captures have only that; a checksum of 0 means that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import ClassVar
from zlib import crc32

import msgspec

from bot4_live.events import Field, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.base import RawLevels, Refused, VenueFeed
from bot4_live.market.venues.ladder import VenueBook
from bot4_live.market.venues.registry import Instruments

CHECKED_LEVELS = 25
BOOKS = ("books", "books-l2-tbt", "books50-l2-tbt")
_NO_SEQUENCE = -2


class _Arg(msgspec.Struct):
    channel: str = ""
    instId: str = ""


class _Outer(msgspec.Struct):
    arg: _Arg | None = None
    action: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    event: str = ""
    code: str = ""
    msg: str = ""


class _Book(msgspec.Struct):
    """A level is price, size, a field that is no longer used, number of orders."""

    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    checksum: int = 0
    seqId: int = _NO_SEQUENCE
    prevSeqId: int = _NO_SEQUENCE


class _Trade(msgspec.Struct):
    instId: str
    tradeId: str
    px: str
    sz: str
    side: str
    ts: str


class _Funding(msgspec.Struct):
    instId: str
    fundingRate: str
    fundingTime: str
    ts: str = ""


class _Value(msgspec.Struct):
    """mark-price and open-interest."""

    instId: str
    ts: str
    markPx: str = ""
    oi: str = ""


class _Detail(msgspec.Struct):
    side: str
    sz: str
    bkPx: str
    ts: str


class _Liquidations(msgspec.Struct):
    instId: str
    details: list[_Detail]


class _Ticker(msgspec.Struct):
    """Fields without a value are empty."""

    instId: str
    last: str
    lastSz: str
    askPx: str
    askSz: str
    bidPx: str
    bidSz: str
    open24h: str
    high24h: str
    low24h: str
    volCcy24h: str
    vol24h: str
    ts: str


_outer = msgspec.json.Decoder(_Outer)
_books = msgspec.json.Decoder(list[_Book])
_trades = msgspec.json.Decoder(list[_Trade])
_tickers = msgspec.json.Decoder(list[_Ticker])
_funding = msgspec.json.Decoder(list[_Funding])
_values = msgspec.json.Decoder(list[_Value])
_liquidations = msgspec.json.Decoder(list[_Liquidations])
_TICKER_FIELDS = (
    ("bidPx", Field.BID_PRICE),
    ("bidSz", Field.BID_QTY),
    ("askPx", Field.ASK_PRICE),
    ("askSz", Field.ASK_QTY),
    ("last", Field.LAST_PRICE),
    ("lastSz", Field.LAST_QTY),
    ("open24h", Field.OPEN_PRICE),
    ("high24h", Field.HIGH_PRICE),
    ("low24h", Field.LOW_PRICE),
    ("vol24h", Field.VOLUME),
    ("volCcy24h", Field.QUOTE_VOLUME),
)


class OkxFeed(VenueFeed):
    """The public connection."""

    venue: ClassVar[str] = "okx"

    def __init__(
        self, instruments: Instruments, raw_log: RawLog | None = None, *, liquidation_usd: float = LARGE_LIQUIDATION_USD
    ) -> None:
        """Follow `instruments`, all stale."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        self._readers: dict[str, Callable[[_Outer], None]] = {
            "trades": self._read_trades,
            "tickers": self._read_tickers,
            "bbo-tbt": self._read_quotes,
            "funding-rate": self._read_funding,
            "mark-price": self._read_values,
            "open-interest": self._read_values,
            "liquidation-orders": self._read_liquidations,
        }

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether it is a message of a v5 channel of one instrument."""
        try:
            outer = _outer.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return outer.arg is not None and bool(outer.arg.channel and outer.arg.instId and bytes(outer.data))

    def checksum(self, book: VenueBook) -> int:
        """Return the signed CRC32 over `price:size` of bid, ask, next bid, next ask and so on."""
        sides = [side.top(CHECKED_LEVELS) for side in (book.bids, book.asks)]
        pairs = [side[i] for i in range(CHECKED_LEVELS) for side in sides if i < len(side)]
        unsigned = crc32(":".join(f"{level.raw_price}:{level.raw_qty}" for level in pairs).encode())
        return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned

    def shares_ids(self, book: VenueBook) -> bool:
        """Return whether its updates carry seqId."""
        return book.chained

    def decode(self, raw: bytes) -> None:
        """Read one message."""
        if raw == b"pong":
            self._control()
            return
        outer = _outer.decode(raw)
        if outer.event:
            self._control()
            if outer.event == "error":
                raise Refused(Reason.UNKNOWN_STREAM, f"the venue refuses: {outer.code} {outer.msg}")
            return
        if outer.arg is None:
            raise Refused(Reason.MISSING_FIELD, "Object missing required field `arg`")
        if outer.arg.channel in BOOKS:
            self._read_book(self._book(outer.arg.instId), outer)
        else:
            self._harmless()
            read = self._readers.get(outer.arg.channel)
            if read is None:
                raise self._unknown(f"channel {outer.arg.channel[:40]!r}")
            read(outer)

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return the subscription to books, trades and tickers; to derivatives' funding, marks and liquidations too."""
        args = [{"channel": channel, "instId": name} for channel in ("books", "trades", "tickers") for name in names]
        kinds = {name: _kind(name) for name in names}
        for channel, of in _EXTRA.items():
            args += [{"channel": channel, "instId": name} for name, kind in kinds.items() if kind in of]
        args += [{"channel": "liquidation-orders", "instType": kind} for kind in sorted({*kinds.values()} - {"SPOT"})]
        return [json.dumps({"op": "subscribe", "args": args}).encode()]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return what makes the venue send the book's snapshot again."""
        args = [{"channel": "books", "instId": name}]
        return [json.dumps({"op": verb, "args": args}).encode() for verb in ("unsubscribe", "subscribe")]

    def _read_book(self, book: VenueBook, outer: _Outer) -> None:
        for message in _books.decode(outer.data):
            bids, asks = _levels(message.bids), _levels(message.asks)
            checksum = message.checksum or None
            if outer.action == "snapshot":
                sequenced = message.seqId != _NO_SEQUENCE
                update_id = message.seqId if sequenced else None
                self._snapshot(book, bids, asks, exch_ns=_ms(message.ts), update_id=update_id, checksum=checksum)
                book.chained = sequenced
            elif outer.action == "update":
                self._read_update(book, message, bids, asks, checksum)
            else:
                raise Refused(Reason.UNKNOWN_STREAM, f"book message of action {outer.action[:40]!r}")

    def _read_update(
        self, book: VenueBook, message: _Book, bids: RawLevels, asks: RawLevels, checksum: int | None
    ) -> None:
        last, previous = message.seqId, message.prevSeqId
        if (last == _NO_SEQUENCE) is not (previous == _NO_SEQUENCE) or (book.chained and last == _NO_SEQUENCE):
            raise Refused(Reason.MISSING_FIELD, f"book update of {book.name} without seqId and prevSeqId")
        if last == _NO_SEQUENCE:
            self._update(book, bids, asks, exch_ns=_ms(message.ts), checksum=checksum)
            return
        self._link(book, book.update_id, previous)
        if last == previous:
            if bids or asks:
                raise Refused(Reason.BAD_SEQUENCE, f"book update of {book.name} changes levels but not its id {last}")
            return
        reset = last < previous
        # A record's ids only grow: the levels of a reset go out under the next old id, the book then under its new one.
        ids = (previous + 1, previous + 1, previous) if reset else (previous + 1, last, previous)
        self._update(book, bids, asks, exch_ns=_ms(message.ts), ids=ids, checksum=checksum)
        if reset:
            self._renumber(book, last, _ms(message.ts))

    def _read_trades(self, outer: _Outer) -> None:
        for trade in _trades.decode(outer.data):
            if trade.side not in ("buy", "sell"):
                raise Refused(Reason.WRONG_TYPE, f"side {trade.side[:40]!r}")
            sell = trade.side == "sell"  # the taker's side
            book = self._known(trade.instId)
            self._trade(book, _integer(trade.tradeId), trade.px, trade.sz, sell=sell, exch_ns=_ms(trade.ts))

    def _read_tickers(self, outer: _Outer) -> None:
        for ticker in _tickers.decode(outer.data):
            fields = [(field, text) for name, field in _TICKER_FIELDS if (text := getattr(ticker, name))]
            self._ticker(self._known(ticker.instId), fields, exch_ns=_ms(ticker.ts))

    def _read_quotes(self, outer: _Outer) -> None:
        book = self._known(outer.arg.instId if outer.arg else "")
        for message in _books.decode(outer.data):
            bids, asks = _levels(message.bids), _levels(message.asks)
            if len(bids) != 1 or len(asks) != 1:
                raise Refused(Reason.MISSING_FIELD, f"best quote of {book.name} without both sides")
            update_id = message.seqId if book.chained and message.seqId > 0 else 0
            self._quote(book, bids[0], asks[0], exch_ns=_ms(message.ts), update_id=update_id)

    def _read_funding(self, outer: _Outer) -> None:
        for funding in _funding.decode(outer.data):
            values = [(Field.FUNDING_RATE, funding.fundingRate)]
            exch_ns = _ms(funding.ts) if funding.ts else 0
            self._funding(self._known(funding.instId), values, next_ns=_ms(funding.fundingTime), exch_ns=exch_ns)

    def _read_values(self, outer: _Outer) -> None:
        for value in _values.decode(outer.data):
            values = [(Field.MARK_PRICE, value.markPx), (Field.OPEN_INTEREST, value.oi)]
            self._ticker(self._known(value.instId), values, exch_ns=_ms(value.ts))

    def _read_liquidations(self, outer: _Outer) -> None:
        """Emit those of the instruments that are followed; the venue sends a whole kind's."""
        for liquidation in _liquidations.decode(outer.data):
            book = self.books.get(liquidation.instId)
            for detail in liquidation.details if book is not None else ():
                if detail.side not in ("buy", "sell"):
                    raise Refused(Reason.WRONG_TYPE, f"side {detail.side[:40]!r}")
                sell = detail.side == "sell"
                exch_ns = _ms(detail.ts)
                self._liquidation(self._known(liquidation.instId), detail.bkPx, detail.sz, sell=sell, exch_ns=exch_ns)


_EXTRA = {
    "funding-rate": ("SWAP",),
    "mark-price": ("SWAP", "FUTURES", "OPTION"),
    "open-interest": ("SWAP", "FUTURES", "OPTION"),
}


def _kind(name: str) -> str:
    """Return the venue's kind of an instrument by its name: BTC-USDT, BTC-USD-SWAP, BTC-USD-220527[-30000-C]."""
    parts = name.split("-")
    if len(parts) < 3:
        return "SPOT"
    return "SWAP" if parts[2] == "SWAP" else "OPTION" if len(parts) > 3 else "FUTURES"


def _levels(levels: Sequence[list[str]]) -> RawLevels:
    if any(len(level) < 2 for level in levels):
        raise Refused(Reason.MISSING_FIELD, "a level without price and size")
    return [(level[0], level[1]) for level in levels]


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Refused(Reason.BAD_NUMBER, f"id {text[:40]!r}")
    return int(text)


def _ms(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise Refused(Reason.TIME_OUT_OF_RANGE, f"time {text[:40]!r}")
    return int(text) * 1_000_000
