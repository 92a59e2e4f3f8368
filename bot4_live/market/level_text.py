"""Levels of a book straight from their text, `[["p","q"],...]`, for the compiled parser."""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_live.market.bits import lowest_bit
from bot4_live.market.scan import BLOCK, QUOTE, byte_at, decimal, find_marks, int_at, store64, units_between

_COMMA, _LIST, _END = ord(","), ord("["), ord("]")
_NUL, _U1 = np.uint64(0), np.uint64(1)

# What a kernel knows of the instrument: int64 words at `config`.
C_TICK, C_LOT, C_WORD, C_PRICE_DIGITS, C_QTY_DIGITS, C_SPOT, C_SYMBOL_SIZE, C_SYMBOL = (8 * i for i in range(8))


@njit(cache=True, forceinline=True)
def _level(addr: int, safe: int, price_digits: int, qty_digits: int) -> tuple[int, int, int]:
    """Read `["p","q"]`, found by the quotes and points of one block: return (price, qty, address after), -1 if odd."""
    if price_digits < 0 or qty_digits < 0 or addr + 2 + BLOCK + 8 > safe:
        return 0, 0, -1
    quotes, points = find_marks(addr + 2)
    second = quotes & (quotes - _U1)
    third = second & (second - _U1)
    if third == _NUL:
        return 0, 0, -1
    end, start, last = lowest_bit(quotes), lowest_bit(second), lowest_bit(third)
    if (
        byte_at(addr) != _LIST
        or byte_at(addr + 1) != QUOTE
        or start != end + 2
        or byte_at(addr + end + 3) != _COMMA
        or byte_at(addr + last + 3) != _END
    ):
        return 0, 0, -1
    point = lowest_bit(points | (quotes ^ second))
    price = units_between(addr + 2, min(point, end), end, price_digits)
    # Points after the second quote; the third one stands for "none".
    point = lowest_bit((points & ~(second ^ (second - _U1))) | third)
    size = last - start - 1
    qty = units_between(addr + 3 + start, min(point - start - 1, size), size, qty_digits)
    return price, qty, (addr + last + 4 if price >= 0 and qty >= 0 else -1)


@njit(cache=True)
def _level_of_any_form(
    addr: int, safe: int, tick: int, lot: int, price_digits: int, qty_digits: int
) -> tuple[int, int, int]:
    """Do the same where the block is too short for the level, or the text ends, or a unit is no power of ten."""
    if byte_at(addr) != _LIST:
        return 0, 0, -1
    price, addr = decimal(addr + 1, tick, price_digits, safe)
    if addr < 0 or byte_at(addr) != _COMMA:
        return 0, 0, -1
    qty, addr = decimal(addr + 1, lot, qty_digits, safe)
    return price, qty, (addr + 1 if addr >= 0 and byte_at(addr) == _END else -1)


@njit(cache=True)
def levels(addr: int, safe: int, config: int, out: int, limit: int) -> tuple[int, int]:
    """Write the levels `[["p","q"],...]` to `out`; return (address after the last, address after the text), -1 none."""
    if byte_at(addr) != _LIST:
        return out, -1
    addr += 1
    if byte_at(addr) == _END:
        return out, addr + 1
    tick, lot = int_at(config + C_TICK), int_at(config + C_LOT)
    price_digits = int_at(config + C_PRICE_DIGITS)
    qty_digits = int_at(config + C_QTY_DIGITS)
    while True:
        if out >= limit:
            return out, -1
        price, qty, after = _level(addr, safe, price_digits, qty_digits)
        if after < 0:
            price, qty, after = _level_of_any_form(addr, safe, tick, lot, price_digits, qty_digits)
            if after < 0:
                return out, -1
        store64(out, price)
        store64(out + 8, qty)
        out += 16
        c = byte_at(after)
        addr = after + 1
        if c == _END:
            return out, addr
        if c != _COMMA:
            return out, -1
