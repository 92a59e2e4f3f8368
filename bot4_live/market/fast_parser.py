"""The compiled parser: the venue's own form of a frame, straight from its bytes to a record.

It takes what Binance sends (a combined-stream frame without blanks, known keys in any order, plain numbers) and
declines everything else, broken or merely unusual, which then goes to the reference parser: so what is accepted, and
what is refused and why, is the reference's decision alone. Tests hold it equal on every frame of the real captures and
on mutations of them.

The bytes of a Python `bytes` object end with a NUL that is not counted; no rule below accepts a NUL, so scanning needs
no bounds: it stops there at the latest.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_live.events import HEADER_SIZE, SCHEMA, Flag, Kind, Source
from bot4_live.instrument import Instrument
from bot4_live.market.numbers import MAX_UNITS
from bot4_live.market.parser import MAX_FRAME, MAX_LEVELS, MAX_MS, Rejected, parse

_DIFF, _TICKER, _TRADE = int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER), int(Kind.TRADE)
_SELL = int(Flag.SELL)
_WORDS = HEADER_SIZE // 8
_FIXED = (SCHEMA << 16) | (int(Source.MARKET_STREAM) << 24)

_QUOTE, _COMMA, _COLON, _POINT, _ZERO = ord('"'), ord(","), ord(":"), ord("."), ord("0")
_OPEN, _CLOSE, _LIST, _END = ord("{"), ord("}"), ord("["), ord("]")
_BACKSLASH, _BLANK, _ASCII_END = ord("\\"), ord(" "), 0x7F

# The keys, as the characters between their quotes (two at most: low byte first), and one bit for each.
_KEYS = [ord(c) for c in "eETsUubaBAtpqXm"]
_E, _SENT, _AT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS, _BID_QTY, _ASK_QTY, _ID, _PRICE, _QTY, _TYPE, _MAKER = _KEYS
_PREVIOUS = ord("p") | ord("u") << 8

_BIT_E, _BIT_SENT, _BIT_AT, _BIT_SYMBOL, _BIT_FIRST, _BIT_LAST, _BIT_PREVIOUS, _BIT_BIDS, _BIT_ASKS = (
    1 << i for i in range(9)
)
_BIT_BID_QTY, _BIT_ASK_QTY, _BIT_ID, _BIT_PRICE, _BIT_QTY, _BIT_TYPE, _BIT_MAKER = (1 << i for i in range(9, 16))
_COMMON = _BIT_E | _BIT_SYMBOL
_NEED_DIFF = _COMMON | _BIT_FIRST | _BIT_LAST | _BIT_PREVIOUS | _BIT_BIDS | _BIT_ASKS
_NEED_TICKER = _COMMON | _BIT_LAST | _BIT_BIDS | _BIT_BID_QTY | _BIT_ASKS | _BIT_ASK_QTY
_NEED_TRADE = _COMMON | _BIT_ID | _BIT_PRICE | _BIT_QTY | _BIT_MAKER

_HEAD = b'{"stream":"'
_DATA = b'","data":{'
_NAME_DIFF, _NAME_TICKER, _NAME_TRADE = b"depth", b"bookTicker", b"trade"
_EVENT_DIFF = b"depthUpdate"


@njit(cache=True)
def _word(raw: bytes, i: int, word: bytes) -> int:
    """Return the place after `word`, which must be at `i`, or -1."""
    for k in range(len(word)):
        if raw[i + k] != word[k]:
            return -1
    return i + len(word)


@njit(cache=True)
def _text_end(raw: bytes, i: int) -> int:
    """Return the place of the quote that ends a plain ASCII string begun before `i`, or -1."""
    while raw[i] != _QUOTE:
        if raw[i] < _BLANK or raw[i] > _ASCII_END or raw[i] == _BACKSLASH:
            return -1
        i += 1
    return i


@njit(cache=True)
def _integer(raw: bytes, i: int) -> tuple[int, int]:
    """Return (value, place after it) of a JSON integer >= 0 of at most 18 digits; the place is -1 for others."""
    begin = i
    value = 0
    while _ZERO <= raw[i] <= _ZERO + 9:
        value = value * 10 + (raw[i] - _ZERO)
        i += 1
        if i - begin > 18:
            return 0, -1
    if i == begin or (raw[begin] == _ZERO and i - begin > 1):
        return 0, -1
    return value, i


@njit(cache=True)
def _decimal(raw: bytes, i: int, unit_e8: int) -> tuple[int, int]:
    """Return (count of units, place after it) of a quoted decimal that loses no digit; the place is -1 for others."""
    if raw[i] != _QUOTE:
        return 0, -1
    i += 1
    begin = i
    value = 0
    while _ZERO <= raw[i] <= _ZERO + 9:
        value = value * 10 + (raw[i] - _ZERO)
        i += 1
        if i - begin > 9:
            return 0, -1
    if i == begin:
        return 0, -1
    scale = 100_000_000
    if raw[i] == _POINT:
        i += 1
        begin = i
        while _ZERO <= raw[i] <= _ZERO + 9:
            value = value * 10 + (raw[i] - _ZERO)
            scale //= 10
            i += 1
            if i - begin > 8:
                return 0, -1
        if i == begin:
            return 0, -1
    if raw[i] != _QUOTE:
        return 0, -1
    value *= scale
    units = value // unit_e8
    if units * unit_e8 != value or units > MAX_UNITS:
        return 0, -1
    return units, i + 1


@njit(cache=True)
def _levels(raw: bytes, i: int, tick_e8: int, lot_e8: int, out: np.ndarray, at: int) -> tuple[int, int]:
    """Write the levels `[["p","q"],...]` from out[at] on; return (next free word, place after), -1 for others."""
    if raw[i] != _LIST:
        return at, -1
    i += 1
    if raw[i] == _END:
        return at, i + 1
    limit = out.size - 2
    while True:
        if raw[i] != _LIST or at > limit:
            return at, -1
        price, i = _decimal(raw, i + 1, tick_e8)
        if i < 0 or raw[i] != _COMMA:
            return at, -1
        qty, i = _decimal(raw, i + 1, lot_e8)
        if i < 0 or raw[i] != _END:
            return at, -1
        out[at] = price
        out[at + 1] = qty
        at += 2
        i += 1
        if raw[i] == _END:
            return at, i + 1
        if raw[i] != _COMMA:
            return at, -1
        i += 1


@njit(cache=True)
def _stream_kind(raw: bytes) -> tuple[int, int]:
    """Return (kind, place of the first key of data), kind 0 for a frame that is not of the known form."""
    i = _word(raw, 0, _HEAD)
    if i < 0:
        return 0, -1
    end = _text_end(raw, i)
    if end < 0:
        return 0, -1
    while raw[i] != ord("@"):
        if i == end:
            return 0, -1
        i += 1
    i += 1
    kind, after = _DIFF, _word(raw, i, _NAME_DIFF)
    if after < 0:
        kind, after = _TICKER, _word(raw, i, _NAME_TICKER)
    if after < 0:
        kind, after = _TRADE, _word(raw, i, _NAME_TRADE)
    if after < 0 or (raw[after] != ord("@") and after != end):
        return 0, -1
    return kind, _word(raw, end, _DATA)


@njit(cache=True)
def _parse(raw: bytes, symbol: bytes, fixed: np.ndarray, out: np.ndarray) -> int:
    """Write the record's words to `out`; return how many, 0 when the frame is declined.

    `fixed`: tick_e8, lot_e8, the constant part of header word 1.
    """
    kind, i = _stream_kind(raw)
    if i < 0:
        return 0
    tick_e8, lot_e8 = fixed[0], fixed[1]
    seen = 0
    first = last = previous = sent = happened = n_bids = 0
    flags = 0
    bid = bid_qty = ask = ask_qty = 0
    at = _WORDS + 2 if kind == _DIFF else _WORDS
    while True:
        if raw[i] != _QUOTE:
            return 0
        key = np.int64(raw[i + 1])
        if key <= _BLANK:
            return 0
        i += 2
        if raw[i] != _QUOTE:
            if raw[i] <= _BLANK:
                return 0
            key |= np.int64(raw[i]) << 8
            i += 1
        if raw[i] != _QUOTE or raw[i + 1] != _COLON:
            return 0
        i += 2
        if key == _E:
            bit = _BIT_E
            name = _EVENT_DIFF if kind == _DIFF else (_NAME_TICKER if kind == _TICKER else _NAME_TRADE)
            if raw[i] != _QUOTE:
                return 0
            i = _word(raw, i + 1, name)
            if i < 0 or raw[i] != _QUOTE:
                return 0
            i += 1
        elif key == _SYMBOL:
            bit = _BIT_SYMBOL
            if raw[i] != _QUOTE:
                return 0
            i = _word(raw, i + 1, symbol)
            if i < 0 or raw[i] != _QUOTE:
                return 0
            i += 1
        elif key == _SENT:
            bit = _BIT_SENT
            sent, i = _integer(raw, i)
        elif key == _AT:
            bit = _BIT_AT
            happened, i = _integer(raw, i)
        elif key == _LAST and kind != _TRADE:
            bit = _BIT_LAST
            last, i = _integer(raw, i)
        elif key == _FIRST and kind == _DIFF:
            bit = _BIT_FIRST
            first, i = _integer(raw, i)
        elif key == _PREVIOUS and kind == _DIFF:
            bit = _BIT_PREVIOUS
            previous, i = _integer(raw, i)
        elif key == _BIDS and kind == _DIFF:
            bit = _BIT_BIDS
            if seen & _BIT_ASKS:  # bids are written first
                return 0
            at, i = _levels(raw, i, tick_e8, lot_e8, out, at)
            n_bids = (at - _WORDS) // 2 - 1
        elif key == _ASKS and kind == _DIFF:
            bit = _BIT_ASKS
            if not seen & _BIT_BIDS:
                return 0
            at, i = _levels(raw, i, tick_e8, lot_e8, out, at)
        elif key == _BIDS and kind == _TICKER:
            bit = _BIT_BIDS
            bid, i = _decimal(raw, i, tick_e8)
        elif key == _BID_QTY and kind == _TICKER:
            bit = _BIT_BID_QTY
            bid_qty, i = _decimal(raw, i, lot_e8)
        elif key == _ASKS and kind == _TICKER:
            bit = _BIT_ASKS
            ask, i = _decimal(raw, i, tick_e8)
        elif key == _ASK_QTY and kind == _TICKER:
            bit = _BIT_ASK_QTY
            ask_qty, i = _decimal(raw, i, lot_e8)
        elif key == _ID and kind == _TRADE:
            bit = _BIT_ID
            first, i = _integer(raw, i)
        elif key == _PRICE and kind == _TRADE:
            bit = _BIT_PRICE
            bid, i = _decimal(raw, i, tick_e8)
        elif key == _QTY and kind == _TRADE:
            bit = _BIT_QTY
            bid_qty, i = _decimal(raw, i, lot_e8)
        elif key == _MAKER and kind == _TRADE:
            bit = _BIT_MAKER
            after = _word(raw, i, b"true")
            flags = _SELL if after >= 0 else 0
            i = after if after >= 0 else _word(raw, i, b"false")
        elif key == _TYPE and kind == _TRADE:
            bit = _BIT_TYPE
            if raw[i] != _QUOTE:
                return 0
            i = _text_end(raw, i + 1)
            if i < 0:
                return 0
            i += 1
        else:
            return 0
        if i < 0 or seen & bit:
            return 0
        seen |= bit
        if raw[i] == _CLOSE:
            break
        if raw[i] != _COMMA:
            return 0
        i += 1
    if raw[i + 1] != _CLOSE or i + 2 != len(raw):
        return 0
    need = _NEED_DIFF if kind == _DIFF else (_NEED_TICKER if kind == _TICKER else _NEED_TRADE)
    exch_ms = happened if happened != 0 else sent
    if seen & need != need or not 0 < exch_ms < MAX_MS:
        return 0
    if kind == _DIFF:
        if last < first:
            return 0
        out[_WORDS] = previous
        out[_WORDS + 1] = n_bids
    else:
        out[at] = bid
        out[at + 1] = bid_qty
        at += 2
        if kind == _TICKER:
            out[at] = ask
            out[at + 1] = ask_qty
            at += 2
            first, last = last, 0
    out[0] = at * 8
    out[1] = fixed[2] | kind | flags << 8
    out[2] = 0
    out[3] = 0
    out[4] = exch_ms * 1_000_000
    out[5] = first
    out[6] = last
    out[7] = -1
    return at


class FastParser:
    """Parses frames of one instrument; `declined` counts those that went to the reference parser."""

    def __init__(self, instrument: Instrument) -> None:
        """Compile on the way, so that no frame has to wait for it."""
        self.instrument = instrument
        self.declined = 0
        self._symbol = instrument.symbol.encode()
        word = _FIXED | instrument.id << 32 | instrument.version << 48
        self._fixed = np.array([instrument.tick_e8, instrument.lot_e8, word], np.int64)
        self._out = np.zeros(_WORDS + 2 * (MAX_LEVELS + 1), np.int64)
        _parse(b"{}", self._symbol, self._fixed, self._out)

    def fast(self, raw: bytes) -> np.ndarray | None:
        """Return the record of a frame in the venue's own form, None for every other."""
        if type(raw) is not bytes or len(raw) > MAX_FRAME:
            return None
        words = _parse(raw, self._symbol, self._fixed, self._out)
        return self._out[:words].copy().view(np.uint8) if words else None

    def parse(self, raw: bytes) -> np.ndarray | Rejected:
        """Return the same as `parser.parse`, sooner."""
        record = self.fast(raw)
        if record is not None:
            return record
        self.declined += 1
        return parse(raw, self.instrument)
