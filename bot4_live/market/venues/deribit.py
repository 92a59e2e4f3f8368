"""Deribit's JSON-RPC v2 over WebSocket, `wss://www.deribit.com/ws/api/v2`.

Channels `book.X.raw` (signed-in users), `book.X.100ms` and `.agg2`: a snapshot, then changes `[action, price, amount]`,
each with `change_id` and `prev_change_id`, which must be the id before: otherwise the book is stale at once and its
channel is left and entered again, which begins with a snapshot. `trades.*` (`direction` is the aggressor's; a trade
with `liquidation` is also a LIQUIDATION, of the side or sides it names), `ticker.*` (open interest, greeks; of
perpetuals the funding as well), `quote.*` and `perpetual.*`. Grouped books (`book.X.none.10.100ms`) have no chain and
are not taken.

Numbers are JSON numbers; they are read as text, never as floats. Amounts are USD for inverse perpetuals and futures,
coins for options. `raw` is proven on the capture; trades, funding and aggregated channels follow the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from bot4_live.events import Field, Reason
from bot4_live.market.feed_core import RawLog
from bot4_live.market.liquidations import LARGE_LIQUIDATION_USD
from bot4_live.market.venues.base import Refused, VenueFeed
from bot4_live.market.venues.ladder import VenueBook
from bot4_live.market.venues.registry import Instruments

_NS = 1_000_000
_NOTHING = msgspec.Raw(b"")

Change = tuple[Literal["new", "change", "delete"], Decimal, Decimal]


class _Params(msgspec.Struct):
    channel: str = ""
    data: msgspec.Raw = _NOTHING


class _Error(msgspec.Struct):
    message: str = ""
    code: int = 0


class _Frame(msgspec.Struct):
    jsonrpc: str
    method: str = ""
    params: _Params | None = None
    error: _Error | None = None


class _Book(msgspec.Struct):
    type: Literal["snapshot", "change"]
    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[Change]
    asks: list[Change]
    prev_change_id: int = -1


class _Trade(msgspec.Struct):
    instrument_name: str
    trade_id: str
    timestamp: int
    price: Decimal
    amount: Decimal
    direction: Literal["buy", "sell"]
    liquidation: Literal["M", "T", "MT"] | None = None


class _Greeks(msgspec.Struct):
    delta: Decimal | None = None
    gamma: Decimal | None = None
    vega: Decimal | None = None
    theta: Decimal | None = None
    rho: Decimal | None = None


class _Stats(msgspec.Struct):
    volume: Decimal | None = None
    volume_usd: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None


class _Ticker(msgspec.Struct):
    instrument_name: str
    timestamp: int
    best_bid_price: Decimal | None = None
    best_bid_amount: Decimal | None = None
    best_ask_price: Decimal | None = None
    best_ask_amount: Decimal | None = None
    last_price: Decimal | None = None
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    estimated_delivery_price: Decimal | None = None
    open_interest: Decimal | None = None
    underlying_price: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    mark_iv: Decimal | None = None
    bid_iv: Decimal | None = None
    ask_iv: Decimal | None = None
    interest_rate: Decimal | None = None
    current_funding: Decimal | None = None
    funding_8h: Decimal | None = None
    greeks: _Greeks | None = None
    stats: _Stats | None = None


class _Perpetual(msgspec.Struct):
    timestamp: int
    interest: Decimal
    index_price: Decimal | None = None


_frame = msgspec.json.Decoder(_Frame)
_book = msgspec.json.Decoder(_Book)
_trades = msgspec.json.Decoder(list[_Trade])
_ticker = msgspec.json.Decoder(_Ticker)
_perpetual = msgspec.json.Decoder(_Perpetual)

_TICKER_FIELDS = {
    "best_bid_price": Field.BID_PRICE, "best_bid_amount": Field.BID_QTY,
    "best_ask_price": Field.ASK_PRICE, "best_ask_amount": Field.ASK_QTY,
    "last_price": Field.LAST_PRICE, "mark_price": Field.MARK_PRICE, "index_price": Field.INDEX_PRICE,
    "estimated_delivery_price": Field.SETTLEMENT_PRICE, "open_interest": Field.OPEN_INTEREST,
    "underlying_price": Field.UNDERLYING_PRICE, "min_price": Field.MIN_PRICE, "max_price": Field.MAX_PRICE,
    "mark_iv": Field.MARK_IV, "bid_iv": Field.BID_IV, "ask_iv": Field.ASK_IV, "interest_rate": Field.INTEREST_RATE,
    "current_funding": Field.FUNDING_RATE, "funding_8h": Field.FUNDING_RATE_8H,
}  # fmt: skip
_GREEK_FIELDS = {
    "delta": Field.DELTA, "gamma": Field.GAMMA, "vega": Field.VEGA, "theta": Field.THETA, "rho": Field.RHO,
}  # fmt: skip
_STATS_FIELDS = {
    "volume": Field.VOLUME, "volume_usd": Field.QUOTE_VOLUME, "high": Field.HIGH_PRICE, "low": Field.LOW_PRICE,
}  # fmt: skip
_FUNDING_FIELDS = {
    "current_funding": Field.FUNDING_RATE, "funding_8h": Field.FUNDING_RATE_8H,
    "mark_price": Field.MARK_PRICE, "index_price": Field.INDEX_PRICE,
}  # fmt: skip
_PERPETUAL_FIELDS = {"interest": Field.INTEREST_RATE, "index_price": Field.INDEX_PRICE}
_INTERVALS = ("raw", "100ms", "agg2")


class DeribitFeed(VenueFeed):
    """Books, trades and tickers of any number of instruments on one connection; `interval` raw, 100ms or agg2."""

    venue: ClassVar[str] = "deribit"
    tickers_by: ClassVar[str] = "time"

    def __init__(
        self,
        instruments: Instruments,
        raw_log: RawLog | None = None,
        *,
        interval: str = "100ms",
        liquidation_usd: float = LARGE_LIQUIDATION_USD,
    ) -> None:
        """Follow `instruments`, all stale. Raises ValueError for an interval that the venue does not have."""
        super().__init__(instruments, raw_log, liquidation_usd=liquidation_usd)
        if interval not in _INTERVALS:
            raise ValueError(f"Deribit's intervals are {', '.join(_INTERVALS)}, not {interval!r}")
        self._interval = interval
        self._id = 0

    @classmethod
    def recognises(cls, raw: bytes) -> bool:
        """Return whether this frame can only be this feed's."""
        try:
            frame = _frame.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return frame.method == "subscription" and frame.params is not None

    def shares_ids(self, book: VenueBook) -> bool:
        """Return True: change_id is the instrument's."""
        return True

    def decode(self, raw: bytes) -> None:
        """Read one frame."""
        frame = _frame.decode(raw)
        if frame.error is not None:
            raise self._unknown(f"the venue says: {frame.error.message[:80]} ({frame.error.code})")
        if frame.method != "subscription" or frame.params is None:
            self._control()
            return
        kind, _, rest = frame.params.channel.partition(".")
        name, _, interval = rest.rpartition(".")
        data = frame.params.data
        if kind == "book" and interval in _INTERVALS and "." not in name:
            self._book_of(self._book(name), data)
            return
        self._harmless()
        if kind == "trades":
            self._trades_of(_trades.decode(data))
        elif kind in ("ticker", "quote"):
            self._ticker_of(_ticker.decode(data))
        elif kind == "perpetual":
            perpetual = _perpetual.decode(data)
            values = _values(perpetual, _PERPETUAL_FIELDS)
            self._funding(self._known(name), values, exch_ns=perpetual.timestamp * _NS)
        else:
            raise self._unknown(f"channel {frame.params.channel[:60]!r}")

    def subscribe(self, names: Sequence[str]) -> list[bytes]:
        """Return one frame for books, trades and tickers."""
        return [self._request("subscribe", [f"{kind}.{n}.{self._interval}" for kind in _KINDS for n in names])]

    def resubscribe(self, name: str) -> list[bytes]:
        """Return the frames that leave and enter the book's channel, which begins with a snapshot."""
        channel = [f"book.{name}.{self._interval}"]
        return [self._request("unsubscribe", channel), self._request("subscribe", channel)]

    def _book_of(self, book: VenueBook, data: msgspec.Raw) -> None:
        m = _book.decode(data)
        if m.instrument_name != book.name:
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{m.instrument_name[:40]!r} on the channel of {book.name}")
        bids, asks = _levels(m.bids), _levels(m.asks)
        at = m.timestamp * _NS
        if m.type == "snapshot":
            self._snapshot(book, bids, asks, exch_ns=at, update_id=m.change_id)
            return
        if m.prev_change_id < 0:
            raise Refused(Reason.MISSING_FIELD, "a change without prev_change_id")
        if m.change_id <= m.prev_change_id:
            raise Refused(Reason.BAD_SEQUENCE, f"change {m.change_id} after {m.prev_change_id}")
        if book.live:
            if m.change_id <= book.update_id:
                self._harmless()
                raise Refused(Reason.DUPLICATE, f"change {m.change_id} came before, last {book.update_id}")
            self._link(book, book.update_id, m.prev_change_id)
        self._update(book, bids, asks, exch_ns=at, ids=(m.change_id, m.change_id, m.prev_change_id))

    def _trades_of(self, trades: list[_Trade]) -> None:
        read = [
            (self._known(t.instrument_name), _trade_id(t.trade_id), _text(t.price), _text(t.amount), t) for t in trades
        ]
        for book, _, price, amount, _ in read:  # all are read before one is emitted
            if not self._measure(book, [(price, amount)]):
                self._levels(book, [(price, amount)], [])
        for book, number, price, amount, t in read:
            sell, at = t.direction == "sell", t.timestamp * _NS
            known = self.counts.duplicates
            self._trade(book, number, price, amount, sell=sell, exch_ns=at)
            if t.liquidation is None or self.counts.duplicates > known:
                continue
            if "T" in t.liquidation:
                self._liquidation(book, price, amount, sell=sell, trade_id=number, exch_ns=at)
            if "M" in t.liquidation:
                self._liquidation(book, price, amount, sell=not sell, trade_id=number, exch_ns=at)

    def _ticker_of(self, m: _Ticker) -> None:
        book, at = self._known(m.instrument_name), m.timestamp * _NS
        values = _values(m, _TICKER_FIELDS) + _values(m.greeks, _GREEK_FIELDS) + _values(m.stats, _STATS_FIELDS)
        self._ticker(book, values, exch_ns=at)
        if m.current_funding is not None or m.funding_8h is not None:
            self._funding(book, _values(m, _FUNDING_FIELDS), exch_ns=at)  # paid continuously: no next time

    def _request(self, method: str, channels: Iterable[str]) -> bytes:
        self._id += 1
        body = {"jsonrpc": "2.0", "id": self._id, "method": f"public/{method}", "params": {"channels": list(channels)}}
        return json.dumps(body).encode()


_KINDS = ("book", "trades", "ticker")


def _text(number: Decimal) -> str:
    """Return a number without exponent, every digit kept."""
    return format(number, "f")


def _levels(changes: list[Change]) -> list[tuple[str, str]]:
    return [(_text(price), "0" if action == "delete" else _text(amount)) for action, price, amount in changes]


def _values(source: object, fields: dict[str, Field]) -> list[tuple[Field, str]]:
    if source is None:
        return []
    found = [(field, getattr(source, name)) for name, field in fields.items()]
    return [(field, _text(number)) for field, number in found if number is not None]


def _trade_id(text: str) -> int:
    """Return the number of `48079254` or `ETH-34066025`; what stands before it is the instrument's currency."""
    number = text.rpartition("-")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Refused(Reason.BAD_NUMBER, f"trade id {text[:40]!r}")
    return int(number)
