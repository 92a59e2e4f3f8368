"""Frames that hold levels, compiled: depth diffs with keys in any order, and the answer of GET depth."""

from __future__ import annotations

from numba import njit

from bot4_live.events import HEADER_SIZE, Kind, Source
from bot4_live.market.blocks import store64
from bot4_live.market.frame_form import ROOM, learn
from bot4_live.market.frame_values import (
    ASKS,
    AT,
    BIDS,
    EVENT,
    FIRST,
    ID,
    NO_CODE,
    PREVIOUS,
    SENT,
    SYMBOL,
    event_name,
    forget_values,
    key_at,
    skip,
    symbol_name,
    time_of,
    value_of,
)
from bot4_live.market.level_text import levels
from bot4_live.market.parser import MAX_LEVELS, MAX_MS
from bot4_live.market.parser_config import C_DIFF, C_SPOT, C_VALUES, C_WORD
from bot4_live.market.scan import byte_at, int_at, integer, mask, packed, text_end, word_at

_DIFF, _SNAPSHOT = int(Kind.DEPTH_DIFF), int(Kind.DEPTH_SNAPSHOT)
_FROM_REST = (int(Source.MARKET_REST) - int(Source.MARKET_STREAM)) << 24
MAX_RECORD = HEADER_SIZE + 16 * (MAX_LEVELS + 1)
_COMMA, _CLOSE = ord(","), ord("}")

# Keys, as the characters between their quotes (low byte first).
_EVENT, _SENT, _AT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS = (ord(c) for c in "eETsUuba")
_PREVIOUS = ord("p") | ord("u") << 8
_NEED_SPOT = 1 << EVENT | 1 << SYMBOL | 1 << FIRST | 1 << ID | 1 << BIDS | 1 << ASKS
_NEED = _NEED_SPOT | 1 << PREVIOUS
_BIDS_NAME, _ASKS_NAME, _ASKS_KEY = packed(b'bids":'), packed(b'asks":'), packed(b',"a":')
_SYMBOL_NAME, _PAIR_NAME = packed(b'symbol":'), packed(b'pair":"')
_5, _6, _7 = mask(5), mask(6), mask(7)


@njit(cache=True, forceinline=True)
def head(out: int, size: int, config: int, kind: int, exch_ms: int, a: int, b: int) -> None:
    """Write a header; seq and receive time are 0, the raw reference -1."""
    store64(out, size)
    store64(out + 8, int_at(config + C_WORD) | kind)
    store64(out + 16, 0)
    store64(out + 24, 0)
    store64(out + 32, exch_ms * 1_000_000)
    store64(out + 40, a)
    store64(out + 48, b)
    store64(out + 56, -1)


@njit(cache=True, forceinline=True)
def _code(key: int) -> int:
    """Return the code of a diff's key, NO_CODE for one that is not known."""
    if key == _FIRST:
        return FIRST
    if key == _LAST:
        return ID
    if key == _PREVIOUS:
        return PREVIOUS
    if key == _SENT:
        return SENT
    if key == _AT:
        return AT
    if key == _BIDS:
        return BIDS
    if key == _ASKS:
        return ASKS
    if key == _EVENT:
        return EVENT
    return SYMBOL if key == _SYMBOL else NO_CODE


@njit(cache=True)
def _diff(config: int, out: int, to: int, n_bids: int) -> int:
    """Write what comes before the levels of a diff, which end at `to`; return the record's bytes, 0 if declined."""
    exch_ms, first, last = time_of(config), value_of(config, FIRST), value_of(config, ID)
    if not 0 < exch_ms < MAX_MS or last < first:
        return 0
    head(out, to - out, config, _DIFF, exch_ms, first, last)
    store64(out + HEADER_SIZE, value_of(config, PREVIOUS))
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out


@njit(cache=True)
def read_levels(addr: int, end: int, safe: int, config: int, out: int) -> int:
    """Write the record of a depth diff whose levels begin at `addr`, bids and then asks, and end it.

    Its values have been read. Return the record's bytes, 0 when the frame is declined.
    """
    body, limit = out + HEADER_SIZE + 16, out + MAX_RECORD
    to, addr = levels(addr, safe, config, body, limit)
    if addr < 0 or (word_at(addr, safe) & _5) != _ASKS_KEY:
        return 0
    n_bids = (to - body) >> 4
    to, addr = levels(addr + 5, safe, config, to, limit)
    if addr + 2 != end or byte_at(addr) != _CLOSE:  # the last byte is } too
        return 0
    return _diff(config, out, to, n_bids)


@njit(cache=True)
def read_diff(begin: int, addr: int, end: int, safe: int, config: int, out: int) -> int:
    """Do the same for a diff of any form, which begins at `begin` and whose first key is at `addr`."""
    seen = before = bids = after_bids = asks = after_asks = n_bids = 0
    again = False
    body, limit = out + HEADER_SIZE + 16, out + MAX_RECORD
    to = body
    forget_values(config)
    while True:
        key, addr = key_at(addr, safe)
        if addr < 0:
            return 0
        code = _code(key)
        if code == BIDS:
            bids, before = addr, seen
            to, addr = levels(addr, safe, config, body, limit)
            n_bids, after_bids = (to - body) >> 4, addr
        elif code == ASKS:
            asks, again = addr, bids == 0  # bids are written first: these are read again at the end
            to, addr = levels(addr, safe, config, to, limit)
            after_asks = addr
        elif code == EVENT:
            addr = event_name(addr, _DIFF, safe)
        elif code == SYMBOL:
            addr = symbol_name(addr, config, safe)
        elif code == NO_CODE:
            addr = skip(key, addr, end, safe)
        else:
            place = config + C_VALUES + 16 * code
            store64(place + 8, addr)
            value, addr = integer(addr, safe)
            store64(place, value)
        if addr < 0 or (code != NO_CODE and (seen >> code) & 1):
            return 0
        if code != NO_CODE:
            seen |= 1 << code
        c = byte_at(addr)
        addr += 1
        if c != _COMMA:
            break
    if c != _CLOSE or addr + 1 != end:
        return 0
    need = _NEED_SPOT if int_at(config + C_SPOT) else _NEED
    if seen & need != need:
        return 0
    if again:
        to, addr = levels(asks, safe, config, to, limit)
        if addr < 0:
            return 0
    taken = _diff(config, out, to, n_bids)
    if taken and asks == after_bids + 5 and after_asks + 2 == end and end + ROOM <= safe:
        learn(begin, bids, config, before, config + C_DIFF)
    return taken


@njit(cache=True)
def read_snapshot(addr: int, end: int, safe: int, config: int, out: int) -> int:
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
        key, addr = key_at(addr, safe)
        if addr < 0:
            return 0
        bit = 0
        if key == _SENT:
            bit = 1 << SENT
            sent, addr = integer(addr, safe)
        elif key == _AT:
            bit = 1 << AT
            happened, addr = integer(addr, safe)
        elif key != 0:
            return 0
        else:
            w = word_at(addr, safe)
            if (w & _6) == _BIDS_NAME:
                bit = 1 << BIDS
                to, addr = levels(addr + 6, safe, config, body, limit)
                n_bids = (to - body) >> 4
            elif (w & _6) == _ASKS_NAME and (seen >> BIDS) & 1:
                bit = 1 << ASKS
                to, addr = levels(addr + 6, safe, config, to, limit)
            elif w == _SYMBOL_NAME:
                bit = 1 << SYMBOL
                addr = symbol_name(addr + 8, config, safe)
            elif (w & _7) == _PAIR_NAME:
                addr = text_end(addr + 7, end)
                addr = addr + 1 if addr >= 0 else -1
            else:
                return 0
        if seen & bit:
            return 0
        seen |= bit
    exch_ms = happened if happened != 0 else sent
    if c != _CLOSE or addr != end or not (seen >> ASKS) & 1 or exch_ms >= MAX_MS:
        return 0
    head(out, to - out, config, _SNAPSHOT, exch_ms, last, last)
    store64(out + 8, int_at(config + C_WORD) + _FROM_REST | _SNAPSHOT)
    store64(out + HEADER_SIZE, 0)
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out
