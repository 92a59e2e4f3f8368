"""Binance market frames to event records: the reference parser (msgspec, exact integers).

Combined-stream frames `{"stream": ..., "data": {...}}` and bare ones are read alike, from whichever socket they came
(one for all, or /public and /market): depthUpdate, bookTicker, trade, markPriceUpdate (FUNDING), forceOrder
(LIQUIDATION), 24hrTicker (TICKER), and the REST depth snapshot. USD-M is the venue of record; COIN-M has the same
fields; spot (`venue` binance_spot) has no `pu`, no event time in bookTicker and no `e` in it. Fields we do not use may
come and go.

`exch_ns` is T, the venue's transaction time (E, when it was sent, where there is no T); 0 when the frame has neither.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np

from bot4_live.events import HEADER_SIZE, SCHEMA, SLOT_SIZE, Field, Flag, Kind, Reason, Source, value_slot
from bot4_live.instrument import Instrument
from bot4_live.market.numbers import BrokenNumber, Scale
from bot4_live.market.venues.binance_sockets import stream_name

MAX_FRAME = 8 << 20
MAX_LEVELS = 20_000
MAX_ID = 2**63 - 1
MAX_MS = 9_000_000_000_000  # year 2255; in ns it still fits in int64
_HEADER = struct.Struct("<IIBBBBHHQqqqqq")

Level = tuple[str, str]


_SNAPSHOT, _REST, _STREAM = Kind.DEPTH_SNAPSHOT, int(Source.MARKET_REST), int(Source.MARKET_STREAM)
_NOTHING = msgspec.Raw(b"")


class _Depth(msgspec.Struct):
    s: str
    U: int
    u: int
    b: list[Level]
    a: list[Level]
    pu: int = -1
    E: int = 0
    T: int = 0


class _Ticker(msgspec.Struct):
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str
    E: int = 0
    T: int = 0


class _Trade(msgspec.Struct):
    s: str
    t: int
    p: str
    q: str
    m: bool
    E: int = 0
    T: int = 0


class _Snapshot(msgspec.Struct):
    lastUpdateId: int
    bids: list[Level]
    asks: list[Level]
    symbol: str = ""
    E: int = 0
    T: int = 0


class _MarkPrice(msgspec.Struct):
    s: str
    E: int
    p: str  # mark price
    i: str = ""  # index price; COIN-M did not always send it
    P: str = ""  # estimated settlement price
    r: str = ""  # funding rate, empty for contracts that have none
    T: int = 0  # next funding time, 0 likewise


class _Order(msgspec.Struct):
    s: str
    S: Literal["BUY", "SELL"]
    q: str
    p: str
    ap: str
    z: str
    T: int


class _ForceOrder(msgspec.Struct):
    o: _Order
    E: int = 0


class _Day(msgspec.Struct):
    """24 hours that end now; only spot says the best quotes too."""

    s: str
    E: int
    c: str
    Q: str
    o: str
    h: str
    l: str  # noqa: E741 - the venue's name
    v: str
    q: str
    L: int = -1  # the last trade's id, -1 without trades
    b: str = ""
    B: str = ""
    a: str = ""
    A: str = ""


class _Outer(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = _NOTHING
    e: str = ""
    lastUpdateId: msgspec.Raw = _NOTHING
    A: msgspec.Raw = _NOTHING  # with B the sign of spot's bare bookTicker, which has no `e`
    B: msgspec.Raw = _NOTHING


class _Inner(msgspec.Struct):
    e: str = ""


@dataclass(frozen=True)
class Rejected:
    """A frame that cannot become an event: why, in words, and which stream it came on (a Kind, 0 = not known)."""

    reason: Reason
    detail: str
    stream: int = 0


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_outer = msgspec.json.Decoder(_Outer)
_inner = msgspec.json.Decoder(_Inner)
_KIND_OF_EVENT = {
    "depthUpdate": Kind.DEPTH_DIFF, "bookTicker": Kind.BOOK_TICKER, "trade": Kind.TRADE,
    "markPriceUpdate": Kind.FUNDING, "forceOrder": Kind.LIQUIDATION, "24hrTicker": Kind.TICKER,
}  # fmt: skip
_KIND_OF_STREAM = {
    "depth": Kind.DEPTH_DIFF, "bookTicker": Kind.BOOK_TICKER, "trade": Kind.TRADE,
    "markPrice": Kind.FUNDING, "forceOrder": Kind.LIQUIDATION, "ticker": Kind.TICKER,
}  # fmt: skip
_DECODERS: dict[Kind, Any] = {
    Kind.DEPTH_DIFF: msgspec.json.Decoder(_Depth),
    Kind.BOOK_TICKER: msgspec.json.Decoder(_Ticker),
    Kind.TRADE: msgspec.json.Decoder(_Trade),
    Kind.DEPTH_SNAPSHOT: msgspec.json.Decoder(_Snapshot),
    Kind.FUNDING: msgspec.json.Decoder(_MarkPrice),
    Kind.LIQUIDATION: msgspec.json.Decoder(_ForceOrder),
    Kind.TICKER: msgspec.json.Decoder(_Day),
}


@lru_cache(maxsize=64)
def _scales(instrument: Instrument) -> tuple[Scale, Scale]:
    return Scale(instrument.tick_e8), Scale(instrument.lot_e8)


def parse(raw: bytes, instrument: Instrument) -> np.ndarray | Rejected:
    """Return one frame as a record (recv_ns and seq unset, c = -1), or why it cannot be one. Never raises."""
    if len(raw) > MAX_FRAME:
        return Rejected(Reason.TOO_LARGE, f"frame of {len(raw)} bytes")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return Rejected(Reason.NOT_UTF8, str(error))
    kind: Kind | None = None
    try:
        kind, body = _kind_of(raw, instrument.venue == "binance_spot")
        if kind is None:
            return Rejected(
                Reason.UNKNOWN_STREAM, "neither depth, bookTicker, trade, markPrice, forceOrder, ticker nor a snapshot"
            )
        return _BUILDERS[kind](_DECODERS[kind].decode(body), instrument)
    except (_Refused, BrokenNumber) as error:
        return Rejected(error.reason, str(error), kind or 0)
    except msgspec.ValidationError as error:
        missing = "missing required field" in str(error)
        return Rejected(Reason.MISSING_FIELD if missing else Reason.WRONG_TYPE, str(error), kind or 0)
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejected(Reason.NOT_JSON, str(error), kind or 0)


def _kind_of(raw: bytes, spot: bool) -> tuple[Kind | None, Any]:
    """Return what the frame is and the JSON of its body."""
    outer = _outer.decode(raw)
    if not bytes(outer.data):
        if bytes(outer.lastUpdateId):
            return Kind.DEPTH_SNAPSHOT, raw
        if spot and not outer.e and bytes(outer.A) and bytes(outer.B):
            return Kind.BOOK_TICKER, raw
        return _KIND_OF_EVENT.get(outer.e), raw
    inner = _inner.decode(outer.data)
    named = _KIND_OF_STREAM.get(stream_name(outer.stream))
    if named is None or (inner.e and _KIND_OF_EVENT.get(inner.e) is not named):
        return None, raw
    if not inner.e and not (spot and named is Kind.BOOK_TICKER):
        raise _Refused(Reason.MISSING_FIELD, "Object missing required field `e`")
    return named, outer.data


def _record(
    kind: Kind, instrument: Instrument, exch_ms: int, a: int, b: int, slots: list[int], flags: int = 0
) -> np.ndarray:
    """Return a writable record; `slots` are x, y, x, y ..."""
    if not 0 <= exch_ms < MAX_MS:
        raise _Refused(Reason.TIME_OUT_OF_RANGE, f"event time {exch_ms} ms")
    length = HEADER_SIZE + len(slots) * SLOT_SIZE // 2
    source = _REST if kind is _SNAPSHOT else _STREAM
    exch_ns = exch_ms * 1_000_000
    data = bytearray(
        _HEADER.pack(length, 0, kind, flags, SCHEMA, source, instrument.id, instrument.version, 0, 0, exch_ns, a, b, -1)
    )
    data += array("q", slots).tobytes()
    return np.frombuffer(data, np.uint8)


def _ids(*values: int) -> None:
    for value in values:
        if value < 0:
            raise _Refused(Reason.NEGATIVE, f"id {value}")
        if value > MAX_ID:
            raise _Refused(Reason.TOO_LARGE, f"id {value}")


def _symbol(got: str, instrument: Instrument) -> None:
    if got != instrument.symbol:
        raise _Refused(Reason.UNKNOWN_SYMBOL, f"symbol {got[:40]!r}, expected {instrument.symbol}")


def _levels(first: tuple[int, int], bids: list[Level], asks: list[Level], instrument: Instrument) -> list[int]:
    if len(bids) + len(asks) > MAX_LEVELS:
        raise _Refused(Reason.TOO_LARGE, f"{len(bids) + len(asks)} levels")
    price, qty = (scale.units for scale in _scales(instrument))
    slots = [*first]
    for levels in (bids, asks):
        for p, q in levels:
            slots.append(price(p))
            slots.append(qty(q))
    return slots


def _depth(m: _Depth, instrument: Instrument) -> np.ndarray:
    _symbol(m.s, instrument)
    if m.pu == -1:
        if instrument.venue != "binance_spot":
            raise _Refused(Reason.MISSING_FIELD, "Object missing required field `pu`")
        _ids(m.U, m.u)
    else:
        _ids(m.U, m.u, m.pu)
    if m.u < m.U:
        raise _Refused(Reason.BAD_SEQUENCE, f"last id {m.u} before first id {m.U}")
    slots = _levels((m.pu, len(m.b)), m.b, m.a, instrument)
    return _record(Kind.DEPTH_DIFF, instrument, _time(m, instrument), m.U, m.u, slots)


def _ticker(m: _Ticker, instrument: Instrument) -> np.ndarray:
    _symbol(m.s, instrument)
    _ids(m.u)
    price, qty = _scales(instrument)
    slots = [price.units(m.b), qty.units(m.B), price.units(m.a), qty.units(m.A)]
    return _record(Kind.BOOK_TICKER, instrument, _time(m, instrument), m.u, 0, slots)


def _trade(m: _Trade, instrument: Instrument) -> np.ndarray:
    _symbol(m.s, instrument)
    _ids(m.t)
    price, qty = _scales(instrument)
    slots = [price.units(m.p), qty.units(m.q)]
    # m: the buyer was the maker, so the aggressor sold.
    return _record(Kind.TRADE, instrument, _time(m, instrument), m.t, 0, slots, Flag.SELL if m.m else 0)


def _snapshot(m: _Snapshot, instrument: Instrument) -> np.ndarray:
    if m.symbol:
        _symbol(m.symbol, instrument)
    _ids(m.lastUpdateId)
    slots = _levels((0, len(m.bids)), m.bids, m.asks, instrument)
    return _record(Kind.DEPTH_SNAPSHOT, instrument, m.T or m.E, m.lastUpdateId, m.lastUpdateId, slots)


def _value(field: Field, text: str) -> tuple[int, int]:
    """Return the slot of an exact number that has no tick."""
    try:
        return value_slot(field, text)
    except ValueError as error:
        raise _Refused(Reason.LOST_DIGITS if "more digits" in str(error) else Reason.BAD_NUMBER, str(error)) from None


def _mark_price(m: _MarkPrice, instrument: Instrument) -> np.ndarray:
    _symbol(m.s, instrument)
    if not 0 <= m.T < MAX_MS:
        raise _Refused(Reason.TIME_OUT_OF_RANGE, f"next funding time {m.T} ms")
    fields = (
        (Field.FUNDING_RATE, m.r),
        (Field.MARK_PRICE, m.p),
        (Field.INDEX_PRICE, m.i),
        (Field.SETTLEMENT_PRICE, m.P),
    )
    slots = [word for field, text in fields if text for word in _value(field, text)]
    return _record(Kind.FUNDING, instrument, m.E, m.T * 1_000_000, 0, slots)


def _force_order(m: _ForceOrder, instrument: Instrument) -> np.ndarray:
    o = m.o
    _symbol(o.s, instrument)
    price, qty = _scales(instrument)
    slots = [price.units(o.p), qty.units(o.q)]
    slots += _value(Field.AVERAGE_PRICE, o.ap) + _value(Field.FILLED_QTY, o.z)
    return _record(Kind.LIQUIDATION, instrument, o.T or m.E, 0, 0, slots, Flag.SELL if o.S == "SELL" else 0)


def _day(m: _Day, instrument: Instrument) -> np.ndarray:
    _symbol(m.s, instrument)
    fields = [
        (Field.BID_PRICE, m.b), (Field.BID_QTY, m.B), (Field.ASK_PRICE, m.a), (Field.ASK_QTY, m.A),
        (Field.LAST_PRICE, m.c), (Field.LAST_QTY, m.Q), (Field.OPEN_PRICE, m.o), (Field.HIGH_PRICE, m.h),
        (Field.LOW_PRICE, m.l), (Field.VOLUME, m.v),
    ]  # fmt: skip
    if instrument.venue != "binance_coinm":  # its q is coins, its v contracts
        fields.append((Field.QUOTE_VOLUME, m.q))
    if m.L > MAX_ID:
        raise _Refused(Reason.TOO_LARGE, f"id {m.L}")
    slots = [word for field, text in fields if text for word in _value(field, text)]
    return _record(Kind.TICKER, instrument, m.E, max(m.L, 0), 0, slots)


def _time(m: _Depth | _Ticker | _Trade, instrument: Instrument) -> int:
    """Return T, else E; only spot's bookTicker may have neither."""
    if not m.T and not m.E and not (instrument.venue == "binance_spot" and isinstance(m, _Ticker)):
        raise _Refused(Reason.MISSING_FIELD, "Object missing required field `T`")
    return m.T or m.E


_BUILDERS: dict[Kind, Any] = {
    Kind.DEPTH_DIFF: _depth,
    Kind.BOOK_TICKER: _ticker,
    Kind.TRADE: _trade,
    Kind.DEPTH_SNAPSHOT: _snapshot,
    Kind.FUNDING: _mark_price,
    Kind.LIQUIDATION: _force_order,
    Kind.TICKER: _day,
}
