"""The place in the queue at the best prices, and the chance to be filled there before the price leaves.

An order of no size joins each side's best price when that becomes the best. A trade at its price takes lots from before
it; what else leaves is a cancellation, spread over the queue evenly, so that it takes the order's share of it from
before it. Trades and best quotes come on different channels in either order, mostly within 2 ms of each other: a
trade that comes first explains the removal that follows until the next TICK; one that comes after it is counted on
top of the cancellation that the removal was taken for, so the place is somewhat too good then.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.features.numbers import decayed
from bot4_live.features.registry import index

PLACE_BID, PLACE_ASK = index("queue_place_bid"), index("queue_place_ask")
FILL_BID, FILL_ASK = index("fill_bid"), index("fill_ask")


@njit(cache=True)
def queue_change(q: Any, gain: int, qty: int, old_qty: int) -> None:
    """Take in a new best size; `gain` is how many ticks the side's best price went towards the other side."""
    if gain > 0:
        q.left += 1.0
    if gain != 0 or qty >= old_qty:
        return
    gone = old_qty - qty
    traded = min(gone, q.traded)
    q.traded -= traded
    rest = old_qty - traded
    if gone > traded:
        q.ahead *= qty / rest
    q.ahead = min(q.ahead, qty)


@njit(cache=True)
def queue_trade(q: Any, price: int, qty: int, size: int) -> None:
    """Take in a trade; `size` is the best size as it is known. An order that is filled joins again at the end."""
    if price != q.px:
        return
    q.traded += qty
    if q.ahead >= qty:
        q.ahead -= qty
    else:
        q.ahead = max(size - q.traded, 0)


@njit(cache=True)
def queue_tick(q: Any, factor: float) -> None:
    """Step to a TICK."""
    q.traded = 0
    q.left = decayed(q.left, factor)


@njit(cache=True)
def queue_void(q: Any) -> None:
    """Forget the order: the book is not usable."""
    q.px = 0


@njit(cache=True)
def _place(q: Any, px: int, qty: int) -> float:
    """Return the share of the best size that is before the order; join a price that is new."""
    if q.px != px:
        q.px = px
        q.ahead = qty
        q.traded = 0
    return q.ahead / qty if qty > 0 else 0.0


@njit(cache=True)
def _fill(removed: float, left: float, qty: int) -> float:
    """Return the chance that the queue is gone before the price leaves: both at their rates, whose ratio decides."""
    both = removed + left * qty
    return removed / both if both > 0.0 else 0.0


@njit(cache=True)
def refresh_queues(f: Any) -> None:
    """Set the features from the best quotes of a usable book."""
    s = f.flow
    bid = f.bid_queue
    ask = f.ask_queue
    f.x[PLACE_BID] = _place(bid, f.bid_px, f.bid_qty)
    f.x[PLACE_ASK] = _place(ask, f.ask_px, f.ask_qty)
    f.x[FILL_BID] = _fill(s.removed_bid, bid.left, f.bid_qty)
    f.x[FILL_ASK] = _fill(s.removed_ask, ask.left, f.ask_qty)
