"""The compiled parser: the venue's own form of a frame, straight from its bytes to a record.

It takes what Binance sends on USD-M, COIN-M and spot (a combined-stream frame without blanks, keys in any order, plain
numbers, unknown keys with a plain value; the answer of GET depth in the venue's order) and declines everything else,
broken or merely unusual, which then goes to the reference parser: so what is accepted, and what is refused and why, is
the reference's decision alone. Tests hold it equal on every frame of the real captures and on mutations of them.

Kernels take raw addresses. A frame is only scanned when its last byte is `}`; no rule but the last accepts one outside
a string, and strings are bounded, so that scanning stops there at the latest (see `scan` for words read past it).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import HEADER_SIZE, SCHEMA, Flag, Kind, Source
from bot4_live.instrument import E8, Instrument
from bot4_live.kernels import address, entry_point
from bot4_live.market.bits import lowest_bit
from bot4_live.market.level_text import (
    C_LOT,
    C_PRICE_DIGITS,
    C_QTY_DIGITS,
    C_SCRATCH,
    C_SPOT,
    C_SYMBOL,
    C_SYMBOL_SIZE,
    C_TICK,
    C_WORD,
    levels,
)
from bot4_live.market.parser import MAX_FRAME, MAX_LEVELS, MAX_MS, Rejected, parse
from bot4_live.market.scan import (
    BLOCK,
    QUOTE,
    ZERO,
    byte_at,
    decimal,
    find_text,
    int_at,
    integer,
    mask,
    matches,
    packed,
    page_end,
    store64,
    text_end,
    word_at,
)

_DIFF, _TICKER, _TRADE = int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER), int(Kind.TRADE)
_SNAPSHOT = int(Kind.DEPTH_SNAPSHOT)
_FROM_REST = (int(Source.MARKET_REST) - int(Source.MARKET_STREAM)) << 24
_SELL = int(Flag.SELL)
_FIXED = (SCHEMA << 16) | (int(Source.MARKET_STREAM) << 24)
MAX_RECORD = HEADER_SIZE + 16 * (MAX_LEVELS + 1)

_COMMA, _COLON, _AT_SIGN, _BACKSLASH, _BLANK = ord(","), ord(":"), ord("@"), ord("\\"), ord(" ")
_ALL_SYMBOLS = ord("!")  # begins streams of the whole market
_CLOSE, _LIST, _END = ord("}"), ord("["), ord("]")


# Keys, as the characters between their quotes (low byte first), and a bit for each that a record needs.
_KEYS = [ord(c) for c in "eETsUubaBAtpqm"]
_EVENT, _SENT, _AT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS, _BID_QTY, _ASK_QTY, _ID, _PRICE, _QTY, _MAKER = _KEYS
_PREVIOUS = ord("p") | ord("u") << 8
(_BIT_E, _BIT_SENT, _BIT_AT, _BIT_SYMBOL, _BIT_FIRST, _BIT_LAST, _BIT_PREVIOUS, _BIT_BIDS, _BIT_ASKS,
 _BIT_BID_QTY, _BIT_ASK_QTY, _BIT_ID, _BIT_PRICE, _BIT_QTY, _BIT_MAKER) = (1 << i for i in range(15))  # fmt: skip
_NEED_DIFF = _BIT_E | _BIT_SYMBOL | _BIT_FIRST | _BIT_LAST | _BIT_PREVIOUS | _BIT_BIDS | _BIT_ASKS
_NEED_TICKER = _BIT_E | _BIT_SYMBOL | _BIT_LAST | _BIT_BIDS | _BIT_BID_QTY | _BIT_ASKS | _BIT_ASK_QTY
_NEED_TRADE = _BIT_E | _BIT_SYMBOL | _BIT_ID | _BIT_PRICE | _BIT_QTY | _BIT_MAKER

_HEAD, _HEAD_TAIL = packed(b'{"stream'), packed(b'":"')
_DATA, _DATA_TAIL = packed(b'","data"'), packed(b":{")
_DEPTH, _TRADE_NAME = packed(b"depth"), packed(b"trade")
_BOOK_TICK, _ER = packed(b"bookTick"), packed(b"er")
_DEPTH_UPD, _ATE = packed(b"depthUpd"), packed(b"ate")
_TRUE, _FALSE, _NULL = packed(b"true"), packed(b"false"), packed(b"null")
_LAST_UPD, _ATE_ID = packed(b'{"lastUp'), packed(b'dateId":')
_BIDS_NAME, _ASKS_NAME = packed(b'bids":'), packed(b'asks":')
_SYMBOL_NAME, _PAIR_NAME = packed(b'symbol":'), packed(b'pair":"')
_2, _3, _4, _5, _6, _7 = (mask(n) for n in range(2, 8))
_BYTE = np.uint64(0xFF)
_1B, _2B = np.uint64(8), np.uint64(16)
_UQUOTE = np.uint64(QUOTE)
_ONE_KEY, _ONE_KEY_MASK = packed(b'"\0":'), packed(b"\xff\0\xff\xff")
_TWO_KEY, _TWO_KEY_MASK = packed(b'"\0\0":'), packed(b"\xff\0\0\xff\xff")
_TWO, _NUL, _U1 = np.uint64(0xFFFF), np.uint64(0), np.uint64(1)

_SYMBOL_WORDS = 8


@njit(cache=True, forceinline=True)
def _stream_name(addr: int, end: int, safe: int) -> tuple[int, int]:
    """Return (address of the quote that ends the stream's name, address of the first @ in it), -1 for none."""
    if addr + BLOCK <= safe:
        ats, ends = find_text(addr)
        if ends != _NUL and ats != _NUL:
            size, at = lowest_bit(ends), lowest_bit(ats)
            if at < size and addr + size < end and byte_at(addr + size) == QUOTE:
                return addr + size, addr + at
            return -1, addr
    quote = text_end(addr, end)
    while addr < quote and byte_at(addr) != _AT_SIGN:
        addr += 1
    return (quote if addr < quote else -1), addr


@njit(cache=True, forceinline=True)
def _stream(addr: int, end: int, safe: int) -> tuple[int, int]:
    """Return (kind, address of the first key of data); the address is -1 for a frame that is not of the known form."""
    if word_at(addr, safe) != _HEAD or (word_at(addr + 8, safe) & _3) != _HEAD_TAIL:
        return 0, -1
    if byte_at(addr + 11) == _ALL_SYMBOLS:
        return 0, -1
    quote, addr = _stream_name(addr + 11, end, safe)
    if quote < 0:
        return 0, -1
    name = word_at(addr + 1, safe)
    if (name & _5) == _DEPTH:
        kind, addr = _DIFF, addr + 6
    elif (name & _5) == _TRADE_NAME:
        kind, addr = _TRADE, addr + 6
    elif name == _BOOK_TICK and (word_at(addr + 9, safe) & _2) == _ER:
        kind, addr = _TICKER, addr + 11
    else:
        return 0, -1
    if byte_at(addr) != _AT_SIGN and addr != quote:
        return 0, -1
    if word_at(quote, safe) != _DATA or (word_at(quote + 8, safe) & _2) != _DATA_TAIL:
        return 0, -1
    return kind, quote + 10


@njit(cache=True, forceinline=True)
def _key(addr: int, safe: int) -> tuple[Any, int]:
    """Return (key, address of its value): 1 or 2 characters, 0 for a longer key; the address is -1 for none."""
    w = word_at(addr, safe)
    if (w & _ONE_KEY_MASK) == _ONE_KEY:
        key = (w >> _1B) & _BYTE
        return np.int64(key), (addr + 4 if key != _NUL else -1)
    if (w & _TWO_KEY_MASK) == _TWO_KEY:
        first, second = (w >> _1B) & _BYTE, (w >> _2B) & _BYTE
        return np.int64((w >> _1B) & _TWO), (addr + 5 if first != _NUL and second != _NUL else -1)
    return 0, (addr + 1 if (w & _BYTE) == _UQUOTE else -1)


@njit(cache=True)
def _skip(key: int, addr: int, end: int, safe: int) -> int:
    """Return the address after an unknown key's plain value (string, integer >= 0, true, false, null), or -1."""
    if key == 0:
        addr = text_end(addr, end)
        if addr < 0 or byte_at(addr + 1) != _COLON:
            return -1
        addr += 2
    else:
        while key > 0:
            c = key & 0xFF
            if c < _BLANK or c >= 0x7F or c in (_BACKSLASH, QUOTE):
                return -1
            key >>= 8
    if addr >= end:
        return -1
    c = byte_at(addr)
    if c == QUOTE:
        addr = text_end(addr + 1, end)
        return addr + 1 if addr >= 0 else -1
    if ZERO <= c <= ZERO + 9:
        return integer(addr, safe)[1]
    w = word_at(addr, safe)
    if (w & _4) == _TRUE or (w & _4) == _NULL:
        return addr + 4
    return addr + 5 if (w & _5) == _FALSE else -1


@njit(cache=True, forceinline=True)
def _named(addr: int, kind: int, safe: int) -> int:
    """Return the address after the quoted event name of `kind`, or -1."""
    if byte_at(addr) != QUOTE:
        return -1
    w = word_at(addr + 1, safe)
    if kind == _TICKER:
        addr = addr + 11 if w == _BOOK_TICK and (word_at(addr + 9, safe) & _2) == _ER else -1
    elif kind == _DIFF:
        addr = addr + 12 if w == _DEPTH_UPD and (word_at(addr + 9, safe) & _3) == _ATE else -1
    else:
        addr = addr + 6 if (w & _5) == _TRADE_NAME else -1
    return addr + 1 if addr >= 0 and byte_at(addr) == QUOTE else -1


@njit(cache=True, forceinline=True)
def _common(key: int, addr: int, kind: int, config: int, safe: int) -> tuple[int, int, int]:
    """Read what every kind has: return (bit, value, address after it); bit 0 for another key, address -1 if odd."""
    if key == _SENT:
        value, addr = integer(addr, safe)
        return _BIT_SENT, value, addr
    if key == _AT:
        value, addr = integer(addr, safe)
        return _BIT_AT, value, addr
    if key == _EVENT:
        return _BIT_E, 0, _named(addr, kind, safe)
    if key == _SYMBOL:
        size = int_at(config + C_SYMBOL_SIZE)
        if byte_at(addr) != QUOTE or not matches(addr + 1, config + C_SYMBOL, size, safe):
            return _BIT_SYMBOL, 0, -1
        addr += 1 + size
        return _BIT_SYMBOL, 0, (addr + 1 if byte_at(addr) == QUOTE else -1)
    return 0, 0, addr


@njit(cache=True, forceinline=True)
def _head(out: int, size: int, config: int, kind: int, exch_ms: int, a: int, b: int) -> None:
    """Write a header; seq and receive time are 0, the raw reference -1."""
    store64(out, size)
    store64(out + 8, int_at(config + C_WORD) | kind)
    store64(out + 16, 0)
    store64(out + 24, 0)
    store64(out + 32, exch_ms * 1_000_000)
    store64(out + 40, a)
    store64(out + 48, b)
    store64(out + 56, -1)


@njit(cache=True)
def _diff(addr: int, end: int, safe: int, config: int, out: int) -> int:
    seen = first = last = sent = happened = asks = n_bids = 0
    previous = -1
    body = out + HEADER_SIZE + 16
    limit = out + MAX_RECORD
    to = body
    while True:
        key, addr = _key(addr, safe)
        if addr < 0:
            return 0
        value = 0
        if key == _FIRST:
            bit = _BIT_FIRST
            first, addr = integer(addr, safe)
        elif key == _LAST:
            bit = _BIT_LAST
            last, addr = integer(addr, safe)
        elif key == _PREVIOUS:
            bit = _BIT_PREVIOUS
            previous, addr = integer(addr, safe)
        elif key == _BIDS:
            bit = _BIT_BIDS
            to, addr = levels(addr, safe, config, body, limit)
            n_bids = (to - body) >> 4
        elif key == _ASKS:
            bit = _BIT_ASKS
            if not seen & _BIT_BIDS:  # bids are written first: these are read again at the end
                asks = addr
            to, addr = levels(addr, safe, config, to, limit)
        else:
            bit, value, after = _common(key, addr, _DIFF, config, safe)
            addr = after if bit else _skip(key, addr, end, safe)
            if bit == _BIT_SENT:
                sent = value
            elif bit == _BIT_AT:
                happened = value
        if addr < 0 or seen & bit:
            return 0
        seen |= bit
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
    if c != _CLOSE or addr + 1 != end:
        return 0
    need = _NEED_DIFF & ~_BIT_PREVIOUS if int_at(config + C_SPOT) else _NEED_DIFF
    exch_ms = happened if happened != 0 else sent
    if seen & need != need or not 0 < exch_ms < MAX_MS or last < first:
        return 0
    if asks != 0:
        to, addr = levels(asks, safe, config, to, limit)
        if addr < 0:
            return 0
    _head(out, to - out, config, _DIFF, exch_ms, first, last)
    store64(out + HEADER_SIZE, previous)
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out


@njit(cache=True)
def _ticker(addr: int, end: int, safe: int, config: int, out: int) -> int:
    seen = last = sent = happened = bid = bid_qty = ask = ask_qty = 0
    tick, lot = int_at(config + C_TICK), int_at(config + C_LOT)
    price_digits = int_at(config + C_PRICE_DIGITS)
    qty_digits = int_at(config + C_QTY_DIGITS)
    while True:
        key, addr = _key(addr, safe)
        if addr < 0:
            return 0
        value = 0
        if key == _LAST:
            bit = _BIT_LAST
            last, addr = integer(addr, safe)
        elif key == _BIDS:
            bit = _BIT_BIDS
            bid, addr = decimal(addr, tick, price_digits, safe)
        elif key == _BID_QTY:
            bit = _BIT_BID_QTY
            bid_qty, addr = decimal(addr, lot, qty_digits, safe)
        elif key == _ASKS:
            bit = _BIT_ASKS
            ask, addr = decimal(addr, tick, price_digits, safe)
        elif key == _ASK_QTY:
            bit = _BIT_ASK_QTY
            ask_qty, addr = decimal(addr, lot, qty_digits, safe)
        else:
            bit, value, after = _common(key, addr, _TICKER, config, safe)
            addr = after if bit else _skip(key, addr, end, safe)
            if bit == _BIT_SENT:
                sent = value
            elif bit == _BIT_AT:
                happened = value
        if addr < 0 or seen & bit:
            return 0
        seen |= bit
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
    if c != _CLOSE or addr + 1 != end:
        return 0
    spot = int_at(config + C_SPOT) != 0
    need = _NEED_TICKER & ~_BIT_E if spot else _NEED_TICKER
    exch_ms = happened if happened != 0 else sent
    if seen & need != need or not 0 <= exch_ms < MAX_MS or (exch_ms == 0 and not spot):
        return 0
    _head(out, HEADER_SIZE + 32, config, _TICKER, exch_ms, last, 0)
    store64(out + HEADER_SIZE, bid)
    store64(out + HEADER_SIZE + 8, bid_qty)
    store64(out + HEADER_SIZE + 16, ask)
    store64(out + HEADER_SIZE + 24, ask_qty)
    return HEADER_SIZE + 32


@njit(cache=True)
def _trade(addr: int, end: int, safe: int, config: int, out: int) -> int:
    seen = trade_id = sent = happened = price = qty = flags = 0
    tick, lot = int_at(config + C_TICK), int_at(config + C_LOT)
    price_digits = int_at(config + C_PRICE_DIGITS)
    qty_digits = int_at(config + C_QTY_DIGITS)
    while True:
        key, addr = _key(addr, safe)
        if addr < 0:
            return 0
        value = 0
        if key == _ID:
            bit = _BIT_ID
            trade_id, addr = integer(addr, safe)
        elif key == _PRICE:
            bit = _BIT_PRICE
            price, addr = decimal(addr, tick, price_digits, safe)
        elif key == _QTY:
            bit = _BIT_QTY
            qty, addr = decimal(addr, lot, qty_digits, safe)
        elif key == _MAKER:
            bit = _BIT_MAKER
            w = word_at(addr, safe)
            if (w & _4) == _TRUE:
                flags, addr = _SELL, addr + 4
            else:
                flags, addr = 0, (addr + 5 if (w & _5) == _FALSE else -1)
        else:
            bit, value, after = _common(key, addr, _TRADE, config, safe)
            addr = after if bit else _skip(key, addr, end, safe)
            if bit == _BIT_SENT:
                sent = value
            elif bit == _BIT_AT:
                happened = value
        if addr < 0 or seen & bit:
            return 0
        seen |= bit
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
    exch_ms = happened if happened != 0 else sent
    if c != _CLOSE or addr + 1 != end or seen & _NEED_TRADE != _NEED_TRADE or not 0 < exch_ms < MAX_MS:
        return 0
    _head(out, HEADER_SIZE + 16, config, _TRADE | flags << 8, exch_ms, trade_id, 0)
    store64(out + HEADER_SIZE, price)
    store64(out + HEADER_SIZE + 8, qty)
    return HEADER_SIZE + 16


@njit(cache=True)
def _snapshot(addr: int, end: int, safe: int, config: int, out: int) -> int:
    """Take the answer of GET depth as the venue writes it: the id first, bids before asks, no key that is not known."""
    seen = sent = happened = n_bids = 0
    body = out + HEADER_SIZE + 16
    limit = out + MAX_RECORD
    to = body
    last, addr = integer(addr, safe)
    while True:
        if addr < 0:
            return 0
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
        key, addr = _key(addr, safe)
        if addr < 0:
            return 0
        bit = 0
        if key == _SENT:
            bit = _BIT_SENT
            sent, addr = integer(addr, safe)
        elif key == _AT:
            bit = _BIT_AT
            happened, addr = integer(addr, safe)
        elif key != 0:
            return 0
        else:
            w = word_at(addr, safe)
            if (w & _6) == _BIDS_NAME:
                bit = _BIT_BIDS
                to, addr = levels(addr + 6, safe, config, body, limit)
                n_bids = (to - body) >> 4
            elif (w & _6) == _ASKS_NAME and seen & _BIT_BIDS:
                bit = _BIT_ASKS
                to, addr = levels(addr + 6, safe, config, to, limit)
            elif w == _SYMBOL_NAME:
                bit = _BIT_SYMBOL
                addr = _common(_SYMBOL, addr + 8, _SNAPSHOT, config, safe)[2]
            elif (w & _7) == _PAIR_NAME:
                addr = text_end(addr + 7, end)
                addr = addr + 1 if addr >= 0 else -1
            else:
                return 0
        if seen & bit:
            return 0
        seen |= bit
    exch_ms = happened if happened != 0 else sent
    if c != _CLOSE or addr != end or not seen & _BIT_ASKS or exch_ms >= MAX_MS:
        return 0
    _head(out, to - out, config, _SNAPSHOT, exch_ms, last, last)
    store64(out + 8, int_at(config + C_WORD) + _FROM_REST | _SNAPSHOT)
    store64(out + HEADER_SIZE, 0)
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out


@njit("i8(i8, i8, i8, i8, i8)", cache=True)
def parse_at(addr: int, size: int, safe: int, config: int, out: int) -> int:
    """Write the record of the frame at `addr` to `out`; return its bytes, 0 when the frame is declined.

    `out` must have room for min(MAX_RECORD, record_room(size)) bytes; what lies there is lost even when declining.
    `safe` >= addr + size is the first address that must not be read. `config` is that of a `FastParser`.
    """
    end = addr + size
    if size < 2 or size > MAX_FRAME or byte_at(end - 1) != _CLOSE:
        return 0
    if word_at(addr, safe) == _LAST_UPD and word_at(addr + 8, safe) == _ATE_ID:
        return _snapshot(addr + 16, end, safe, config, out)
    kind, addr = _stream(addr, end, safe)
    if addr < 0:
        return 0
    if kind == _TICKER:
        return _ticker(addr, end, safe, config, out)
    if kind == _DIFF:
        return _diff(addr, end, safe, config, out)
    return _trade(addr, end, safe, config, out)


@njit("i8(i8, i8, i8, i8)", cache=True)
def parse_bytes(addr: int, size: int, config: int, out: int) -> int:
    """Do the same as `parse_at` for a frame of which nothing is known but its place."""
    return parse_at(addr, size, page_end(addr + size) if size > 0 else addr, config, out)


@njit(cache=True)
def record_room(size: int) -> int:
    """Return more bytes than the record of a frame of `size` bytes can have: a level takes 9 bytes, and 16 here."""
    return 2 * size + 128


# The bytes of a `bytes` object (no other type) begin at id(it) + BYTES_HEAD in CPython; proven when this is imported.
BYTES_HEAD = bytes.__basicsize__ - 1
_PROBE = b"the bytes of this object"
if ctypes.string_at(id(_PROBE) + BYTES_HEAD, len(_PROBE)) != _PROBE:  # pragma: no cover
    raise ImportError("bytes objects lie otherwise in memory than CPython's; run Bot4 on CPython")


def _digits_of(unit_e8: int) -> int:
    """Return n for a unit of 10**-n, -1 for a unit that is no power of ten or above 1."""
    return next((n for n in range(9) if unit_e8 * 10**n == E8), -1)


def parser_config(instrument: Instrument) -> np.ndarray:
    """Return what the kernels know of an instrument, int64 words (see `C_TICK` and those after it).

    Raises ValueError for a symbol longer than 64 bytes.
    """
    symbol = instrument.symbol.encode()
    if not 0 < len(symbol) <= 8 * _SYMBOL_WORDS:
        raise ValueError(f"symbol of {len(symbol)} bytes; 1 to {8 * _SYMBOL_WORDS} can be parsed")
    config = np.zeros(C_SYMBOL // 8 + _SYMBOL_WORDS + 1, np.int64)
    config[: C_SYMBOL // 8] = (
        instrument.tick_e8,
        instrument.lot_e8,
        _FIXED | instrument.id << 32 | instrument.version << 48,
        _digits_of(instrument.tick_e8),
        _digits_of(instrument.lot_e8),
        instrument.venue == "binance_spot",
        len(symbol),
        *(0,) * ((C_SYMBOL - C_SCRATCH) // 8),
    )
    config[C_SYMBOL // 8 :].view(np.uint8)[: len(symbol)] = np.frombuffer(symbol, np.uint8)
    return config


class FastParser:
    """Parses frames of one instrument; `declined` counts those that went to the reference parser."""

    def __init__(self, instrument: Instrument) -> None:
        """Raises ValueError for a symbol longer than 64 bytes."""
        self.instrument = instrument
        self.declined = 0
        self.config = parser_config(instrument)
        self._out = np.zeros(MAX_RECORD, np.uint8)
        self._parse = entry_point(parse_bytes)
        self._places = address(self.config), address(self._out)

    def fast(self, raw: bytes) -> np.ndarray | None:
        """Return the record of a frame in the venue's own form, None for every other."""
        if type(raw) is not bytes:
            return None
        size = self._parse(id(raw) + BYTES_HEAD, len(raw), *self._places)
        return self._out[:size].copy() if size else None

    def parse(self, raw: bytes) -> np.ndarray | Rejected:
        """Return the same as `parser.parse`, sooner."""
        record = self.fast(raw)
        if record is not None:
            return record
        self.declined += 1
        return parse(raw, self.instrument)
