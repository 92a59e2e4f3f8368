"""The shape of the book: the best ten levels of both sides and what is drawn from them.

A best quote can change only the sizes in front, so what lies behind is summed up once a diff and kept by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Side
from bot4_live.features.flow import OFI_5_1S, level_flow, multi_level_flow
from bot4_live.features.registry import index
from bot4_live.features.state import LEVELS
from bot4_live.market.book import book_depth

IMBALANCE_3, IMBALANCE_5, IMBALANCE_10 = index("imbalance_3"), index("imbalance_5"), index("imbalance_10")
WEIGHTED_MID_5, DEPTH_5 = index("weighted_mid_5_bp"), index("depth_5")
SLOPE_BID, SLOPE_ASK = index("depth_slope_bid"), index("depth_slope_ask")
SIZE_LEVELS, PRESSURE = index("size_levels"), index("pressure")

_BUY_SIDE, _SELL_SIDE = int(Side.BUY), int(Side.SELL)


@njit(cache=True)
def _copy(source: np.ndarray, target: np.ndarray, n: int) -> None:
    for i in range(n):
        target[i, 0] = source[i, 0]
        target[i, 1] = source[i, 1]


@njit(cache=True)
def _sum_side(s: Any, levels: np.ndarray, n: int, mid2: int) -> None:
    """Sum up what lies behind the best level; prices enter as distances, exact integers however large they are."""
    s.lots_3 = 0
    s.lots_5 = 0
    s.lots_10 = 0
    s.value_5 = 0
    s.squares = 0.0
    s.weighted = 0.0
    s.last_px = levels[n - 1, 0] if n > 0 else 0
    for i in range(1, n):
        price = levels[i, 0]
        qty = levels[i, 1]
        if i < 3:
            s.lots_3 += qty
        if i < 5:
            s.lots_5 += qty
            s.value_5 += (price - levels[0, 0]) * qty
        s.lots_10 += qty
        s.squares += float(qty) * qty
        s.weighted += qty / abs(2 * price - mid2)


@njit(cache=True)
def _imbalance(bids: int, asks: int) -> float:
    return (bids - asks) / (bids + asks) if bids + asks > 0 else 0.0


@njit(cache=True)
def _draw(f: Any) -> None:
    """Set the features from the best sizes and the sums behind them."""
    b = f.bid_side
    a = f.ask_side
    bids = f.bid_qty + b.lots_5
    asks = f.ask_qty + a.lots_5
    mid = 0.5 * f.mid2
    quote = f.lot * mid * f.tick
    if bids <= 0 or asks <= 0 or f.n_bids == 0 or f.n_asks == 0:
        f.x[IMBALANCE_3] = f.x[IMBALANCE_5] = f.x[IMBALANCE_10] = f.x[WEIGHTED_MID_5] = f.x[DEPTH_5] = 0.0
        f.x[SLOPE_BID] = f.x[SLOPE_ASK] = f.x[SIZE_LEVELS] = f.x[PRESSURE] = 0.0
        return
    total = bids + asks
    half = 0.5 * (f.ask_px - f.bid_px)
    bid_off = b.value_5 / bids - half  # mean price of the side, from mid, in ticks
    ask_off = a.value_5 / asks + half
    f.x[IMBALANCE_3] = _imbalance(f.bid_qty + b.lots_3, f.ask_qty + a.lots_3)
    f.x[IMBALANCE_5] = (bids - asks) / total
    f.x[WEIGHTED_MID_5] = 1e4 * (bid_off * asks + ask_off * bids) / total / mid
    f.x[DEPTH_5] = total * quote
    bids = f.bid_qty + b.lots_10
    asks = f.ask_qty + a.lots_10
    f.x[IMBALANCE_10] = _imbalance(bids, asks)
    f.x[SLOPE_BID] = bids * quote * mid * 1e-4 / (mid - b.last_px)
    f.x[SLOPE_ASK] = asks * quote * mid * 1e-4 / (a.last_px - mid)
    squares = float(f.bid_qty) * f.bid_qty + float(f.ask_qty) * f.ask_qty + b.squares + a.squares
    f.x[SIZE_LEVELS] = float(bids + asks) * (bids + asks) / squares
    near = 1.0 / (f.ask_px - f.bid_px)  # the best prices are half a spread from mid: that many half ticks
    bid_force = f.bid_qty * near + b.weighted
    ask_force = f.ask_qty * near + a.weighted
    f.x[PRESSURE] = (bid_force - ask_force) / (bid_force + ask_force)


@njit(cache=True)
def take_levels(f: Any, b: Any, same_prices: bool, fresh: bool) -> None:
    """Take in the changed levels of a usable book; `f` holds the new best quotes.

    With `same_prices` only the sizes at the best prices are new; `fresh` says that there was no usable book before,
    so that nothing of it is order flow.
    """
    if same_prices:
        old = (f.bids[0, 0], f.bids[0, 1], f.asks[0, 0], f.asks[0, 1])
        f.bids[0, 1] = f.bid_qty
        f.asks[0, 1] = f.ask_qty
        e = level_flow(f.bid_px, f.bid_qty, f.ask_px, f.ask_qty, old)
    else:
        _copy(f.bids, f.old_bids, f.n_bids)
        _copy(f.asks, f.old_asks, f.n_asks)
        f.n_old_bids = f.n_bids
        f.n_old_asks = f.n_asks
        f.n_bids = book_depth(b, _BUY_SIDE, f.bids, LEVELS)
        f.n_asks = book_depth(b, _SELL_SIDE, f.asks, LEVELS)
        _sum_side(f.bid_side, f.bids, f.n_bids, f.mid2)
        _sum_side(f.ask_side, f.asks, f.n_asks, f.mid2)
        e = 0 if fresh else multi_level_flow(f)
    if e != 0:
        f.flow.ofi_5_1s += e * f.lot * (0.5 * f.mid2) * f.tick
        f.x[OFI_5_1S] = f.flow.ofi_5_1s
    _draw(f)
