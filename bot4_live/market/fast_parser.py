"""The compiled parser: the venue's own form of a frame, straight from its bytes to a record.

It takes what Binance sends on USD-M, COIN-M and spot (a combined-stream frame without blanks, keys in any order, plain
numbers, unknown keys with a plain value; the answer of GET depth in the venue's order) and declines everything else,
broken or merely unusual, which then goes to the reference parser: so what is accepted, and what is refused and why, is
the reference's decision alone. Tests hold it equal on every frame of the real captures and on mutations of them.

Frames are tried first against the form of the last of their kind (`frame_form`): they rarely differ from it.

Kernels take raw addresses. A frame is only scanned when its last byte is `}`; no rule but the last accepts one outside
a string, and strings are bounded, so that scanning stops there at the latest (see `scan` for words read past it).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from bot4_live.events import HEADER_SIZE, Flag, Kind
from bot4_live.instrument import Instrument
from bot4_live.kernels import address, entry_point
from bot4_live.market.bits import lowest_bit
from bot4_live.market.blocks import BLOCK, QUOTE, find_text, store64
from bot4_live.market.book_frames import MAX_RECORD, head, read_diff, read_levels, read_snapshot
from bot4_live.market.frame_form import ROOM, learn, read
from bot4_live.market.frame_values import (
    EVENT,
    ID,
    MAKER,
    NEED_QUOTE,
    NEED_TRADE,
    PRICE,
    PRICE_2,
    QTY,
    QTY_2,
    time_of,
    value_of,
    values,
)
from bot4_live.market.parser import MAX_FRAME, MAX_MS, Rejected, parse
from bot4_live.market.parser_config import C_DIFF, C_QUOTE, C_SPOT, C_TRADE, parser_config
from bot4_live.market.raw_bytes import BYTES_HEAD, RAW_BYTES, SIZE_AT, place_of
from bot4_live.market.scan import byte_at, int_at, mask, packed, page_end, text_end, word_at

__all__ = [
    "MAX_RECORD", "FastParser", "parse_at", "parse_bytes", "parser_config", "record_room"
]  # fmt: skip

_DIFF, _TICKER, _TRADE = int(Kind.DEPTH_DIFF), int(Kind.BOOK_TICKER), int(Kind.TRADE)
_SELL = int(Flag.SELL)
_AT_SIGN, _CLOSE = ord("@"), ord("}")
_ALL_SYMBOLS = ord("!")  # begins streams of the whole market
_HEAD, _HEAD_TAIL = packed(b'{"stream'), packed(b'":"')
_DATA, _DATA_TAIL = packed(b'","data"'), packed(b":{")
_DEPTH, _TRADE_NAME = packed(b"depth"), packed(b"trade")
_BOOK_TICK, _ER = packed(b"bookTick"), packed(b"er")
_LAST_UPD, _ATE_ID = packed(b'{"lastUp'), packed(b'dateId":')
_2, _3, _5 = mask(2), mask(3), mask(5)
_NUL = np.uint64(0)


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


@njit(cache=True)
def _quote(config: int, out: int) -> int:
    """Write the record of the best quote just read; return its bytes, 0 when it is declined."""
    exch_ms = time_of(config)
    if not 0 <= exch_ms < MAX_MS or (exch_ms == 0 and int_at(config + C_SPOT) == 0):
        return 0
    head(out, HEADER_SIZE + 32, config, _TICKER, exch_ms, value_of(config, ID), 0)
    store64(out + HEADER_SIZE, value_of(config, PRICE))
    store64(out + HEADER_SIZE + 8, value_of(config, QTY))
    store64(out + HEADER_SIZE + 16, value_of(config, PRICE_2))
    store64(out + HEADER_SIZE + 24, value_of(config, QTY_2))
    return HEADER_SIZE + 32


@njit(cache=True)
def _trade(config: int, out: int) -> int:
    """Do the same for a trade."""
    exch_ms = time_of(config)
    if not 0 < exch_ms < MAX_MS:
        return 0
    flags = _SELL if value_of(config, MAKER) else 0
    head(out, HEADER_SIZE + 16, config, _TRADE | flags << 8, exch_ms, value_of(config, ID), 0)
    store64(out + HEADER_SIZE, value_of(config, PRICE))
    store64(out + HEADER_SIZE + 8, value_of(config, QTY))
    return HEADER_SIZE + 16


@njit(cache=True)
def _in_any_order(begin: int, end: int, safe: int, config: int, out: int) -> int:
    """Do what `parse_at` does, whatever the last frame looked like."""
    if word_at(begin, safe) == _LAST_UPD and word_at(begin + 8, safe) == _ATE_ID:
        return read_snapshot(begin + 16, end, safe, config, out)
    kind, addr = _stream(begin, end, safe)
    if addr < 0:
        return 0
    if kind == _DIFF:
        return read_diff(begin, addr, end, safe, config, out)
    seen = values(addr, end, safe, config, kind)
    need, form = NEED_TRADE, config + C_TRADE
    if kind == _TICKER:
        need, form = (NEED_QUOTE if int_at(config + C_SPOT) else NEED_QUOTE | 1 << EVENT), config + C_QUOTE
    if seen < 0 or seen & need != need:
        return 0
    taken = _quote(config, out) if kind == _TICKER else _trade(config, out)
    if taken and end + ROOM <= safe:
        learn(begin, end, config, seen, form)
    return taken


@njit("i8(i8, i8, i8, i8, i8)", cache=True)
def parse_at(addr: int, size: int, safe: int, config: int, out: int) -> int:
    """Write the record of the frame at `addr` to `out`; return its bytes, 0 when the frame is declined.

    `out` must have room for min(MAX_RECORD, record_room(size)) bytes; what lies there is lost even when declining.
    `safe` >= addr + size is the first address that must not be read. `config` is a `parser_config`; it is written to.
    """
    end = addr + size
    if size < 2 or size > MAX_FRAME or byte_at(end - 1) != _CLOSE:
        return 0
    if end + ROOM <= safe:
        if read(addr, end, config, config + C_QUOTE) == end:
            return _quote(config, out)
        if read(addr, end, config, config + C_TRADE) == end:
            return _trade(config, out)
        levels = read(addr, end, config, config + C_DIFF)
        if levels != 0:
            taken = read_levels(levels, end, safe, config, out)
            if taken != 0:
                return taken
    return _in_any_order(addr, end, safe, config, out)


@njit(types.int64(RAW_BYTES, types.int64, types.int64), cache=True)
def parse_bytes(raw: Any, config: int, out: int) -> int:
    """Do the same as `parse_at` for a `bytes` object, of which nothing is known but its place; 0 for other objects."""
    place = place_of(raw)
    size = int_at(place + SIZE_AT) if place else 0
    if size == 0:
        return 0
    addr = place + BYTES_HEAD
    return parse_at(addr, size, page_end(addr + size), config, out)


@njit(cache=True)
def record_room(size: int) -> int:
    """Return more bytes than the record of a frame of `size` bytes can have: a level takes 9 bytes, and 16 here."""
    return 2 * size + 128


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
        size = self._parse(raw, *self._places)
        return self._out[:size].copy() if size else None

    def parse(self, raw: bytes) -> np.ndarray | Rejected:
        """Return the same as `parser.parse`, sooner."""
        record = self.fast(raw)
        if record is not None:
            return record
        self.declined += 1
        return parse(raw, self.instrument)
