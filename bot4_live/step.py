"""`step`, compiled: one event into the state, commands out. No allocation, clock, I/O or randomness.

Per event: book, fast features, model, strategy, risk, commands. The strategy is evaluated on the first TICK at or
after `requote_ms` since the last evaluation, and at once where quotes may have to leave (book stale, mode, hold).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.np.numpy_support import carray

from bot4_live.engine_state import OUT_BYTES, STATE
from bot4_live.events import HEADER_SIZE, MARKET_KINDS, Flag, Kind, Mode
from bot4_live.execution.account import on_fill, on_position
from bot4_live.execution.intents import on_intent
from bot4_live.execution.orders import on_order_event
from bot4_live.execution.quotes import enter_emergency, evaluate
from bot4_live.features.kernels import update
from bot4_live.kernels import header_at, pointer, slots_at
from bot4_live.market.book import book_apply, book_best_ask, book_best_bid
from bot4_live.models.predict import predict
from bot4_live.step_config import on_config, on_session

# Slots a record must have for its kind; -1 for kinds the engine does not know.
_SLOTS = np.full(256, -1, np.int64)
for _kind, _n in {
    Kind.DEPTH_SNAPSHOT: 1, Kind.DEPTH_DIFF: 1, Kind.BOOK_TICKER: 2, Kind.TRADE: 1, Kind.BOOK_STALE: 0,
    Kind.QUARANTINE: 0, Kind.TICK: 0, Kind.SESSION: 0, Kind.CLOCK_OFFSET: 0, Kind.VENUE_OFFSET: 0,
    Kind.FUNDING: 0,
    Kind.LIQUIDATION: 1, Kind.TICKER: 0, Kind.INSTRUMENT: 4, Kind.PARAMS: 0,
    Kind.MODE: 0, Kind.MODEL_SWAP: 2, Kind.SLOW_FEATURE: 1, Kind.HOLD: 0, Kind.BUDGET: 0, Kind.INTENT: 0,
    Kind.BACKLOG: 0, Kind.POSITION: 0, Kind.BALANCE: 0, Kind.ORDER_ACCEPTED: 0, Kind.ORDER_FILL: 2,
    Kind.ORDER_CANCELED: 0,
    Kind.ORDER_REJECTED: 0, Kind.ORDER_EXPIRED: 0, Kind.ORDER_UNKNOWN: 0, Kind.ORDER_ADOPTED: 1,
    Kind.CANCEL_REJECTED: 0, Kind.SEND_ATTEMPT: 0, Kind.SUPPRESSED: 0, Kind.NOTE: 0,
}.items():  # fmt: skip
    _SLOTS[_kind] = _n
# Kinds whose ticks and lots mean nothing under another version of the instrument.
_PRICED = np.zeros(256, np.bool_)
_PRICED[[Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE, Kind.LIQUIDATION]] = True
_PRICED[[Kind.POSITION, Kind.ORDER_FILL, Kind.ORDER_ADOPTED]] = True
_MARKET = np.zeros(256, np.bool_)
_MARKET[list(MARKET_KINDS)] = True

_SNAPSHOT, _DIFF, _TRADE, _STALE = (
    int(Kind.DEPTH_SNAPSHOT),
    int(Kind.DEPTH_DIFF),
    int(Kind.TRADE),
    int(Kind.BOOK_STALE),
)
_TICK, _SESSION, _INSTRUMENT, _BUDGET = int(Kind.TICK), int(Kind.SESSION), int(Kind.INSTRUMENT), int(Kind.BUDGET)
_MODE, _HOLD, _INTENT = int(Kind.MODE), int(Kind.HOLD), int(Kind.INTENT)
_POSITION, _BALANCE, _FILL = int(Kind.POSITION), int(Kind.BALANCE), int(Kind.ORDER_FILL)
_ACCEPTED, _CANCEL_REJECTED = int(Kind.ORDER_ACCEPTED), int(Kind.CANCEL_REJECTED)
_ATTEMPT, _SUPPRESSED = int(Kind.SEND_ATTEMPT), int(Kind.SUPPRESSED)
_INVALID = int(Flag.INVALID)
_EMERGENCY = int(Mode.EMERGENCY)


@njit(cache=True)
def _in_order(s: Any, h: Any) -> bool:
    """Follow seq and time; return False for an event that was taken in before."""
    c = s.counters
    seq = np.int64(h.seq)
    if s.started != 0:
        if seq <= s.last_seq:
            c.seq_repeats += 1
            return False
        if seq != s.last_seq + 1:
            c.seq_gaps += 1
    s.started = 1
    s.last_seq = seq
    if h.recv_ns >= s.now_ns or h.kind == _SESSION:
        s.now_ns = h.recv_ns
    else:
        c.time_backwards += 1
    return True


@njit(cache=True)
def _usable(s: Any, h: Any, slots: np.ndarray) -> bool:
    """Return whether the record may be interpreted; count why not."""
    c = s.counters
    kind = h.kind
    if h.flags & _INVALID:
        c.invalid += 1
        return False
    need = _SLOTS[kind]
    if need < 0:
        c.unknown_kind += 1
        return False
    n = slots.shape[0]
    if n < need or (kind in (_SNAPSHOT, _DIFF) and not 0 <= slots[0, 1] <= n - 1):
        c.malformed += 1
        return False
    i = s.instrument
    if h.instrument != i.id and ((_MARKET[kind] and i.known == 1) or (kind == _INSTRUMENT and i.chosen == 1)):
        c.watched += 1
        return False
    if _PRICED[kind] and (i.known == 0 or h.inst_version != i.version or h.instrument != i.id):
        c.unknown_instrument += 1
        return False
    return True


@njit(cache=True)
def _refresh_top(s: Any) -> None:
    """Keep the best prices, 0 while the book is not usable."""
    s.bid = 0
    s.ask = 0
    if s.book.valid == 1:
        bid = book_best_bid(s.book)
        ask = book_best_ask(s.book)
        if 0 < bid < ask:
            s.bid = bid
            s.ask = ask
            s.mid2 = bid + ask


@njit(cache=True)
def _on_market(s: Any, h: Any, slots: np.ndarray) -> None:
    """Book, features, forecast; a book that became useless pulls the quotes at once."""
    s.counters.market_events += 1
    had = s.bid
    if h.kind != _TRADE and book_apply(s.book, h, slots):
        _refresh_top(s)
    elif s.book.valid == 0:
        s.bid = 0
        s.ask = 0
    update(s.features, s.book, h, slots)
    s.predicted = 0
    s.prediction = 0.0
    if s.model >= 0 and s.features.valid == 1 and s.bid > 0:
        s.prediction = predict(s.models[s.model], s.features.x)
        s.predicted = 1
        s.counters.predictions += 1
    if had > 0 and s.bid == 0:
        evaluate(s)


@njit(cache=True)
def _on_account(s: Any, h: Any, slots: np.ndarray) -> None:
    """Positions, balances and everything about orders."""
    kind = h.kind
    if kind == _POSITION:
        mark = s.mid2 * s.instrument.unit_e8 // 2
        on_position(s.account, h, s.hold, s.instrument.lot_e8, mark)
    elif kind == _BALANCE:
        s.account.wallet_e8 = h.a
        s.account.available_e8 = h.b
    elif on_order_event(s.orders, h, slots):
        s.counters.fills += 1
        on_fill(s.account, h, slots, s.instrument.unit_e8)


@njit(cache=True)
def _on_mode(s: Any, mode: int) -> None:
    if not 0 <= mode <= _EMERGENCY:
        s.counters.malformed += 1
        return
    before = s.mode
    s.mode = mode
    if mode == _EMERGENCY and before != _EMERGENCY:
        enter_emergency(s)
    evaluate(s)


@njit(cache=True)
def apply(s: Any, h: Any, slots: np.ndarray) -> None:
    """Take in one event; its commands are in `s.out[: s.out_len / 8]`."""
    s.out_len = 0
    s.out_count = 0
    s.counters.events += 1
    if not _in_order(s, h) or not _usable(s, h, slots):
        return
    kind = h.kind
    if kind <= _STALE:
        _on_market(s, h, slots)
    elif kind == _TICK:
        s.counters.ticks += 1
        update(s.features, s.book, h, slots)
        if s.now_ns >= s.quoter.next_ns and s.params_known == 1:
            evaluate(s)
    elif kind == _SESSION:
        on_session(s, h)
        book_apply(s.book, h, slots)
        _refresh_top(s)
        update(s.features, s.book, h, slots)
    elif kind == _MODE:
        _on_mode(s, h.a)
    elif kind == _HOLD:
        s.hold = 1 if h.a != 0 else 0
        evaluate(s)
    elif kind == _INTENT:
        on_intent(s, h.a)
    elif _INSTRUMENT <= kind <= _BUDGET:
        on_config(s, h, slots)
        if kind == _INSTRUMENT:
            _refresh_top(s)
            update(s.features, s.book, h, slots)
    elif _POSITION <= kind <= _CANCEL_REJECTED or kind in (_ATTEMPT, _SUPPRESSED):
        _on_account(s, h, slots)


@njit("i8(i8, i8)", cache=True)
def step_at(state_addr: int, record_addr: int) -> int:
    """Take in the record at `record_addr`; return how many bytes of commands lie in the state's out buffer."""
    s = carray(pointer(state_addr), 1, STATE)[0]
    apply(s, header_at(record_addr), slots_at(record_addr))
    return s.out_len


_RECORD = types.Array(types.uint8, 1, "C")
_READ_ONLY = types.Array(types.uint8, 1, "C", readonly=True)


@njit([types.int64(types.int64, _RECORD), types.int64(types.int64, _READ_ONLY)], cache=True)
def step_record(state_addr: int, record: np.ndarray) -> int:
    """Take in one record (uint8, contiguous), like `step_at`; return -1 when it is not a whole one."""
    addr = record.ctypes.data
    if record.size < HEADER_SIZE:
        return -1
    length = np.int64(carray(pointer(addr), 1, np.uint32)[0])
    if length < HEADER_SIZE or length > record.size:
        return -1
    return step_at(state_addr, addr)


@njit("i8(i8, i8, i8, i8, i8, i8, i8, i8)", cache=True)
def run_at(
    state_addr: int,
    buf_addr: int,
    buf_size: int,
    offsets_addr: int,
    n: int,
    out_addr: int,
    out_cap: int,
    done_addr: int,
) -> int:
    """Take in `n` records at `buf_addr + offsets[i]`; write their commands back to back to `out_addr`.

    Returns the bytes written. Stops where one more event's commands might not fit (OUT_BYTES) or a record is not whole
    within `buf_size`; the int64 at `done_addr` says how many records were taken in.
    """
    s = carray(pointer(state_addr), 1, STATE)[0]
    offsets = carray(pointer(offsets_addr), n, np.int64)
    out = carray(pointer(out_addr), out_cap >> 3, np.int64)
    done = carray(pointer(done_addr), 1, np.int64)
    used = 0
    i = 0
    while i < n and used + OUT_BYTES <= out_cap:
        at = offsets[i]
        if at < 0 or at + HEADER_SIZE > buf_size:
            break
        record = buf_addr + at
        length = np.int64(carray(pointer(record), 1, np.uint32)[0])
        if length < HEADER_SIZE or at + length > buf_size:
            break
        apply(s, header_at(record), slots_at(record))
        words = s.out_len >> 3
        for k in range(words):
            out[(used >> 3) + k] = s.out[k]
        used += s.out_len
        i += 1
    done[0] = i
    return used
