"""Frames of one form: what a stream sends next differs from what it sent last in its numbers only.

A form is the text of a frame between its values, and how many digits each value has. `learn` takes it from a frame
whose values have been read; `read` then takes a frame of that form: pieces of text are compared at once, and the bytes
that are no digits show whether a number is as long as the last one was. What it takes would be taken without it as
well, with the same values: every other character is one that was accepted in its place. Of a depth diff the form ends
where its levels begin.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_live.market.bits import first_bit
from bot4_live.market.blocks import BLOCK, POINT, odd_bytes, same_bytes, store8, store64
from bot4_live.market.frame_values import FALSE, LAST_NUMBER, LAST_WHOLE, MAKER, SENT, TRUE, forget_values
from bot4_live.market.parser_config import C_PRICE_DIGITS, C_QTY_DIGITS, C_VALUES, FORM_BYTES
from bot4_live.market.scan import ZEROS, byte_at, digits_at, int_at, load64, mask, units_of

ROOM = 64  # bytes that must be readable after a frame
_PATIENCE = 64  # frames of another form until a new one is learnt

# Places in a form: how many values; frames of another form; size of the text before the first value; the values.
_COUNT, _MISSES, _HEAD, _VALUES = 0, 8, 16, 32
# Of each value: its code, digits before and behind the point, the block's bytes that belong to it and those of them
# that are no digits, its size, the size of the text after it.
_CODE, _N, _M, _FORM, _ODD, _SIZE, _AFTER, _STEP = (8 * i for i in range(8))
_MOST = 7
_HEAD_TEXT, _HEAD_ROOM = 512, 512
_TEXT, _TEXT_ROOM = 1024, 128
assert _VALUES + _MOST * _STEP <= _HEAD_TEXT
assert _TEXT + _MOST * _TEXT_ROOM <= FORM_BYTES

_U1, _NUL, _ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_BYTE, _4, _5 = mask(1), mask(4), mask(5)


@njit(cache=True, forceinline=True)
def _same_text(addr: int, text: int, size: int) -> bool:
    """Return whether `size` bytes are the same; reads whole blocks of both."""
    while size > BLOCK:
        if same_bytes(addr, text) != _ALL >> np.uint64(32):
            return False
        addr += BLOCK
        text += BLOCK
        size -= BLOCK
    form = (_U1 << np.uint64(size)) - _U1
    return same_bytes(addr, text) & form == form


@njit(cache=True)
def _measure(addr: int, code: int, field: int) -> bool:
    """Note the form of the number at `addr`; return False for one that is not for `read`."""
    odd = odd_bytes(addr)
    n = size = first_bit(odd)
    m = 0
    if code > LAST_WHOLE and byte_at(addr + n) == POINT:
        size = first_bit(odd & (odd - _U1))
        m = size - n - 1
        if not 0 < m <= 8:
            return False
    if not 0 < n <= (16 if code <= LAST_WHOLE else 8):
        return False
    store64(field + _N, n)
    store64(field + _M, m)
    store64(field + _FORM, (1 << size + 1) - 1)
    store64(field + _ODD, (1 << n) | (1 << size))
    store64(field + _SIZE, size)
    return True


@njit(cache=True)
def _copy(addr: int, size: int, to: int) -> None:
    for k in range(size):
        store8(to + k, byte_at(addr + k))


@njit(cache=True)
def learn(addr: int, end: int, config: int, seen: int, form: int) -> None:
    """Take on the form of the frame at `addr`, up to `end`; the values `seen` (a bit a code) have been read.

    A frame with too long a text has none, nor has one of an instrument whose units are no powers of ten.
    """
    if int_at(config + C_PRICE_DIGITS) < 0 or int_at(config + C_QTY_DIGITS) < 0:
        return
    misses = int_at(form + _MISSES)
    store64(form + _MISSES, misses + 1)
    if misses % _PATIENCE != 0:
        return
    store64(form + _COUNT, 0)
    count = 0
    last = 0
    text, size_at, room = form + _HEAD_TEXT, form + _HEAD, _HEAD_ROOM
    while True:
        code, start = 0, end
        for k in range(SENT, MAKER + 1):  # the next value in the text
            place = int_at(config + C_VALUES + 16 * k + 8)
            if (seen >> k) & 1 and last < place < start:
                code, start = k, place
        last = start
        if LAST_WHOLE < code <= LAST_NUMBER:
            start += 1  # after the quote
        if not 0 < start - addr <= room:
            return
        _copy(addr, start - addr, text)
        store64(size_at, start - addr)
        if code == 0:
            store64(form + _COUNT, count)
            return
        field = form + _VALUES + count * _STEP
        store64(field + _CODE, code)
        if code == MAKER:
            store64(field + _SIZE, 5 - int_at(config + C_VALUES + 16 * MAKER))
        elif not _measure(start, code, field):
            return
        addr = start + int_at(field + _SIZE)
        text, size_at, room = form + _TEXT + count * _TEXT_ROOM, field + _AFTER, _TEXT_ROOM
        count += 1


@njit(cache=True)
def read(addr: int, end: int, config: int, form: int) -> int:
    """Read the values of the frame at `addr` if it is of the form; return the address after it, 0 if it is not.

    ROOM bytes after the frame's `end` must be readable.
    """
    count, size = int_at(form + _COUNT), int_at(form + _HEAD)
    if count == 0 or addr + size >= end or not _same_text(addr, form + _HEAD_TEXT, size):
        return 0
    addr += size
    work = config + C_VALUES
    forget_values(config)
    text = form + _TEXT
    field = form + _VALUES
    for _ in range(count):
        code = int_at(field + _CODE)
        size = int_at(field + _SIZE)
        if code == MAKER:
            w = load64(addr)
            value = 1 if (w & _4) == TRUE else 0
            size = 5 - value
            if value == 0 and (w & _5) != FALSE:
                return 0
        else:
            odd = np.int64(odd_bytes(addr))
            if odd & int_at(field + _FORM) != int_at(field + _ODD):
                if not _measure(addr, code, field):
                    return 0
                size = int_at(field + _SIZE)
            n = int_at(field + _N)
            if code <= LAST_WHOLE:
                value = digits_at(addr, n)
                if n > 1 and (load64(addr) ^ ZEROS) & _BYTE == _NUL:
                    return 0
            else:
                m = int_at(field + _M)
                if m > 0 and byte_at(addr + n) != POINT:
                    return 0
                value = units_of(addr, n, m, int_at(config + (C_QTY_DIGITS if code & 1 else C_PRICE_DIGITS)))
                if value < 0:
                    return 0
        store64(work + 16 * code, value)
        addr += size
        size = int_at(field + _AFTER)
        if addr + size > end or not _same_text(addr, text, size):
            return 0
        addr += size
        text += _TEXT_ROOM
        field += _STEP
    return addr
