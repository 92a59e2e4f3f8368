"""Frames that hold levels, compiled: depth diffs with keys in any order, and the answer of GET depth."""

from __future__ import annotations

from numba import njit

from bot4_live.events import HEADER_SIZE, Kind, Source
from bot4_live.market.blocks import store64
from bot4_live.market.frame_values import event_name, key_at, skip, symbol_name
from bot4_live.market.level_text import levels
from bot4_live.market.parser import MAX_LEVELS, MAX_MS
from bot4_live.market.parser_config import C_SPOT, C_WORD
from bot4_live.market.scan import byte_at, int_at, integer, mask, packed, text_end, word_at

_DIFF, _SNAPSHOT = int(Kind.DEPTH_DIFF), int(Kind.DEPTH_SNAPSHOT)
_FROM_REST = (int(Source.MARKET_REST) - int(Source.MARKET_STREAM)) << 24
MAX_RECORD = HEADER_SIZE + 16 * (MAX_LEVELS + 1)
_COMMA, _CLOSE = ord(","), ord("}")

# Keys, as the characters between their quotes (low byte first), and a bit for each that a record needs.
_EVENT, _SENT, _AT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS = (ord(c) for c in "eETsUuba")
_PREVIOUS = ord("p") | ord("u") << 8
(_BIT_E, _BIT_SENT, _BIT_AT, _BIT_SYMBOL, _BIT_FIRST, _BIT_LAST, _BIT_PREVIOUS, _BIT_BIDS, _BIT_ASKS) = (
    1 << i for i in range(9)
)
_NEED_DIFF = _BIT_E | _BIT_SYMBOL | _BIT_FIRST | _BIT_LAST | _BIT_PREVIOUS | _BIT_BIDS | _BIT_ASKS
_BIDS_NAME, _ASKS_NAME = packed(b'bids":'), packed(b'asks":')
_SYMBOL_NAME, _PAIR_NAME = packed(b'symbol":'), packed(b'pair":"')
_6, _7 = mask(6), mask(7)


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
def _common(key: int, addr: int, config: int, safe: int) -> tuple[int, int, int]:
    """Read the keys e, E, T, s: return (bit, value, address after it); bit 0 for another key, address -1 if odd."""
    if key == _SENT:
        value, addr = integer(addr, safe)
        return _BIT_SENT, value, addr
    if key == _AT:
        value, addr = integer(addr, safe)
        return _BIT_AT, value, addr
    if key == _EVENT:
        return _BIT_E, 0, event_name(addr, _DIFF, safe)
    if key == _SYMBOL:
        return _BIT_SYMBOL, 0, symbol_name(addr, config, safe)
    return 0, 0, addr


@njit(cache=True)
def read_diff(addr: int, end: int, safe: int, config: int, out: int) -> int:
    """Write the record of a depth diff whose first key is at `addr`; return its bytes, 0 when it is declined."""
    seen = first = last = sent = happened = asks = n_bids = 0
    previous = -1
    body = out + HEADER_SIZE + 16
    limit = out + MAX_RECORD
    to = body
    while True:
        key, addr = key_at(addr, safe)
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
            bit, value, after = _common(key, addr, config, safe)
            addr = after if bit else skip(key, addr, end, safe)
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
    head(out, to - out, config, _DIFF, exch_ms, first, last)
    store64(out + HEADER_SIZE, previous)
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out


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
    if c != _CLOSE or addr != end or not seen & _BIT_ASKS or exch_ms >= MAX_MS:
        return 0
    head(out, to - out, config, _SNAPSHOT, exch_ms, last, last)
    store64(out + 8, int_at(config + C_WORD) + _FROM_REST | _SNAPSHOT)
    store64(out + HEADER_SIZE, 0)
    store64(out + HEADER_SIZE + 8, n_bids)
    return to - out
