"""What happened after each row: returns, variance, how far prices went, whether an order would have been filled.

Every outcome of a row looks only at what came after it; NaN (or UNKNOWN) where that cannot be told: the book was not
usable in between, or the recording ended.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_platform.research.market import ASK, ASK_QTY, BID, BID_QTY, GRID_MS, LOTS, NS, PRICE, Market

UNKNOWN, LEFT, FILLED = -1, 0, 1


def steps(horizon_s: float) -> int:
    """Return a horizon in rows. Raises ValueError when it is not a positive multiple of the grid."""
    ms = round(horizon_s * 1000)
    if ms < GRID_MS or ms % GRID_MS or abs(ms - horizon_s * 1000) > 1e-6:
        raise ValueError(f"the horizon must be a multiple of {GRID_MS} ms, not {horizon_s * 1000:g} ms")
    return ms // GRID_MS


def mids(market: Market) -> np.ndarray:
    """Return the doubled mids as float64 (n,), NaN without a usable book."""
    return np.where(market.mid2 > 0, market.mid2.astype(float), np.nan)


def future_return(market: Market, h: int) -> np.ndarray:
    """Return mid `h` rows later / mid - 1 in bp, float64 (n,)."""
    mid = mids(market)
    out = np.full(len(mid), np.nan)
    out[:-h] = 1e4 * (mid[h:] / mid[:-h] - 1)
    return out


def variances(market: Market, h: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (realised variance of the last `h` rows, of the next `h` rows) in bp^2, float64 (n,) each.

    Sums of squared returns of one row (Andersen & Bollerslev 1998).
    """
    mid = mids(market)
    squares = (1e4 * (mid[1:] / mid[:-1] - 1)) ** 2
    past = np.full(len(mid), np.nan)
    following = np.full(len(mid), np.nan)
    if len(squares) >= h:
        sums = np.lib.stride_tricks.sliding_window_view(squares, h).sum(axis=1)
        past[h:] = sums
        following[:-h] = sums
    return past, following


def excursions(market: Market, h: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the best bid fell below and the best ask rose above the row's mid within `h` rows.

    In half ticks (so that levels compare exactly), float64 (n,) each, over every best quote in between.
    """
    span = h * GRID_MS * 1_000_000
    down, up = _excursions(market.ns, market.mid2, market.events, span)
    beyond = market.ns + span > market.events[-1, NS]
    down[beyond] = np.nan
    up[beyond] = np.nan
    return down, up


@njit(cache=True)
def _excursions(ns: np.ndarray, mid2: np.ndarray, events: np.ndarray, span: int) -> tuple[np.ndarray, np.ndarray]:
    down = np.full(len(ns), np.nan)
    up = np.full(len(ns), np.nan)
    start = 0
    for i in range(len(ns)):
        while start < len(events) and events[start, NS] <= ns[i]:
            start += 1
        if mid2[i] <= 0:
            continue
        low = mid2[i]
        high = mid2[i]
        usable = True
        at = start
        while at < len(events) and events[at, NS] <= ns[i] + span:
            if events[at, BID] <= 0:
                usable = False
                break
            low = min(low, 2 * events[at, BID])
            high = max(high, 2 * events[at, ASK])
            at += 1
        if usable:
            down[i] = mid2[i] - low
            up[i] = high - mid2[i]
    return down, up


def race(market: Market, side: int, share: np.ndarray, deadline_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Let an order of no size wait at each row's best price of a side (1 bid, -1 ask).

    `share` (n,) of the best size is before it. Returns (outcome, seconds until it), int64 and float64 (n,): FILLED by
    an aggressor's trade at its price once nothing is before it, or at a worse price; LEFT when the best price went
    away from it; UNKNOWN when neither came within `deadline_s`, the book became unusable or the recording ended. A
    removal that no trade of the last 10 ms explains is a cancellation, spread evenly over the queue: L2 data do not
    tell more.
    """
    return _race(market.ns, market.quotes, market.events, side, share, round(deadline_s * 1e9))


@njit(cache=True)
def _race(
    ns: np.ndarray, quotes: np.ndarray, events: np.ndarray, side: int, share: np.ndarray, deadline: int
) -> tuple[np.ndarray, np.ndarray]:
    outcome = np.full(len(ns), UNKNOWN, np.int64)
    waited = np.full(len(ns), np.nan)
    px_at, qty_at = (BID, BID_QTY) if side > 0 else (ASK, ASK_QTY)
    start = 0
    for i in range(len(ns)):
        while start < len(events) and events[start, NS] <= ns[i]:
            start += 1
        px = quotes[i, px_at - BID]
        size = quotes[i, qty_at - BID]
        if px <= 0 or size <= 0 or not 0.0 <= share[i] <= 1.0:
            continue
        ahead = share[i] * size
        credit = 0
        credit_ns = 0
        at = start
        while at < len(events) and events[at, NS] <= ns[i] + deadline:
            now = events[at, NS]
            lots = events[at, LOTS]
            if lots * side < 0:  # an aggressor of the other side
                worse = (px - events[at, PRICE]) * side
                if worse > 0:
                    outcome[i] = FILLED
                elif worse == 0:
                    lots = abs(lots)
                    if ahead < lots:
                        outcome[i] = FILLED
                    else:
                        ahead -= lots
                        credit = lots + (credit if now - credit_ns <= 10_000_000 else 0)
                        credit_ns = now
            best = events[at, px_at]
            if best <= 0:
                break
            if outcome[i] == UNKNOWN:
                away = (best - px) * side
                if away > 0:
                    outcome[i] = LEFT
                elif away < 0:
                    ahead = 0.0  # everyone else gave the price up
                    size = 0
                else:
                    new = events[at, qty_at]
                    if new < size:
                        explained = min(size - new, credit if now - credit_ns <= 10_000_000 else 0)
                        credit -= explained
                        if size - new > explained:
                            ahead *= new / (size - explained)
                    ahead = min(ahead, float(new))
                    size = new
            if outcome[i] != UNKNOWN:
                waited[i] = (now - ns[i]) * 1e-9
                break
            at += 1
    return outcome, waited
