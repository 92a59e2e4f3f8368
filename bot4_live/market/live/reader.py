"""What reads the frames of one shard: from one connection, or in a renewal from two.

A renewal makes before it breaks. The new connection subscribes while the old one is still read; each book goes over to
it at an instant at which both say the same (`left_old` tells when none is left behind), and the old one is closed only
then. What is not a book (trades, tickers, funding) is taken from whichever brings it first: the union of both, each
record once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from bot4_live.market.live.connection import Sink

Emit = Callable[[np.ndarray], object]

_REMEMBERED = 1 << 16


class Overlap:
    """The union of what two connections bring: a record that comes n times on one and m times on the other is
    passed max(n, m) times. Remembers the last 65,536 records."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[bytes, list[int]] = {}

    def is_new(self, record: np.ndarray, *, on_new: bool) -> bool:
        """Return whether the other connection has not brought this record yet."""
        # Kind, flags, instrument; venue time, a, b; slots. Not seq and receive time, nor c, where the raw frame is.
        key = record[8:16].tobytes() + record[32:56].tobytes() + record[64:].tobytes()
        counts = self._seen.get(key)
        if counts is None:
            counts = self._seen[key] = [0, 0]
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
        counts[on_new] += 1
        return counts[on_new] > counts[not on_new]


class Reader(ABC):
    """The frames of one shard, which come over the sink that `first` or `renew` returned."""

    @abstractmethod
    def first(self) -> Sink:
        """Return the sink of the first connection."""

    @abstractmethod
    def renew(self) -> Sink:
        """Begin a renewal; return the sink of the new connection, not yet opened."""

    @abstractmethod
    def left_old(self) -> bool:
        """Return whether nothing depends on the old connection any more."""

    @abstractmethod
    def hurry(self) -> None:
        """State anew what has not gone over by itself."""

    @abstractmethod
    def renewed(self) -> None:
        """The old connection is closed; the new one may still bring what the old one has brought."""

    @abstractmethod
    def settled(self) -> None:
        """End the renewal: what comes from now on is new."""

    @abstractmethod
    def stale_books(self) -> list[str]:
        """Return the books that may not be used, by the venue's names."""

    @abstractmethod
    def gaps(self, name: str) -> int:
        """Return how often updates of a book were missed."""

    async def close(self) -> None:
        """Let go of what still works beside the connections."""
        return
