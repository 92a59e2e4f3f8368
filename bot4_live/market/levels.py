"""The levels of a book: a circular window of ticks with an occupancy bitmap, and a far store for the rest.

A price's place in the window is its low 16 bits, so that moving the window moves no level that stays inside. It is
divided into 16 chunks of 4,096 ticks. Per side a bitmap has one bit a tick (64 words a chunk) and `summary` one bit
a word, so that the next level is found in two or three steps whatever the distance. Levels outside the window lie in a
sorted far store; when that is full the farthest level is dropped, counted in `overflow` and remembered in `lost`:
a book whose window reaches a lost level is no longer valid (`book.book_apply` sees to it).

All kernels take `b`, a numba Record of `BOOK`, and `row`: 0 for bids, 1 for asks. Prices are ticks > 0; 0 means none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.market.bits import highest_bit, lowest_bit

WINDOW = 65_536
CHUNK_SHIFT = 12
CHUNKS = 16
FAR = 8_192
SEEN_BITS = 4
BID, ASK = 0, 1

BOOK = np.dtype(
    [
        # identity and state, see market.book
        ("valid", "<i8"),  # 1 between a snapshot and the next reason to distrust it
        ("update_id", "<i8"),  # u of the last diff (or of the snapshot) that is in the levels
        ("bridging", "<i8"),  # 1 until the first diff after the snapshot
        ("stale_cause", "<i8"),  # StaleCause while not valid
        ("sequence_errors", "<i8"),  # diffs that did not connect; the feed should have said so before
        ("bad_levels", "<i8"),  # levels with price <= 0 or qty < 0, ignored
        # the newest best quote; it overlays the levels while ticker_id > update_id
        ("ticker_id", "<i8"),
        ("ticker_price", "<i8", (2,)),
        ("ticker_qty", "<i8", (2,)),
        # the levels; rows: bids, asks
        ("base_chunk", "<i8"),
        ("best", "<i8", (2,)),
        ("count", "<i8", (2,)),
        ("far_count", "<i8", (2,)),
        ("overflow", "<i8", (2,)),  # levels dropped from a full far store
        ("lost", "<i8", (2,)),  # the dropped price nearest to the market, 0 for none
        ("recentred", "<i8"),
        ("summary", "<u8", (2, CHUNKS)),
        ("bits", "<u8", (2, WINDOW // 64)),
        ("qty", "<i8", (2, WINDOW)),
        ("far_price", "<i8", (2, FAR)),  # ascending
        ("far_qty", "<i8", (2, FAR)),
        ("far_seen", "<i8", (2, 1 << SEEN_BITS)),  # where a price was last found there; only a guess
    ]
)

_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_TICK_MASK = WINDOW - 1
_SCATTER = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 over the golden ratio: spreads prices that are alike
_WORD_MASK = WINDOW // 64 - 1


@njit(cache=True)
def in_window(b: Any, price: int) -> bool:
    """Return whether `price` has a place in the window."""
    offset = (price >> CHUNK_SHIFT) - b.base_chunk
    return 0 <= offset < CHUNKS


@njit(cache=True)
def far_find(b: Any, row: int, price: int) -> int:
    """Return the first index of the far store whose price is >= `price`.

    Differences' signs select the half, so that the search branches on no price.
    """
    index: Any = 0
    left: Any = np.int64(b.far_count[row])
    while left > 1:
        half = left >> 1
        index += half & ((b.far_price[row, np.uint64(index + half - 1)] - price) >> 63)
        left -= half
    return index + np.int64(left == 1 and b.far_price[row, np.uint64(index)] < price)


@njit(cache=True)
def _far_remove(b: Any, row: int, index: int) -> None:
    last = b.far_count[row] - 1
    for i in range(index, last):
        b.far_price[row, i] = b.far_price[row, i + 1]
        b.far_qty[row, i] = b.far_qty[row, i + 1]
    b.far_count[row] = last


@njit(cache=True)
def _lose(b: Any, row: int, price: int) -> None:
    b.overflow[row] += 1
    b.count[row] -= 1
    lost = b.lost[row]
    if lost == 0 or (row == BID and price > lost) or (row == ASK and price < lost):
        b.lost[row] = price


@njit(cache=True)
def _far_insert(b: Any, row: int, index: int, price: int, qty: int) -> bool:
    """Add a level that is not there at its index; a full store loses its farthest level. `count` already includes it.

    Return whether it is in: not when it was itself the farthest.
    """
    if b.far_count[row] == FAR:
        farthest = 0 if row == BID else FAR - 1
        if (row == BID and index == 0) or (row == ASK and index == FAR):
            _lose(b, row, price)
            return False
        _lose(b, row, b.far_price[row, farthest])
        _far_remove(b, row, farthest)
        if row == BID:
            index -= 1
    n = b.far_count[row]
    for i in range(n, index, -1):
        b.far_price[row, i] = b.far_price[row, i - 1]
        b.far_qty[row, i] = b.far_qty[row, i - 1]
    b.far_price[row, index] = price
    b.far_qty[row, index] = qty
    b.far_count[row] = n + 1
    return True


@njit(cache=True)
def _mark(b: Any, row: int, price: int) -> None:
    word = (price >> 6) & _WORD_MASK
    b.bits[row, word] |= _ONE << np.uint64(price & 63)
    b.summary[row, word >> 6] |= _ONE << np.uint64(word & 63)


@njit(cache=True)
def _unmark(b: Any, row: int, price: int) -> None:
    word = (price >> 6) & _WORD_MASK
    left = b.bits[row, word] & ~(_ONE << np.uint64(price & 63))
    b.bits[row, word] = left
    if left == np.uint64(0):
        b.summary[row, word >> 6] &= ~(_ONE << np.uint64(word & 63))


@njit(cache=True)
def _window_below(b: Any, row: int, price: int) -> int:
    """Return the highest level of the window that is <= price (which is in the window), or 0."""
    word = price >> 6
    bits = b.bits[row, word & _WORD_MASK] & (_ALL >> np.uint64(63 - (price & 63)))
    if bits != np.uint64(0):
        return (word << 6) + highest_bit(bits)
    chunk = word >> 6
    summary = b.summary[row, chunk & (CHUNKS - 1)] & ((_ONE << np.uint64(word & 63)) - _ONE)
    while summary == np.uint64(0):
        chunk -= 1
        if chunk < b.base_chunk:
            return 0
        summary = b.summary[row, chunk & (CHUNKS - 1)]
    word = (chunk << 6) + highest_bit(summary)
    return (word << 6) + highest_bit(b.bits[row, word & _WORD_MASK])


@njit(cache=True)
def _window_above(b: Any, row: int, price: int) -> int:
    """Return the lowest level of the window that is >= price (which is in the window), or 0."""
    word = price >> 6
    bits = b.bits[row, word & _WORD_MASK] & (_ALL << np.uint64(price & 63))
    if bits != np.uint64(0):
        return (word << 6) + lowest_bit(bits)
    chunk = word >> 6
    summary = b.summary[row, chunk & (CHUNKS - 1)] & (_ALL << np.uint64(word & 63)) & ~(_ONE << np.uint64(word & 63))
    while summary == np.uint64(0):
        chunk += 1
        if chunk >= b.base_chunk + CHUNKS:
            return 0
        summary = b.summary[row, chunk & (CHUNKS - 1)]
    word = (chunk << 6) + lowest_bit(summary)
    return (word << 6) + lowest_bit(b.bits[row, word & _WORD_MASK])


@njit(cache=True)
def level_below(b: Any, row: int, price: int) -> int:
    """Return the highest level < `price`, or 0."""
    start = b.base_chunk << CHUNK_SHIFT
    end = start + WINDOW
    if price > end:
        index = far_find(b, row, price) - 1
        if index >= 0 and b.far_price[row, index] >= end:
            return b.far_price[row, index]
        price = end
    if price > start:
        found = _window_below(b, row, price - 1)
        if found > 0:
            return found
        price = start
    index = far_find(b, row, price) - 1
    return b.far_price[row, index] if index >= 0 else 0


@njit(cache=True)
def level_above(b: Any, row: int, price: int) -> int:
    """Return the lowest level > `price`, or 0."""
    start = b.base_chunk << CHUNK_SHIFT
    end = start + WINDOW
    if price < start - 1:
        index = far_find(b, row, price + 1)
        if index < b.far_count[row] and b.far_price[row, index] < start:
            return b.far_price[row, index]
        price = start - 1
    if price < end - 1:
        found = _window_above(b, row, price + 1)
        if found > 0:
            return found
        price = end - 1
    index = far_find(b, row, price + 1)
    return b.far_price[row, index] if index < b.far_count[row] else 0


@njit(cache=True)
def next_level(b: Any, row: int, price: int) -> int:
    """Return the next worse level after `price` on this side, or 0."""
    return level_below(b, row, price) if row == BID else level_above(b, row, price)


@njit(cache=True)
def window_levels(b: Any, row: int, price: int, out: np.ndarray, found: int, n: int) -> int:
    """Write the levels of the window from `price` (in it) on, best first, to `out[found:n]`; return the new `found`."""
    word = price >> 6
    end = b.base_chunk if row == BID else b.base_chunk + CHUNKS - 1
    if row == BID:
        bits = b.bits[row, word & _WORD_MASK] & (_ALL >> np.uint64(63 - (price & 63)))
    else:
        bits = b.bits[row, word & _WORD_MASK] & (_ALL << np.uint64(price & 63))
    while True:
        while bits != _NONE and found < n:
            bit = highest_bit(bits) if row == BID else lowest_bit(bits)
            bits ^= _ONE << np.uint64(bit)
            level = (word << 6) + bit
            out[found, 0] = level
            out[found, 1] = b.qty[row, level & _TICK_MASK]
            found += 1
        if found == n:
            return found
        chunk = word >> 6
        others = (_ONE << np.uint64(word & 63)) - _ONE  # words of the chunk below this one
        if row == ASK:
            others = ~others ^ (_ONE << np.uint64(word & 63))
        summary = b.summary[row, chunk & (CHUNKS - 1)] & others
        while summary == _NONE:
            if chunk == end:
                return found
            chunk += -1 if row == BID else 1
            summary = b.summary[row, chunk & (CHUNKS - 1)]
        word = (chunk << 6) + (highest_bit(summary) if row == BID else lowest_bit(summary))
        bits = b.bits[row, word & _WORD_MASK]


@njit(cache=True)
def level_qty(b: Any, row: int, price: int) -> int:
    """Return the lots at `price`, 0 when there is no level."""
    if in_window(b, price):
        return b.qty[row, price & _TICK_MASK]
    index = far_find(b, row, price)
    if index < b.far_count[row] and b.far_price[row, index] == price:
        return b.far_qty[row, index]
    return 0


@njit(cache=True)
def _far_find_again(b: Any, row: int, price: int) -> int:
    """Do what `far_find` does, looking first where the price was last time: few far levels change, and those often."""
    seen = (np.uint64(price) * _SCATTER) >> np.uint64(64 - SEEN_BITS)
    index = b.far_seen[row, seen]
    if index >= b.far_count[row] or b.far_price[row, index] != price:
        index = far_find(b, row, price)
        b.far_seen[row, seen] = index
    return index


@njit(cache=True)
def _set_outside(b: Any, row: int, price: int, qty: int) -> None:
    """Set the lots at a price outside the window."""
    index = _far_find_again(b, row, price)
    best = b.best[row]
    if index < b.far_count[row] and b.far_price[row, index] == price:
        if qty != 0:
            b.far_qty[row, index] = qty
            return
        _far_remove(b, row, index)
        b.count[row] -= 1
        if price == best:
            b.best[row] = next_level(b, row, price)
    elif qty != 0:
        b.count[row] += 1
        inside = _far_insert(b, row, index, price, qty)
        if inside and (best == 0 or (row == BID and price > best) or (row == ASK and price < best)):
            b.best[row] = price


@njit(cache=True, forceinline=True)
def set_level(b: Any, row: int, price: int, qty: int) -> None:
    """Set the lots at a price; 0 removes the level.

    Whether a level comes, goes or changes cannot be foreseen, so nothing branches on it.
    """
    if price <= 0 or qty < 0:
        b.bad_levels += 1
        return
    if not in_window(b, price):
        _set_outside(b, row, price, qty)
        return
    place, word, bit = price & _TICK_MASK, (price >> 6) & _WORD_MASK, np.uint64(price & 63)
    old = b.qty[row, place]
    b.qty[row, place] = qty
    b.count[row] += np.int64(qty != 0) - np.int64(old != 0)
    before = b.bits[row, word]
    bits = (before & ~(_ONE << bit)) | (np.uint64(qty != 0) << bit)
    b.bits[row, word] = bits
    if (bits == _NONE) != (before == _NONE):
        b.summary[row, word >> 6] ^= _ONE << np.uint64(word & 63)
    # One question that mostly has one answer: is the level behind the best one? (An empty ask side has the best 0.)
    best = b.best[row]
    if price >= best if row == BID else np.uint64(price - 1) <= np.uint64(best - 1):
        if qty != 0:
            b.best[row] = price
        elif price == best:
            b.best[row] = next_level(b, row, price)


@njit(cache=True)
def clear_levels(b: Any) -> None:
    """Empty both sides; counters of loss stay."""
    for row in range(2):
        for i in range(CHUNKS):
            b.summary[row, i] = 0
        for i in range(WINDOW // 64):
            b.bits[row, i] = 0
        for i in range(WINDOW):
            b.qty[row, i] = 0
        b.best[row] = 0
        b.count[row] = 0
        b.far_count[row] = 0
        b.lost[row] = 0


@njit(cache=True)
def _drain(b: Any, row: int, chunk: int) -> None:
    """Move the levels of a chunk that leaves the window to the far store."""
    slot = chunk & (CHUNKS - 1)
    while b.summary[row, slot] != np.uint64(0):
        word = (chunk << 6) + lowest_bit(b.summary[row, slot])
        while b.bits[row, word & _WORD_MASK] != np.uint64(0):
            price = (word << 6) + lowest_bit(b.bits[row, word & _WORD_MASK])
            qty = b.qty[row, price & _TICK_MASK]
            b.qty[row, price & _TICK_MASK] = 0
            _unmark(b, row, price)
            _far_insert(b, row, far_find(b, row, price), price, qty)


@njit(cache=True)
def _pull(b: Any, row: int) -> None:
    """Move the far levels that the window now covers into it."""
    kept = 0
    for i in range(b.far_count[row]):
        price, qty = b.far_price[row, i], b.far_qty[row, i]
        if in_window(b, price):
            b.qty[row, price & _TICK_MASK] = qty
            _mark(b, row, price)
        else:
            b.far_price[row, kept] = price
            b.far_qty[row, kept] = qty
            kept += 1
    b.far_count[row] = kept


@njit(cache=True)
def move_window(b: Any, base_chunk: int) -> None:
    """Let the window begin at `base_chunk`; levels change place, none is lost unless the far store is full."""
    old = b.base_chunk
    if base_chunk == old:
        return
    for row in range(2):
        for chunk in range(old, old + CHUNKS):
            if chunk < base_chunk or chunk >= base_chunk + CHUNKS:
                _drain(b, row, chunk)
    b.base_chunk = base_chunk
    for row in range(2):
        _pull(b, row)
    b.recentred += 1


@njit(cache=True)
def recentre(b: Any) -> bool:
    """Move the window when the best bid (or ask, without bids) is near its edge; return whether it moved."""
    reference = b.best[BID] if b.best[BID] > 0 else b.best[ASK]
    if reference == 0:
        return False
    chunk = reference >> CHUNK_SHIFT
    offset = chunk - b.base_chunk
    if 5 <= offset <= 10:
        return False
    base = max(chunk - 8, 0)
    if base == b.base_chunk:
        return False
    move_window(b, base)
    return True
