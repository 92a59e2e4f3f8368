"""The order book as kernels over a flat state: snapshot, diffs, and the newest best quote on top.

`b` is a numba Record of `BOOK`; it nests in the engine's state, and all zeros is an empty book that is not valid.
Prices are ticks > 0, quantities lots; `levels` is int64 of shape (n, 2): bids first, then asks, as (price, qty).

`book_apply(b, header, slots)` does all of it for one event record: sequence rules, staleness, overlay. The other
kernels are its parts and the questions one may ask. A best quote that is newer than the levels overlays them: it hides
better levels and replaces the quantity at its prices, without changing the levels, so that an older diff which comes
after it cannot bring back what is gone. It ends when a diff reaches its update id.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Kind, StaleCause
from bot4_live.market.levels import (
    ASK,
    BID,
    BOOK,
    CHUNK_SHIFT,
    FAR,
    WINDOW,
    clear_levels,
    in_window,
    level_qty,
    next_level,
    recentre,
    set_level,
    window_levels,
)

__all__ = [
    "BOOK", "FAR", "WINDOW", "book_apply", "book_best_ask", "book_best_bid", "book_best_qty", "book_clear",
    "book_crossed", "book_depth", "book_diff", "book_qty", "book_snapshot", "book_stale", "book_ticker", "new_book",
]  # fmt: skip

_SNAPSHOT, _DIFF = int(Kind.DEPTH_SNAPSHOT), int(Kind.DEPTH_DIFF)
_TICKER, _STALE = int(Kind.BOOK_TICKER), int(Kind.BOOK_STALE)
_SESSION = int(Kind.SESSION)
_GAP, _START, _LOST = int(StaleCause.GAP), int(StaleCause.START), int(StaleCause.LOST_LEVELS)


def new_book() -> np.ndarray:
    """Return an empty book as a (1,) array of `BOOK`; kernels take its element 0 inside compiled code."""
    return np.zeros(1, BOOK)


@njit(cache=True)
def book_stale(b: Any, cause: int) -> None:
    """Distrust the levels until the next snapshot; they are kept, but `valid` is 0."""
    b.valid = 0
    b.bridging = 0
    b.stale_cause = cause


@njit(cache=True)
def book_clear(b: Any) -> None:
    """Empty the book and its overlay; it is not valid."""
    clear_levels(b)
    book_stale(b, _START)
    b.update_id = 0
    b.ticker_id = 0
    for row in range(2):
        b.ticker_price[row] = 0
        b.ticker_qty[row] = 0


@njit(cache=True)
def _check_lost(b: Any) -> None:
    """A window that reaches a level which was dropped shows a book with holes."""
    start = b.base_chunk << CHUNK_SHIFT
    if (b.lost[BID] >= start and b.lost[BID] > 0) or 0 < b.lost[ASK] < start + WINDOW:
        book_stale(b, _LOST)


@njit(cache=True)
def book_snapshot(b: Any, levels: np.ndarray, n_bids: int) -> None:
    """Replace all levels; the book is valid. The caller sets `update_id` (book_apply does)."""
    clear_levels(b)
    n = levels.shape[0]
    # Place the window before filling it: the first level of a snapshot is the best one.
    if n > 0:
        b.base_chunk = max((levels[0, 0] >> CHUNK_SHIFT) - 8, 0)
    for i in range(n):
        set_level(b, BID if i < n_bids else ASK, levels[i, 0], levels[i, 1])
    recentre(b)
    b.valid = 1
    b.bridging = 1
    b.stale_cause = 0
    _check_lost(b)


@njit(cache=True)
def book_diff(b: Any, levels: np.ndarray, n_bids: int) -> None:
    """Set the given levels (0 lots removes one). The caller sets `update_id` (book_apply does)."""
    for i in range(n_bids):
        set_level(b, BID, levels[i, 0], levels[i, 1])
    for i in range(n_bids, levels.shape[0]):
        set_level(b, ASK, levels[i, 0], levels[i, 1])
    if recentre(b):
        _check_lost(b)


@njit(cache=True)
def book_ticker(b: Any, update_id: int, bid_px: int, bid_qty: int, ask_px: int, ask_qty: int) -> None:
    """Remember a best quote; one older than what is known changes nothing. A price of 0 means an empty side."""
    if update_id < b.ticker_id:
        return
    b.ticker_id = update_id
    b.ticker_price[BID] = bid_px
    b.ticker_qty[BID] = bid_qty
    b.ticker_price[ASK] = ask_px
    b.ticker_qty[ASK] = ask_qty


@njit(cache=True)
def _overlaid(b: Any) -> bool:
    return b.ticker_id > b.update_id


@njit(cache=True)
def book_best_bid(b: Any) -> int:
    """Return the best bid in ticks, 0 when there is none."""
    return b.ticker_price[BID] if _overlaid(b) else b.best[BID]


@njit(cache=True)
def book_best_ask(b: Any) -> int:
    """Return the best ask in ticks, 0 when there is none."""
    return b.ticker_price[ASK] if _overlaid(b) else b.best[ASK]


@njit(cache=True)
def _hidden(b: Any, row: int, price: int) -> bool:
    """Return whether the overlay says that nothing rests at this price."""
    best = b.ticker_price[row]
    return best == 0 or (price > best if row == BID else price < best)


@njit(cache=True)
def book_qty(b: Any, side: int, price: int) -> int:
    """Return the lots at `price` on `side` (1 bids, -1 asks)."""
    row = BID if side > 0 else ASK
    if _overlaid(b):
        if price == b.ticker_price[row]:
            return b.ticker_qty[row]
        if _hidden(b, row, price):
            return 0
    return level_qty(b, row, price)


@njit(cache=True)
def book_best_qty(b: Any, side: int) -> int:
    """Return the lots at the best price of `side`, 0 when there is none."""
    price = book_best_bid(b) if side > 0 else book_best_ask(b)
    return book_qty(b, side, price) if price > 0 else 0


@njit(cache=True)
def book_depth(b: Any, side: int, out: np.ndarray, n: int) -> int:
    """Write up to `n` levels of `side`, best first, as (price, qty) into `out` (>= n, 2); return how many."""
    row = BID if side > 0 else ASK
    price = b.best[row]
    found = 0
    if _overlaid(b):
        price = b.ticker_price[row]
        if price == 0 or n == 0:
            return 0
        out[0, 0] = price
        out[0, 1] = b.ticker_qty[row]
        found = 1
        price = next_level(b, row, price)
    while found < n and price > 0:
        if in_window(b, price):
            before = found
            found = window_levels(b, row, price, out, found, n)
            if found > before:
                price = out[found - 1, 0]
        else:
            out[found, 0] = price
            out[found, 1] = level_qty(b, row, price)
            found += 1
        price = next_level(b, row, price) if found < n else 0
    return found


@njit(cache=True)
def book_crossed(b: Any) -> bool:
    """Return whether the levels (without overlay) have a bid at or above an ask."""
    return b.best[BID] > 0 and b.best[ASK] > 0 and b.best[BID] >= b.best[ASK]


@njit(cache=True)
def _connects(b: Any, first_id: int, last_id: int, previous_id: int) -> bool:
    """Binance's rules: pu == the last u; the first diff after a snapshot may instead have U <= lastUpdateId <= u.

    A venue without pu (-1) sends U == last u + 1.
    """
    if previous_id >= 0 and previous_id == b.update_id:
        return True
    if b.bridging == 1:
        return first_id <= b.update_id + 1 and last_id >= b.update_id
    return previous_id < 0 and first_id == b.update_id + 1


@njit(cache=True)
def _apply_diff(b: Any, header: Any, slots: np.ndarray) -> bool:
    if b.valid == 0 or header.b < b.update_id or (header.b == b.update_id and b.bridging == 0):
        return False
    if not _connects(b, header.a, header.b, slots[0, 0]):
        b.sequence_errors += 1
        book_stale(b, _GAP)
        return False
    b.update_id = header.b
    b.bridging = 0
    book_diff(b, slots[1:], slots[0, 1])
    return True


@njit(cache=True)
def book_apply(b: Any, header: Any, slots: np.ndarray) -> bool:
    """Apply one event record; return whether levels or overlay changed.

    `header` is a Record of events.HEADER, `slots` its body, int64 (n, 2). Diffs that a snapshot already holds, or
    that come while the book is not valid, change nothing; one that does not connect makes it stale (a second line
    of defence: the feed says BOOK_STALE before). A SESSION event empties the book. Other kinds are ignored.
    """
    kind = header.kind
    if kind == _DIFF:
        return _apply_diff(b, header, slots)
    if kind == _TICKER:
        book_ticker(b, header.a, slots[0, 0], slots[0, 1], slots[1, 0], slots[1, 1])
        return True
    if kind == _SNAPSHOT:
        b.update_id = header.b
        book_snapshot(b, slots[1:], slots[0, 1])
        return True
    if kind == _STALE:
        book_stale(b, header.a)
        return True
    if kind == _SESSION:
        book_clear(b)
        return True
    return False
