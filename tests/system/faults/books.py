"""The levels of a book, for comparison."""

from __future__ import annotations

import numpy as np
from numba import njit

from bot4_live.market.book import book_depth


@njit
def _depth(books, side, out, n):
    return book_depth(books[0], side, out, n)


def depth(book, side):
    """Return [(price, qty)] of one side (1 bids, -1 asks), best first."""
    out = np.zeros((2000, 2), np.int64)
    n = _depth(book, side, out, len(out))
    return [(int(p), int(q)) for p, q in out[:n]]
