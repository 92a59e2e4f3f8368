"""From wanted quotes to commands: keep, cancel or place one order a side, every new one through the risk gate.

A quote that moves is cancelled and replaced in one go; the replacement waits where an earlier cancel is still under
way, where an order is not yet acknowledged, and where the fate of one is UNKNOWN. So a side never has more than one
order that is wanted and one that is on its way out. Adopted orders are managed like our own.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.events import Flag, Mode
from bot4_live.execution.commands import cancel_everything, cancel_order, new_order
from bot4_live.execution.orders import ACCEPTED, CAPACITY, PARTIAL, PENDING_CANCEL, PENDING_SEND, SENT, UNKNOWN
from bot4_live.risk.limits import check
from bot4_live.settings import PARAM_IDS
from bot4_live.strategies.market_making import want

CANCEL_RETRY_NS = 5_000_000_000  # engine clock; a cancel without an answer is asked for again
_HYSTERESIS, _REQUOTE = PARAM_IDS["hysteresis_ticks"], PARAM_IDS["requote_ms"]
_EMERGENCY = int(Mode.EMERGENCY)
_REDUCE_ONLY = int(Flag.REDUCE_ONLY)


@njit(cache=True)
def _fits(s: Any, i: int, price: int, flags: int, kept: int) -> bool:
    """Return whether the resting order of row `i` may stay for a wanted quote (price 0 = none wanted)."""
    row = s.orders.rows[i]
    if price == 0 or kept >= 0 or abs(row.price - price) > s.params[_HYSTERESIS]:
        return False
    return (flags & _REDUCE_ONLY) == (row.flags & _REDUCE_ONLY)


@njit(cache=True)
def _manage(s: Any, side: int, price: int, qty: int, flags: int) -> None:
    """Bring the orders of one side to the wanted quote."""
    kept = -1
    waiting = 0
    leaving = 0
    for i in range(CAPACITY):
        row = s.orders.rows[i]
        if row.side != side or row.state < PENDING_SEND:
            continue
        if row.state == ACCEPTED or row.state == PARTIAL:
            if _fits(s, i, price, flags, kept):
                kept = i
            else:
                cancel_order(s, i)
                leaving += 1
        elif row.state == PENDING_CANCEL:
            leaving += 1
            if s.now_ns - row.cancel_ns >= CANCEL_RETRY_NS:
                cancel_order(s, i)
        elif row.state == SENT or row.state == PENDING_SEND or row.state == UNKNOWN:
            waiting += 1
    if price > 0 and kept < 0 and waiting == 0 and leaving <= 1 and check(s, side, price, qty, flags) == 0:
        new_order(s, side, price, qty, flags)


@njit(cache=True)
def evaluate(s: Any) -> None:
    """Evaluate the strategy now and write the commands that follow; the next time is `requote_ms` later."""
    s.counters.decisions += 1
    s.quoter.next_ns = s.now_ns + int(s.params[_REQUOTE] * 1e6)
    if s.mode == _EMERGENCY:
        return  # the cancel-all went out when the mode came; the watchdog does the rest
    want(s)
    q = s.quoter
    _manage(s, 1, q.price[0], q.qty[0], q.flags[0])
    _manage(s, -1, q.price[1], q.qty[1], q.flags[1])


@njit(cache=True)
def enter_emergency(s: Any) -> None:
    """Cancel everything, once, when the mode becomes EMERGENCY."""
    cancel_everything(s)
