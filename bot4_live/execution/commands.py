"""Command records, written by compiled code into the state's out buffer.

The buffer is int64 words; a record is its header as 8 words (see `events.HEADER`, little-endian) and 2 words a slot.
`seq` is that of the causing event, `c` the command's index within it, `crc` 0: the journal writer sets it.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.events import HEADER_SIZE, SCHEMA, SLOT_SIZE, Flag, Kind, Source
from bot4_live.execution.orders import PENDING_CANCEL, UNKNOWN, ask_cancel, make

_NEW, _CANCEL, _CANCEL_ALL = int(Kind.CMD_NEW), int(Kind.CMD_CANCEL), int(Kind.CMD_CANCEL_ALL)
_SELL = int(Flag.SELL)
_HIGH = SCHEMA << 16 | int(Source.ENGINE) << 24


@njit(cache=True)
def _write(s: Any, kind: int, flags: int, order_id: int, slots: int) -> int:
    """Write a header; return the word at which the slots begin."""
    at = s.out_len >> 3
    out = s.out
    length = HEADER_SIZE + SLOT_SIZE * slots
    out[at] = length
    out[at + 1] = kind | flags << 8 | _HIGH | s.instrument.id << 32 | s.instrument.version << 48
    out[at + 2] = s.last_seq
    out[at + 3] = s.now_ns
    out[at + 4] = 0
    out[at + 5] = order_id
    out[at + 6] = 0
    out[at + 7] = s.out_count
    s.out_len += length
    s.out_count += 1
    return at + 8


@njit(cache=True)
def new_order(s: Any, side: int, price: int, qty: int, flags: int) -> int:
    """Enter a risk-checked order and write CMD_NEW; return its row (-1, and nothing written, without a free one)."""
    i = make(s.orders, side, price, qty, flags, s.now_ns)
    if i < 0:
        return -1
    at = _write(s, _NEW, flags | (_SELL if side < 0 else 0), s.orders.rows[i].id, 1)
    s.out[at] = price
    s.out[at + 1] = qty
    s.counters.orders += 1
    return i


@njit(cache=True)
def cancel_order(s: Any, i: int) -> None:
    """Note that row `i` is being cancelled and write CMD_CANCEL."""
    ask_cancel(s.orders, i, s.now_ns)
    _write(s, _CANCEL, 0, s.orders.rows[i].id, 0)
    s.counters.cancels += 1


@njit(cache=True)
def cancel_everything(s: Any) -> None:
    """Note that every open order is being cancelled and write one CMD_CANCEL_ALL."""
    for i in range(s.orders.rows.shape[0]):
        state = s.orders.rows[i].state
        if state >= 2 and state != UNKNOWN and state != PENDING_CANCEL:
            ask_cancel(s.orders, i, s.now_ns)
    _write(s, _CANCEL_ALL, 0, 0, 0)
    s.counters.cancels += 1
