"""A book beside the feed that says when the levels contradict themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import HEADER, HEADER_SIZE, Kind, StaleCause, new_record, slots_of
from bot4_live.market.book import book_apply, book_crossed, new_book

_CROSSED = int(StaleCause.CROSSED)


@njit(cache=True)
def _check(books: Any, headers: Any, slots: np.ndarray) -> int:
    """Apply one event; return 0, or the StaleCause that it brought about."""
    book_apply(books[0], headers[0], slots)
    if books[0].valid == 0:
        return books[0].stale_cause
    return _CROSSED if book_crossed(books[0]) else 0


class BookChecker:
    """Applies depth events to a book of its own."""

    def __init__(self) -> None:
        """Begin empty. Compiles on the way, so that no frame has to wait for it."""
        self.book = new_book()
        self.check(new_record(Kind.NOTE))

    def check(self, record: np.ndarray) -> StaleCause | None:
        """Apply a depth record; return why the book can no longer be trusted, or None."""
        cause = int(_check(self.book, record[:HEADER_SIZE].view(HEADER), slots_of(record)))
        return StaleCause(cause) if cause else None
