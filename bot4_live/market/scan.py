"""Numbers and words straight from memory, eight bytes at a time (SWAR: the bytes of one word side by side).

All kernels take raw addresses. `safe` is the first address that must not be read; between a frame's end and `safe`
bytes may be read but never decide anything, because every frame that is scanned ends with a `}` that no rule but the
last one accepts. `page_end` gives a `safe` for any frame: reading within the page of its last byte cannot fault.

Where a number ends is found by comparing a block of 32 bytes at once (Langdale and Lemire, "Parsing gigabytes of JSON
per second", 2019); its digits become a value by multiplying pairs and fours of them at once (D. Lemire, "Quickly
parsing eight digits", 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.market.bits import first_bit, lowest_bit
from bot4_live.market.blocks import BLOCK, POINT, QUOTE, ZERO, find_marks, load_as, odd_bytes
from bot4_live.market.numbers import MAX_UNITS

_BACKSLASH, _BLANK, _ASCII_END = ord("\\"), ord(" "), 0x7F
_PAGE_MASK = 4095

ZEROS = np.uint64(0x3030_3030_3030_3030)
_ABOVE_NINE = np.uint64(0x7676_7676_7676_7676)
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_PAIRS = np.uint64(0x0000_00FF_0000_00FF)
_MILLIONS = np.uint64(0x000F_4240_0000_0064)  # 100 + (1_000_000 << 32)
_TEN_THOUSANDS = np.uint64(0x0000_2710_0000_0001)  # 1 + (10_000 << 32)
_BYTE = np.uint64(0xFF)
_NONE, _ONE, _TEN, _EIGHT, _16, _32 = (np.uint64(n) for n in (0, 1, 10, 8, 16, 32))
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_TENS = np.array([10**n for n in range(9)], np.int64)


def packed(text: bytes) -> np.uint64:
    """Return up to 8 bytes as a word, the first one lowest."""
    return np.uint64(int.from_bytes(text, "little"))


def mask(n: int) -> np.uint64:
    """Return the word whose lowest `n` bytes are all ones."""
    return np.uint64((1 << 8 * n) - 1)


_U1, _I8 = np.uint8(0), np.int64(0)


@njit(cache=True, forceinline=True)
def byte_at(addr: int) -> Any:
    """Return the byte at `addr`."""
    return np.int64(load_as(addr, _U1))


@njit(cache=True, forceinline=True)
def int_at(addr: int) -> int:
    """Return the int64 at `addr`, whatever its alignment."""
    number: int = load_as(addr, _I8)
    return number


@njit(cache=True, forceinline=True)
def load64(addr: int) -> Any:
    """Return the 8 bytes at `addr` as a uint64; the first byte is the lowest."""
    return load_as(addr, _NONE)


@njit(cache=True)
def _last_bytes(addr: int, safe: int) -> Any:
    word = _NONE
    for k in range(safe - addr):
        word |= np.uint64(byte_at(addr + k)) << np.uint64(8 * k)
    return word


@njit(cache=True, forceinline=True)
def word_at(addr: int, safe: int) -> Any:
    """Return the 8 bytes at `addr` as a uint64, zeros from `safe` on."""
    if addr + 8 <= safe:
        return load64(addr)
    return _last_bytes(addr, safe)


@njit(cache=True, forceinline=True)
def page_end(end: int) -> int:
    """Return the end of the page that holds the byte before `end`: up to there a read cannot fault."""
    return ((end - 1) | _PAGE_MASK) + 1


@njit(cache=True, forceinline=True)
def matches(addr: int, text: int, size: int, safe: int) -> bool:
    """Return whether `size` bytes at `addr` equal those at `text`, which has zeros up to a multiple of 8."""
    k = 0
    while k + 8 <= size:
        if word_at(addr + k, safe) != load64(text + k):
            return False
        k += 8
    if k == size:
        return True
    mask = (_ONE << np.uint64(8 * (size - k))) - _ONE
    return (word_at(addr + k, safe) & mask) == load64(text + k)


@njit(cache=True)
def text_end(addr: int, end: int) -> int:
    """Return the address of the quote that ends a plain ASCII string begun before `addr`, or -1."""
    while addr < end:
        c = byte_at(addr)
        if c == QUOTE:
            return addr
        if c < _BLANK or c > _ASCII_END or c == _BACKSLASH:
            return -1
        addr += 1
    return -1


@njit(cache=True, forceinline=True)
def number_of(digits: Any) -> Any:
    """Return the number that eight digits (values, not characters; the first in the lowest byte) stand for."""
    pairs = digits * _TEN + (digits >> _EIGHT)
    return np.int64(((pairs & _PAIRS) * _MILLIONS + ((pairs >> _16) & _PAIRS) * _TEN_THOUSANDS) >> _32)


@njit(cache=True)
def _integer_bytes(addr: int) -> tuple[int, int]:
    """Return the same as `integer`, byte by byte."""
    value = 0
    begin = addr
    while ZERO <= byte_at(addr) <= ZERO + 9:
        value = value * 10 + (byte_at(addr) - ZERO)
        addr += 1
        if addr - begin > 18:
            return 0, -1
    if addr == begin or (byte_at(begin) == ZERO and addr - begin > 1):
        return 0, -1
    return value, addr


@njit(cache=True, forceinline=True)
def digits_at(addr: int, n: int) -> int:
    """Return the number that the 1 to 16 digits at `addr` stand for; reads 8 bytes there and up to their end."""
    first = load64(addr) ^ ZEROS
    if n <= 8:
        return number_of(first << np.uint64(64 - 8 * n))
    last = load64(addr + n - 8) ^ ZEROS
    return number_of(first << np.uint64(128 - 8 * n)) * 100_000_000 + number_of(last)


@njit(cache=True, forceinline=True)
def integer(addr: int, safe: int) -> tuple[int, int]:
    """Return (value, address after it) of a JSON integer >= 0 of at most 18 digits; the address is -1 for others."""
    if addr + BLOCK > safe:
        return _integer_bytes(addr)
    n = first_bit(odd_bytes(addr))
    if n > 16:
        return _integer_bytes(addr)
    if n == 0 or (n > 1 and byte_at(addr) == ZERO):
        return 0, -1
    return digits_at(addr, n), addr + n


@njit(cache=True)
def _decimal_bytes(addr: int, unit_e8: int) -> tuple[int, int]:
    """Return the same as `decimal` for any unit, byte by byte: up to 9 digits before the point and 8 after it."""
    addr += 1
    begin = addr
    value = 0
    while ZERO <= byte_at(addr) <= ZERO + 9:
        value = value * 10 + (byte_at(addr) - ZERO)
        addr += 1
        if addr - begin > 9:
            return 0, -1
    if addr == begin:
        return 0, -1
    n = 0
    if byte_at(addr) == POINT:
        addr += 1
        begin = addr
        while ZERO <= byte_at(addr) <= ZERO + 9:
            value = value * 10 + (byte_at(addr) - ZERO)
            addr += 1
            n = addr - begin
            if n > 8:
                return 0, -1
        if n == 0:
            return 0, -1
    if byte_at(addr) != QUOTE:
        return 0, -1
    value *= _TENS[8 - n]
    units = value // unit_e8
    if units * unit_e8 != value or units > MAX_UNITS:
        return 0, -1
    return units, addr + 1


@njit(cache=True, forceinline=True)
def _units(whole: Any, fraction: Any, n: int, digits: int) -> int:
    """Return the units of digits (values) before the point, shifted up to the highest byte, and behind it, or -1."""
    if digits < 8:
        if (fraction >> np.uint64(8 * digits)) != _NONE:
            return -1
        if digits == 0:
            return number_of(whole)
    fraction <<= np.uint64(64 - 8 * digits)
    if n + digits <= 8:
        return number_of((whole >> np.uint64(8 * digits)) | fraction)
    units = number_of(whole) * _TENS[digits] + number_of(fraction)
    return units if units <= MAX_UNITS else -1


@njit(cache=True, forceinline=True)
def units_of(addr: int, n: int, m: int, digits: int) -> int:
    """Return the units of `n` digits at `addr` and, behind one character more, `m`; -1 where one would be lost.

    `digits` is how many decimals a unit has. Zeros beyond them lose nothing, anything else there would, and is refused.
    That they are digits is known, 0 < n <= 8 and m <= 8 too. Reads 8 bytes at `addr` and 8 after the point.
    """
    whole = (load64(addr) ^ ZEROS) << np.uint64(64 - 8 * n)
    fraction = _NONE
    if m > 0:
        fraction = (load64(addr + n + 1) ^ ZEROS) & (_ALL >> np.uint64(64 - 8 * m))
    return _units(whole, fraction, n, digits)


@njit(cache=True, forceinline=True)
def units_between(addr: int, point: int, size: int, digits: int) -> int:
    """Do the same for the `size` characters at `addr` whose point is at `point` (`size`: none), -1 for others."""
    n, m = point, size - point - 1
    if not (0 < n <= 8 and -1 <= m <= 8 and m != 0):
        return -1
    whole = (load64(addr) ^ ZEROS) << np.uint64(64 - 8 * n)
    fraction = _NONE
    if m > 0:
        fraction = (load64(addr + n + 1) ^ ZEROS) & (_ALL >> np.uint64(64 - 8 * m))
    if (((whole + _ABOVE_NINE) | whole | (fraction + _ABOVE_NINE) | fraction) & _HIGH_BITS) != _NONE:
        return -1
    return _units(whole, fraction, n, digits)


@njit(cache=True, forceinline=True)
def decimal(addr: int, unit_e8: int, digits: int, safe: int) -> tuple[int, int]:
    """Return (count of units, address after it) of a quoted decimal that loses no digit; the address is -1 for others.

    `digits` is how many decimals a unit of 10**-digits has, -1 where the unit is no power of ten. What is longer than
    8 digits before the point, or too near to `safe`, is read byte by byte.
    """
    if byte_at(addr) != QUOTE:
        return 0, -1
    if digits < 0 or addr + 1 + BLOCK > safe:
        return _decimal_bytes(addr, unit_e8)
    quotes, points = find_marks(addr + 1)
    if quotes == _NONE:
        return _decimal_bytes(addr, unit_e8)
    size = lowest_bit(quotes)
    point = lowest_bit(points | (quotes & (_NONE - quotes)))
    units = units_between(addr + 1, min(point, size), size, digits)
    if units < 0:
        return _decimal_bytes(addr, unit_e8)
    return units, addr + 2 + size
