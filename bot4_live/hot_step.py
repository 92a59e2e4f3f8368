"""One frame from its bytes to its commands, compiled: parse, the feed's rules, due TICKs, seq, book, features, model,
strategy, risk. See `hot_loop.HotLoop`, which is how to use it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.np.numpy_support import carray

from bot4_live.clock import TICK_NS
from bot4_live.engine_state import OUT_BYTES, STATE
from bot4_live.events import HEADER_SIZE, SCHEMA, Kind, Source
from bot4_live.kernels import header_at, offset, pointer, slots_at
from bot4_live.market.blocks import store64
from bot4_live.market.book import book_crossed
from bot4_live.market.fast_parser import parse_at
from bot4_live.market.hot_feed import FEED, fetch_levels, judge
from bot4_live.market.levels import BOOK
from bot4_live.market.raw_bytes import BYTES_HEAD, RAW_BYTES, SIZE_AT, place_of
from bot4_live.market.scan import int_at, page_end
from bot4_live.step import apply

DECLINED, COMMANDS, DISTRUSTED = -1, 1, 2
MAX_TICKS = 16  # due at once; more (a pause) are left to the sequencer
LOG_BYTES = (MAX_TICKS + 1) * (HEADER_SIZE + OUT_BYTES)

HOT = np.dtype(
    [
        # where everything lies
        ("state", "<i8"),
        ("config", "<i8"),
        ("event", "<i8"),  # the frame's record, MAX_RECORD bytes
        ("log", "<i8"),  # LOG_BYTES: TICKs and their commands, then the commands of the frame's record
        # what the last frame made of it: bytes in the log
        ("before", "<i8"),
        ("after", "<i8"),
        # the sequencer's state
        ("next_seq", "<i8"),
        ("last_ns", "<i8"),
        ("next_tick", "<i8"),
        ("ticks", "<i8"),
        ("ahead", "<i8"),  # records are made and not taken in: others wait before them
        ("feed", FEED),
    ]
)
_TICK, _DIFF, _TRADE = int(Kind.TICK), int(Kind.DEPTH_DIFF), int(Kind.TRADE)
_QTY = offset(STATE, "book") + offset(BOOK, "qty")
_TICK_WORD = _TICK | SCHEMA << 16 | int(Source.TIMER) << 24


@njit(cache=True)
def _step(h: Any, s: Any, record: int, to: int) -> int:
    """Take in a record, unless others wait before it; copy its commands to `to` and return their bytes."""
    if h.ahead != 0:
        return 0
    apply(s, header_at(record), slots_at(record))
    for k in range(s.out_len >> 3):
        store64(to + 8 * k, s.out[k])
    return s.out_len


@njit(cache=True)
def _ticks(h: Any, s: Any, recv_ns: int) -> int:
    """Take in the TICKs that are due; return whether they caused commands."""
    commands = 0
    while h.ticks != 0 and h.next_tick <= recv_ns:
        record = h.log + h.before
        for k in range(HEADER_SIZE >> 3):
            store64(record + 8 * k, 0)
        store64(record, HEADER_SIZE)
        store64(record + 8, _TICK_WORD)
        store64(record + 16, h.next_seq)
        store64(record + 24, h.next_tick)
        h.last_ns = h.next_tick
        h.next_tick += TICK_NS
        h.next_seq += 1
        size = _step(h, s, record, record + HEADER_SIZE)
        h.before += HEADER_SIZE + size
        commands |= size
    return COMMANDS if commands else 0


@njit("i8(i8, i8, i8, i8)", cache=True)
def frame_at(hot: int, frame: int, size: int, recv_ns: int) -> int:
    """Take in one frame; return DECLINED (nothing changed) or the bits COMMANDS and DISTRUSTED.

    DISTRUSTED: the event is in, and the book contradicts itself; the feed has to say so.
    """
    h = carray(pointer(hot), 1, HOT)[0]
    now = max(recv_ns, h.last_ns)
    if h.ticks != 0 and now - h.next_tick >= MAX_TICKS * TICK_NS:
        return DECLINED
    if size <= 0 or parse_at(frame, size, page_end(frame + size), h.config, h.event) == 0:
        return DECLINED
    s = carray(pointer(h.state), 1, STATE)[0]
    head, slots = header_at(h.event), slots_at(h.event)
    kind = np.int64(head.kind)
    if kind == _DIFF and not fetch_levels(slots, h.state + _QTY):
        return DECLINED
    checks = kind == _DIFF and h.ahead == 0  # a book that is behind says nothing of this frame
    if checks and (s.book.valid == 0 or s.book.update_id != h.feed.last_id):
        return DECLINED
    if not judge(h.feed, head, slots, recv_ns):
        return DECLINED
    h.feed.bytes += size
    h.before = 0
    result = _ticks(h, s, now)
    store64(h.event + 16, h.next_seq)
    store64(h.event + 24, now)
    h.next_seq += 1
    h.last_ns = now
    h.after = _step(h, s, h.event, h.log + h.before)
    if h.after != 0:
        result |= COMMANDS
    if checks and (s.book.valid == 0 or book_crossed(s.book)):
        result |= DISTRUSTED
    return result


@njit(types.int64(types.int64, RAW_BYTES, types.int64), cache=True)
def take_frame(hot: int, raw: Any, recv_ns: int) -> int:
    """Do what `frame_at` does for a Python object; DECLINED when it is no `bytes`."""
    place = place_of(raw)
    if place == 0:
        return DECLINED
    return frame_at(hot, place + BYTES_HEAD, int_at(place + SIZE_AT), recv_ns)
