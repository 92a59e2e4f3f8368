"""A venue's book as it was sent: levels sorted by price, with the text of each number (checksums are over text)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

from bot4_live.events import StaleCause
from bot4_live.instrument import Instrument


class Level(NamedTuple):
    """One price level: ticks and lots, and both numbers as the venue wrote them."""

    price: int
    qty: int
    raw_price: str
    raw_qty: str


class Side:
    """One side of a book, best first. `sign` is 1 for bids, -1 for asks, as in events.Side."""

    def __init__(self, sign: int) -> None:
        """Begin empty."""
        self.sign = sign
        self._keys: list[int] = []  # -price for bids, price for asks: ascending is best first
        self._levels: dict[int, Level] = {}

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self._keys)

    def clear(self) -> None:
        """Remove all levels."""
        self._keys.clear()
        self._levels.clear()

    def replace(self, levels: Iterable[Level]) -> None:
        """Hold exactly these levels; those of quantity 0 are none."""
        self._levels = {-self.sign * level.price: level for level in levels if level.qty}
        self._keys = sorted(self._levels)

    def set(self, level: Level) -> bool:
        """Set the quantity at a price, 0 removes the level; return False when there is none to remove."""
        key = -self.sign * level.price
        known = key in self._levels
        if level.qty:
            self._levels[key] = level
            if not known:
                insort(self._keys, key)
        elif known:
            del self._levels[key]
            del self._keys[bisect_left(self._keys, key)]
        return known or level.qty > 0

    def reaches(self, price: int, depth: int) -> bool:
        """Return whether a level at `price` would be among the `depth` best (0: any would)."""
        return not depth or len(self._keys) < depth or -self.sign * price <= self._keys[depth - 1]

    def cut(self, depth: int) -> list[Level]:
        """Keep the `depth` best levels; return those that went."""
        gone = [self._levels.pop(key) for key in self._keys[depth:]]
        del self._keys[depth:]
        return gone

    def top(self, n: int) -> list[Level]:
        """Return up to `n` levels, best first."""
        return [self._levels[key] for key in self._keys[:n]]

    def same_as(self, other: Side) -> bool:
        """Return whether the other side has the same levels, as written."""
        return self._levels == other._levels

    def best(self) -> tuple[int, int]:
        """Return (ticks, lots) of the best level, (0, 0) when there is none."""
        if not self._keys:
            return 0, 0
        level = self._levels[self._keys[0]]
        return level.price, level.qty

    def qty(self, price: int) -> int:
        """Return the lots at a price in ticks."""
        level = self._levels.get(-self.sign * price)
        return level.qty if level is not None else 0


class VenueBook:
    """One instrument's book at one venue, and what is known of its state.

    `name` is the venue's own name of the instrument; `depth` the levels a side that are kept, 0 for all. `update_id`
    is the id of the last event that was emitted for it. `chained` says that each update names the one before it, so
    that a lost one shows by itself with the next.
    """

    def __init__(self, name: str, instrument: Instrument) -> None:
        """Begin empty and stale."""
        self.name = name
        self.instrument = instrument
        self.bids, self.asks = Side(1), Side(-1)
        self.depth = 0
        self.live = False
        self.chained = False
        self.update_id = 0
        self.stale_cause: StaleCause | None = None
        self.resync_asked = False

    @property
    def crossed(self) -> bool:
        """Return whether the best bid is at or above the best ask."""
        return len(self.bids) > 0 and len(self.asks) > 0 and self.bids.best()[0] >= self.asks.best()[0]

    def best(self) -> tuple[int, int, int, int]:
        """Return bid ticks, bid lots, ask ticks, ask lots; zeros for an empty side."""
        return *self.bids.best(), *self.asks.best()

    def side(self, bids: bool) -> Side:
        """Return one side."""
        return self.bids if bids else self.asks
