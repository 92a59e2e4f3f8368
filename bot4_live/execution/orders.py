"""The order table: what the engine knows of each order, from events only.

Events come from three sides (REST reply, user stream, query) in any order and more than once. So nothing counts
deltas: an order's `filled` only rises, an end that the venue reported is final (an older answer that says otherwise is
counted as a contradiction), and a fill is taken once, by (trade id, venue order id). A fill may come before its
acknowledgement. An order whose fate is not known is UNKNOWN: it keeps
its slot and counts against every limit until a query has an answer.

Kernels take `t`, a numba Record of `ORDERS`; all zeros is an empty table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Flag, Kind
from bot4_live.execution.order_id import SEQUENCE_BITS

CAPACITY = 64
TRADES = 1024  # recent trades remembered; a trade older than all of them counts as seen


class OrderState(IntEnum):
    """Where an order stands. 2 to 7 are open: they may still fill."""

    FREE = 0
    DONE = 1  # filled, cancelled, expired, rejected or never sent; remembered until the slot is needed
    PENDING_SEND = 2  # the command is out of `step`, no bytes have left yet
    SENT = 3
    ACCEPTED = 4
    PARTIAL = 5
    PENDING_CANCEL = 6
    UNKNOWN = 7


ORDER = np.dtype(
    [
        ("id", "<i8"),
        ("state", "<i8"),
        ("prior", "<i8"),  # state before PENDING_CANCEL
        ("side", "<i8"),  # 1 buys, -1 sells
        ("price", "<i8"),  # ticks
        ("qty", "<i8"),  # lots
        ("filled", "<i8"),  # cumulative lots, never falls
        ("traded", "<i8"),  # lots of the fills taken; a floor for `filled` where a report has no cumulative
        ("flags", "<i8"),
        ("venue_id", "<i8"),
        ("made_ns", "<i8"),  # engine clock
        ("cancel_ns", "<i8"),  # when the last cancel was asked for
        ("ended", "<i8"),  # 1 once the venue said that the order is over
        ("order", "<i8"),  # count of slot uses, to reuse the oldest finished one
    ]
)
ORDERS = np.dtype(
    [
        ("rows", ORDER, (CAPACITY,)),
        ("epoch", "<i8"),
        ("sequence", "<i8"),
        ("uses", "<i8"),
        ("trade_id", "<i8", (TRADES,)),
        ("trade_order", "<i8", (TRADES,)),
        ("trades", "<i8"),  # fills taken, ever
        ("oldest_trade", "<i8"),  # greatest trade id that was pushed out of the ring
        # what went by
        ("fills", "<i8"),
        ("duplicate_fills", "<i8"),
        ("late_fills", "<i8"),  # of orders that were done
        ("foreign_fills", "<i8"),  # of orders that are not in the table (liquidation, ADL, a person)
        ("foreign_orders", "<i8"),  # reports, fills left out, of orders that are not in the table
        ("contradictions", "<i8"),  # a report that cannot be true together with an earlier one
        ("table_full", "<i8"),  # adoptions for which there was no slot
    ]
)

FREE, DONE, PENDING_SEND, SENT = 0, 1, 2, 3
ACCEPTED, PARTIAL, PENDING_CANCEL, UNKNOWN = 4, 5, 6, 7
_ACCEPTED, _FILL, _CANCELED = int(Kind.ORDER_ACCEPTED), int(Kind.ORDER_FILL), int(Kind.ORDER_CANCELED)
_REJECTED, _EXPIRED, _UNKNOWN = int(Kind.ORDER_REJECTED), int(Kind.ORDER_EXPIRED), int(Kind.ORDER_UNKNOWN)
_ADOPTED, _CANCEL_REJECTED = int(Kind.ORDER_ADOPTED), int(Kind.CANCEL_REJECTED)
_ATTEMPT, _SUPPRESSED = int(Kind.SEND_ATTEMPT), int(Kind.SUPPRESSED)
_NEW, _CANCEL, _CANCEL_ALL = int(Kind.CMD_NEW), int(Kind.CMD_CANCEL), int(Kind.CMD_CANCEL_ALL)
_SELL = int(Flag.SELL)


@njit(cache=True)
def find(t: Any, order_id: int) -> int:
    """Return the row of an order, open or remembered; -1 when there is none."""
    if order_id != 0:
        for i in range(CAPACITY):
            if t.rows[i].id == order_id and t.rows[i].state != FREE:
                return i
    return -1


@njit(cache=True)
def open_count(t: Any) -> int:
    """Return how many orders may still fill."""
    n = 0
    for i in range(CAPACITY):
        if t.rows[i].state >= PENDING_SEND:
            n += 1
    return n


@njit(cache=True)
def open_lots(t: Any, side: int) -> int:
    """Return the lots that may still fill on `side`, those of UNKNOWN and PENDING_CANCEL orders included."""
    lots = 0
    for i in range(CAPACITY):
        row = t.rows[i]
        if row.state >= PENDING_SEND and row.side == side and row.qty > row.filled:
            lots += row.qty - row.filled
    return lots


@njit(cache=True)
def free_row(t: Any) -> int:
    """Return a row for a new order: a free one, else the one finished longest ago; -1 when all are open."""
    best = -1
    for i in range(CAPACITY):
        state = t.rows[i].state
        if state == FREE:
            return i
        if state == DONE and (best < 0 or t.rows[i].order < t.rows[best].order):
            best = i
    return best


@njit(cache=True)
def _place(t: Any, i: int, order_id: int, side: int, price: int, qty: int, now_ns: int) -> None:
    row = t.rows[i]
    t.uses += 1
    row.id = order_id
    row.side = side
    row.price = price
    row.qty = qty
    row.filled = 0
    row.traded = 0
    row.flags = 0
    row.venue_id = 0
    row.made_ns = now_ns
    row.cancel_ns = 0
    row.ended = 0
    row.order = t.uses
    row.state = PENDING_SEND
    row.prior = PENDING_SEND


@njit(cache=True)
def make(t: Any, side: int, price: int, qty: int, flags: int, now_ns: int) -> int:
    """Enter a new order (PENDING_SEND) under the next id; return its row, -1 when the table is full."""
    i = free_row(t)
    if i < 0:
        return -1
    t.sequence += 1
    _place(t, i, (t.epoch << SEQUENCE_BITS) | t.sequence, side, price, qty, now_ns)
    t.rows[i].flags = flags
    return i


@njit(cache=True)
def ask_cancel(t: Any, i: int, now_ns: int) -> None:
    """Note that the order of row `i` is being cancelled; UNKNOWN stays UNKNOWN."""
    row = t.rows[i]
    if row.state != PENDING_CANCEL and row.state != UNKNOWN:
        row.prior = row.state
        row.state = PENDING_CANCEL
    row.cancel_ns = now_ns


@njit(cache=True)
def start_session(t: Any, epoch: int) -> None:
    """Begin a new order epoch: orders of the last life are UNKNOWN, those never attempted were never sent."""
    if epoch > t.epoch:
        t.epoch = epoch
        t.sequence = 0
    for i in range(CAPACITY):
        row = t.rows[i]
        if row.state == PENDING_SEND or (row.state == PENDING_CANCEL and row.prior == PENDING_SEND):
            row.state = DONE
        elif row.state > PENDING_SEND:
            row.state = UNKNOWN


@njit(cache=True)
def _seen(t: Any, trade: int, order: int) -> bool:
    """Return whether the trade was taken before; if not, remember it."""
    if trade <= t.oldest_trade:
        return True
    for k in range(min(t.trades, TRADES)):
        i = (t.trades - 1 - k) & (TRADES - 1)  # newest first: duplicates are mostly recent
        if t.trade_id[i] == trade and t.trade_order[i] == order:
            return True
    at = t.trades & (TRADES - 1)
    if t.trades >= TRADES:
        t.oldest_trade = max(t.oldest_trade, t.trade_id[at])
    t.trade_id[at] = trade
    t.trade_order[at] = order
    t.trades += 1
    return False


@njit(cache=True)
def _alive(row: Any) -> None:
    """Take in that the order reached the venue; one that we thought was never sent is open again."""
    state = PARTIAL if row.filled > 0 else ACCEPTED
    if row.ended == 1:
        return
    if row.filled >= row.qty:
        row.state = DONE
        row.ended = 1
    elif row.state == PENDING_CANCEL:
        row.prior = state
    else:
        row.state = state


@njit(cache=True)
def _on_fill(t: Any, i: int, h: Any, slots: np.ndarray) -> bool:
    """Take in a fill; return whether it is a new one."""
    if _seen(t, h.b, h.c if h.c != 0 else h.a):
        t.duplicate_fills += 1
        return False
    t.fills += 1
    if i < 0:
        t.foreign_fills += 1
        return True
    row = t.rows[i]
    row.traded += slots[0, 1]
    row.filled = max(row.filled, max(slots[1, 0], row.traded))
    if h.c != 0:
        row.venue_id = h.c
    if row.state == DONE:
        t.late_fills += 1
    _alive(row)
    return True


@njit(cache=True)
def _on_adopted(t: Any, i: int, h: Any, slots: np.ndarray) -> None:
    """Take in an order found open at the venue, known to us or not."""
    if h.a == 0:
        t.foreign_orders += 1
        return
    if i < 0:
        i = free_row(t)
        if i < 0:
            t.table_full += 1
            return
        _place(t, i, h.a, -1 if h.flags & _SELL else 1, slots[0, 0], slots[0, 1], h.recv_ns)
        t.rows[i].flags = h.flags
        # An id of this epoch that we do not remember must not come twice.
        if h.a >> SEQUENCE_BITS == t.epoch:
            t.sequence = max(t.sequence, h.a & ((1 << SEQUENCE_BITS) - 1))
    row = t.rows[i]
    row.venue_id = h.b
    row.filled = max(row.filled, h.c)
    if row.ended == 1:
        t.contradictions += 1  # the query was answered before the end, and its answer came after
    elif row.state != PENDING_CANCEL:
        row.state = SENT
    _alive(row)


@njit(cache=True)
def _on_end(row: Any, filled: int) -> None:
    row.filled = max(row.filled, filled)
    row.state = DONE
    row.ended = 1


@njit(cache=True)
def _on_suppressed(t: Any, i: int, command: int) -> None:
    """Take in that the gate let a command out of `step` not leave."""
    if command == _CANCEL_ALL:
        for j in range(CAPACITY):
            if t.rows[j].state == PENDING_CANCEL:
                t.rows[j].state = t.rows[j].prior
    elif i >= 0:
        row = t.rows[i]
        if command == _CANCEL and row.state == PENDING_CANCEL:
            row.state = row.prior
        elif command == _NEW and row.filled == 0 and row.state in (PENDING_SEND, SENT, PENDING_CANCEL):
            row.state = DONE


@njit(cache=True)
def on_order_event(t: Any, h: Any, slots: np.ndarray) -> bool:
    """Take in one event about an order (kinds 34 to 49); return whether it is a new fill.

    `h` is a Record of HEADER, `slots` int64 (n, 2).
    """
    kind = h.kind
    i = find(t, h.a)
    if kind == _FILL:
        return _on_fill(t, i, h, slots)
    if kind == _ADOPTED:
        _on_adopted(t, i, h, slots)
        return False
    if kind == _SUPPRESSED:
        _on_suppressed(t, i, h.c)
        return False
    if i < 0:
        if kind != _ATTEMPT:
            t.foreign_orders += 1
        return False
    row = t.rows[i]
    if kind == _ATTEMPT:
        if h.b == _NEW:
            if row.state == PENDING_SEND:
                row.state = SENT
            elif row.state == PENDING_CANCEL and row.prior == PENDING_SEND:
                row.prior = SENT
    elif kind == _ACCEPTED:
        row.venue_id = h.b
        row.filled = max(row.filled, h.c)
        _alive(row)
    elif kind in (_CANCELED, _EXPIRED):
        _on_end(row, h.c)
    elif kind == _REJECTED:
        if row.filled > 0 or row.state in (ACCEPTED, PARTIAL):
            t.contradictions += 1
        else:
            _on_end(row, 0)
    elif kind == _UNKNOWN:
        if row.state != DONE:
            row.state = UNKNOWN
    elif kind == _CANCEL_REJECTED and row.state == PENDING_CANCEL:
        row.state = UNKNOWN  # mostly it has just filled or expired; the next report or query says which
    return False
