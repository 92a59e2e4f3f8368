"""Keys of a frame and its values, in whatever order they come; those of best quotes and trades are read here.

A value's place among those of a frame is its code; at `config + C_VALUES + 16 * code` lie the value and the address it
was read from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Kind
from bot4_live.market.blocks import QUOTE, ZERO, store64
from bot4_live.market.parser_config import (
    C_LOT,
    C_PRICE_DIGITS,
    C_QTY_DIGITS,
    C_SYMBOL,
    C_SYMBOL_SIZE,
    C_TICK,
    C_VALUES,
)
from bot4_live.market.scan import byte_at, decimal, int_at, integer, mask, matches, packed, text_end, word_at

_DIFF, _TICKER = int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER)
_COMMA, _COLON, _CLOSE, _BACKSLASH, _BLANK = ord(","), ord(":"), ord("}"), ord("\\"), ord(" ")

# Codes: whole numbers, then prices (even) and quantities (odd), then the rest.
NO_CODE, SENT, AT, ID, FIRST, PREVIOUS, PRICE, QTY, PRICE_2, QTY_2, MAKER, EVENT, SYMBOL, BIDS, ASKS = range(15)
LAST_WHOLE, LAST_NUMBER = PREVIOUS, QTY_2


def _codes(keys: dict[str, int]) -> np.ndarray:
    """Return the code of each one-character key, indexed by the character."""
    table = np.zeros(128, np.int64)
    for key, code in {"E": SENT, "T": AT, "e": EVENT, "s": SYMBOL, **keys}.items():
        table[ord(key)] = code
    return table


_QUOTE_CODES = _codes({"u": ID, "b": PRICE, "B": QTY, "a": PRICE_2, "A": QTY_2})
_TRADE_CODES = _codes({"t": ID, "p": PRICE, "q": QTY, "m": MAKER})
NEED_QUOTE = 1 << ID | 1 << PRICE | 1 << QTY | 1 << PRICE_2 | 1 << QTY_2 | 1 << SYMBOL  # E, T and e: not on spot
NEED_TRADE = 1 << ID | 1 << PRICE | 1 << QTY | 1 << MAKER | 1 << EVENT | 1 << SYMBOL

_BOOK_TICK, _ER = packed(b"bookTick"), packed(b"er")
_DEPTH_UPD, _ATE = packed(b"depthUpd"), packed(b"ate")
_TRADE_NAME = packed(b"trade")
TRUE, FALSE, _NULL = packed(b"true"), packed(b"false"), packed(b"null")
_2, _3, _4, _5 = (mask(n) for n in range(2, 6))
_BYTE, _TWO, _NUL = np.uint64(0xFF), np.uint64(0xFFFF), np.uint64(0)
_1B, _2B = np.uint64(8), np.uint64(16)
_UQUOTE = np.uint64(QUOTE)
_ONE_KEY, _ONE_KEY_MASK = packed(b'"\0":'), packed(b"\xff\0\xff\xff")
_TWO_KEY, _TWO_KEY_MASK = packed(b'"\0\0":'), packed(b"\xff\0\0\xff\xff")


@njit(cache=True, forceinline=True)
def key_at(addr: int, safe: int) -> tuple[Any, int]:
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
def skip(key: int, addr: int, end: int, safe: int) -> int:
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
    if (w & _4) == TRUE or (w & _4) == _NULL:
        return addr + 4
    return addr + 5 if (w & _5) == FALSE else -1


@njit(cache=True)
def event_name(addr: int, kind: int, safe: int) -> int:
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


@njit(cache=True)
def symbol_name(addr: int, config: int, safe: int) -> int:
    """Return the address after the instrument's quoted symbol, or -1."""
    size = int_at(config + C_SYMBOL_SIZE)
    if byte_at(addr) != QUOTE or not matches(addr + 1, config + C_SYMBOL, size, safe):
        return -1
    addr += 1 + size
    return addr + 1 if byte_at(addr) == QUOTE else -1


@njit(cache=True, forceinline=True)
def value_of(config: int, code: int) -> int:
    """Return a value of the frame just read."""
    return int_at(config + C_VALUES + 16 * code)


@njit(cache=True, forceinline=True)
def time_of(config: int) -> int:
    """Return when it happened by the venue's clock (ms), else when it was sent, 0 where neither is said."""
    happened = value_of(config, AT)
    return happened if happened != 0 else value_of(config, SENT)


@njit(cache=True, forceinline=True)
def forget_values(config: int) -> None:
    """Set the values that a frame may leave out to what that means."""
    store64(config + C_VALUES + 16 * SENT, 0)
    store64(config + C_VALUES + 16 * AT, 0)
    store64(config + C_VALUES + 16 * PREVIOUS, -1)


@njit(cache=True)
def _value(code: int, addr: int, kind: int, config: int, safe: int) -> tuple[int, int]:
    """Return (value, address after it) of a known key; the address is -1 for what is odd."""
    if code <= LAST_WHOLE:
        return integer(addr, safe)
    if code <= LAST_NUMBER:
        if code & 1:
            return decimal(addr, int_at(config + C_LOT), int_at(config + C_QTY_DIGITS), safe)
        return decimal(addr, int_at(config + C_TICK), int_at(config + C_PRICE_DIGITS), safe)
    if code == MAKER:
        w = word_at(addr, safe)
        if (w & _4) == TRUE:
            return 1, addr + 4
        return 0, (addr + 5 if (w & _5) == FALSE else -1)
    if code == EVENT:
        return 0, event_name(addr, kind, safe)
    return 0, symbol_name(addr, config, safe)


@njit(cache=True)
def values(addr: int, end: int, safe: int, config: int, kind: int) -> int:
    """Read the values of a best quote or trade from its first key on; return which there are, a bit a code, or -1."""
    work = config + C_VALUES
    forget_values(config)
    seen = 0
    while True:
        key, addr = key_at(addr, safe)
        if addr < 0:
            return -1
        code = 0
        if 0 < key < 128:
            code = _QUOTE_CODES[key] if kind == _TICKER else _TRADE_CODES[key]
        if code == NO_CODE:
            addr = skip(key, addr, end, safe)
        else:
            store64(work + 16 * code + 8, addr)
            value, addr = _value(code, addr, kind, config, safe)
            store64(work + 16 * code, value)
            if (seen >> code) & 1:
                return -1
            seen |= 1 << code
        if addr < 0:
            return -1
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
    return seen if c == _CLOSE and addr + 1 == end else -1
