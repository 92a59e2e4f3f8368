"""Levels of a book straight from their text, `[["p","q"],...]`, for the compiled parser."""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_live.market.bits import first_bit, lowest_bit
from bot4_live.market.blocks import BLOCK, POINT, QUOTE, find_marks, find_odd, odd_bytes, store64, store_numbers
from bot4_live.market.parser_config import C_LEVEL, C_LOT, C_PRICE_DIGITS, C_QTY_DIGITS, C_TICK
from bot4_live.market.scan import ZEROS, byte_at, decimal, int_at, load64, mask, packed, units_between

_COMMA, _LIST, _END = ord(","), ord("["), ord("]")
_NUL, _U1, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_OPEN, _NEXT, _LAST = packed(b'["'), packed(b'"],["'), packed(b'"]]')
_2, _3, _5 = mask(2), mask(3), mask(5)
_REACH = 192  # more than a look at one level can read, whatever is found there


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
def _alike_levels(addr: int, safe: int, config: int, out: int, limit: int) -> tuple[int, int, bool]:
    """Write levels that are of the first one's form: as many digits on both sides of the price's point, and behind the
    quantity's, at most 8 that count in each.

    Return (address after the last written, address of the first that is not taken, False), or (..., address after the
    text, True) at the end. One look at which bytes are no digits shows the whole form, and only the length of the
    quantity has to be found before the next level can be looked at.
    """
    price_digits = int_at(config + C_PRICE_DIGITS)
    qty_digits = int_at(config + C_QTY_DIGITS)
    if not (0 < price_digits < 8 and 0 < qty_digits < 8) or addr + _REACH > safe or load64(addr) & _2 != _OPEN:
        return out, addr, False
    addr += 2
    odd = odd_bytes(addr)
    n = first_bit(odd)
    end = first_bit(odd & (odd - _U1))
    m = end - n - 1
    odd >>= np.uint64((end + 3) & 63)
    n_qty = first_bit(odd)
    m_qty = first_bit(odd & (odd - _U1)) - n_qty - 1
    if not (0 < n <= 8 - price_digits and 0 < m <= 8 and 0 < m_qty <= 8):
        return out, addr - 2, False
    # What the price's form says of a block: where its other characters are, and which.
    template = config + C_LEVEL + BLOCK * end
    price_odd = (_U1 << np.uint64(n)) | (np.uint64(7) << np.uint64(end))
    price_form = (_U1 << np.uint64(end + 3)) - _U1
    qty_at = np.uint64(end + 3)
    qty_form = (_U1 << np.uint64(m_qty + 3)) - _U1  # from the point on: digits, quote, ]
    qty_odd = _U1 | (np.uint64(3) << np.uint64(m_qty + 1))
    price_down, qty_down = np.uint64(8 * price_digits), np.uint64(8 * qty_digits)
    price_up, qty_up = np.uint64(64 - 8 * price_digits), np.uint64(64 - 8 * qty_digits)
    whole_up = np.uint64(64 - 8 * n)
    fraction_form, fraction_qty_form = _ALL >> np.uint64(64 - 8 * m), _ALL >> np.uint64(64 - 8 * m_qty)
    most = np.uint64(8 - qty_digits)
    while out < limit and addr + _REACH <= safe:
        odd, same = find_odd(addr, template)
        second = addr + end + 3
        rest = odd >> qty_at
        n_qty = first_bit(rest)
        after = second + n_qty + m_qty + 1  # the quantity's closing quote
        tail = load64(after)
        fraction = (load64(addr + n + 1) ^ ZEROS) & fraction_form
        fraction_qty = (load64(second + n_qty + 1) ^ ZEROS) & fraction_qty_form
        alike = (
            (odd & price_form == price_odd)
            & (same & price_odd == price_odd)
            & ((rest >> np.uint64(n_qty & 63)) & qty_form == qty_odd)
            & (np.uint64(n_qty - 1) < most)
            & (byte_at(second + n_qty) == POINT)
            & (((fraction >> price_down) | (fraction_qty >> qty_down)) == _NUL)
        )
        more = tail & _5 == _NEXT
        if not alike or not (more or tail & _3 == _LAST):
            break
        whole = (load64(addr) ^ ZEROS) << whole_up
        whole_qty = (load64(second) ^ ZEROS) << np.uint64((64 - 8 * n_qty) & 63)
        store_numbers(
            out,
            (whole >> price_down) | (fraction << price_up),
            (whole_qty >> qty_down) | (fraction_qty << qty_up),
        )
        out += 16
        addr = after + 5
        if not more:
            return out, addr - 2, True
    return out, addr - 2, False


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
        before = out
        out, addr, done = _alike_levels(addr, safe, config, out, limit)
        if done:
            return out, addr
        if out >= limit:
            return out, -1
        if out != before:  # another form begins, as where a price has one digit more
            continue
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
