"""Walls and their withdrawal: large levels of the book, looked for at every TICK on the 100 ms grid.

Depth diffs come every 100 ms, so a finer grid would see nothing more. A wall that was there at one look and is gone at
the next, while neither the best price nor a trade reached it, was withdrawn.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.events import Side
from bot4_live.features.numbers import decayed, power
from bot4_live.features.registry import index
from bot4_live.features.state import DECAY_10S, LARGE, MIN_WALL_LEVELS, WALL_LEVELS
from bot4_live.market.book import book_depth, book_qty

WALL_BID_BP, WALL_BID_SIZE = index("wall_bid_bp"), index("wall_bid_size")
WALL_ASK_BP, WALL_ASK_SIZE = index("wall_ask_bp"), index("wall_ask_size")
SPOOF_BID, SPOOF_ASK = index("spoof_bid"), index("spoof_ask")

_BUY_SIDE, _SELL_SIDE = int(Side.BUY), int(Side.SELL)


@njit(cache=True)
def wall_reach(f: Any, low: int, high: int) -> None:
    """Remember how far prices came towards the walls: `low` towards the bids', `high` towards the asks'."""
    f.bid_wall.reach = min(f.bid_wall.reach, low)
    f.ask_wall.reach = max(f.ask_wall.reach, high)


@njit(cache=True)
def walls_forget(f: Any) -> None:
    """Forget the walls: the book is not usable, what happens to them is not seen."""
    f.bid_wall.px = 0
    f.ask_wall.px = 0


@njit(cache=True)
def _withdrawn(f: Any, b: Any, w: Any, side: int) -> None:
    """Count the wall of the last look, if it was withdrawn since."""
    if w.px == 0 or (w.reach - w.px) * side <= 0:
        return
    left = book_qty(b, side, w.px)
    if left * 5 <= w.qty:
        w.withdrawn += (w.qty - left) * f.lot * (w.px * f.tick)


@njit(cache=True)
def _look(f: Any, b: Any, w: Any, side: int) -> float:
    """Find a side's wall; return its size as a multiple of the mean, 0 for none."""
    n = book_depth(b, side, f.deep, WALL_LEVELS)
    w.px = 0
    w.qty = 0
    if n < MIN_WALL_LEVELS:
        return 0.0
    total = 0
    for i in range(n):
        total += f.deep[i, 1]
        if f.deep[i, 1] > w.qty:
            w.px = f.deep[i, 0]
            w.qty = f.deep[i, 1]
    size = float(w.qty) * n / total if total > 0 else 0.0
    if size < LARGE:
        w.px = 0
        w.qty = 0
        return 0.0
    return size


@njit(cache=True)
def look_for_walls(f: Any, b: Any) -> None:
    """Judge the walls of the last look and find those of now. Call it on the grid."""
    bid = f.bid_wall
    ask = f.ask_wall
    if f.mid2 <= 0:
        f.x[WALL_BID_BP] = f.x[WALL_BID_SIZE] = f.x[WALL_ASK_BP] = f.x[WALL_ASK_SIZE] = 0.0
        return
    _withdrawn(f, b, bid, _BUY_SIDE)
    _withdrawn(f, b, ask, _SELL_SIDE)
    mid = 0.5 * f.mid2
    f.x[WALL_BID_SIZE] = _look(f, b, bid, _BUY_SIDE)
    f.x[WALL_BID_BP] = 1e4 * (mid - bid.px) / mid if bid.px > 0 else 0.0
    f.x[WALL_ASK_SIZE] = _look(f, b, ask, _SELL_SIDE)
    f.x[WALL_ASK_BP] = 1e4 * (ask.px - mid) / mid if ask.px > 0 else 0.0
    bid.reach = f.bid_px
    ask.reach = f.ask_px
    f.x[SPOOF_BID] = bid.withdrawn
    f.x[SPOOF_ASK] = ask.withdrawn


@njit(cache=True)
def walls_tick(f: Any, n: int) -> None:
    """Decay what was withdrawn over `n` TICKs."""
    factor = power(DECAY_10S, n)
    f.bid_wall.withdrawn = decayed(f.bid_wall.withdrawn, factor)
    f.ask_wall.withdrawn = decayed(f.ask_wall.withdrawn, factor)
    f.x[SPOOF_BID] = f.bid_wall.withdrawn
    f.x[SPOOF_ASK] = f.ask_wall.withdrawn
