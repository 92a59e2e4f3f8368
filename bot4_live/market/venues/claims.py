"""The best prices that a venue's tickers name, compared with its books.

A ticker is compared with the book that was in force when it was made. Where tickers and updates come in one order
(`arrival`), that is the book as it stands. Where a ticker may come before the update of the same instant (`time`), it
is the book after all updates up to its time: it waits for a later update of its book, or until the venue's clock is a
second past it. Tickers of the time before the book's first update say nothing of it and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from bot4_live.events import Field, Kind, header_of, slot_value, slots_of
from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.ladder import VenueBook

SETTLED_NS = 1_000_000_000
_FIELDS = {Field.BID_PRICE: 0, Field.BID_QTY: 1, Field.ASK_PRICE: 2, Field.ASK_QTY: 3}
_DEPTH = (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF)
_NAMES = ("bid", "bid_qty", "ask", "ask_qty")

Best = tuple[Decimal, Decimal, Decimal, Decimal]


@dataclass
class _Followed:
    book: VenueBook
    best: Best | None = None  # after the last update, None while there is no book
    begun_ns: int = 0  # the venue's time of the first update after the snapshot
    waiting: list[tuple[int, dict[int, Decimal]]] | None = None


class Claims:
    """Takes a feed's records in log order; counts what was compared and what agreed."""

    def __init__(self, feed: VenueFeed) -> None:
        """Begin; a feed whose tickers cannot be ordered is not compared."""
        self.compared = 0
        self.matched = 0
        self.first_mismatch: dict[str, Any] | None = None
        self._order = feed.tickers_by
        self._books = {book.instrument.id: _Followed(book) for book in feed.books.values()}

    def take(self, records: Iterable[np.ndarray]) -> None:
        """Take what came of one frame, right after it."""
        if not self._order:
            return
        for record in records:
            head = header_of(record)
            kind, at = int(head["kind"]), int(head["exch_ns"])
            followed = self._books[int(head["instrument"])]
            if kind in _DEPTH:
                self._judge(followed, at)
                followed.best = _best(followed.book)
                if kind == Kind.DEPTH_SNAPSHOT or not followed.begun_ns:
                    followed.begun_ns = at
            elif kind == Kind.BOOK_STALE:
                followed.best, followed.begun_ns, followed.waiting = None, 0, None
            elif kind == Kind.TICKER:
                self._claim(followed, at, record)
                self._settle(at)

    def _claim(self, followed: _Followed, at: int, record: np.ndarray) -> None:
        said = {}
        for x, y in slots_of(record).tolist():
            name, value = slot_value(x, y)
            if name in _FIELDS:
                said[_FIELDS[Field(name)]] = value
        if not {0, 2} <= said.keys() or followed.best is None or not 0 < followed.begun_ns <= at:
            return
        if self._order == "arrival":
            self._compare(followed, at, said)
        else:
            followed.waiting = [*(followed.waiting or []), (at, said)]

    def _settle(self, now_ns: int) -> None:
        for followed in self._books.values():
            if followed.waiting and followed.waiting[0][0] + SETTLED_NS < now_ns:
                self._judge(followed, now_ns - SETTLED_NS)

    def _judge(self, followed: _Followed, before_ns: int) -> None:
        """Compare the tickers of the time before `before_ns`: all updates up to theirs are in."""
        waiting, followed.waiting = followed.waiting or [], []
        for at, said in waiting:
            if at < before_ns:
                self._compare(followed, at, said)
            else:
                followed.waiting.append((at, said))

    def _compare(self, followed: _Followed, at: int, said: dict[int, Decimal]) -> None:
        best = followed.best
        if best is None:
            return
        self.compared += 1
        if all(best[index] == value for index, value in said.items()):
            self.matched += 1
        elif self.first_mismatch is None:
            self.first_mismatch = {
                "instrument": followed.book.name,
                "exch_ns": at,
                "book": {_NAMES[index]: str(best[index]) for index in sorted(said)},
                "ticker": {_NAMES[index]: str(said[index]) for index in sorted(said)},
            }


def _best(book: VenueBook) -> Best | None:
    if not book.live:
        return None
    bid, bid_qty, ask, ask_qty = book.best()
    instrument = book.instrument
    return instrument.price(bid), instrument.qty(bid_qty), instrument.price(ask), instrument.qty(ask_qty)
