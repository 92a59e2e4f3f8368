"""One side of a price ladder in plain Python: for the simulated exchange and the generator, off the hot path."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class Ladder:
    """Prices (ticks) to quantities (lots), kept sorted; `bids` says which end is the best."""

    __slots__ = ("bids", "prices", "qty")

    def __init__(self, *, bids: bool) -> None:
        """Make an empty side."""
        self.bids = bids
        self.prices: list[int] = []  # ascending
        self.qty: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.prices)

    def clear(self) -> None:
        """Remove every level."""
        self.prices.clear()
        self.qty.clear()

    def set(self, price: int, qty: int) -> None:
        """Set a level; 0 removes it, also when it is not there (venues send such removals)."""
        if qty > 0:
            if price not in self.qty:
                insort(self.prices, price)
            self.qty[price] = qty
        elif self.qty.pop(price, None) is not None:
            del self.prices[bisect_left(self.prices, price)]

    def at(self, price: int) -> int:
        """Return the quantity at a price, 0 where there is none."""
        return self.qty.get(price, 0)

    @property
    def best(self) -> int:
        """Return the best price, 0 when the side is empty."""
        if not self.prices:
            return 0
        return self.prices[-1] if self.bids else self.prices[0]

    def levels(self) -> Iterator[tuple[int, int]]:
        """Yield (price, qty) from the best outwards."""
        for price in reversed(self.prices) if self.bids else self.prices:
            yield price, self.qty[price]

    def behind(self, price: int) -> Iterator[tuple[int, int]]:
        """Yield (price, qty) of the levels strictly worse than `price`, from the best outwards."""
        at = bisect_left(self.prices, price)
        if self.bids:
            for index in range(at - 1, -1, -1):
                yield self.prices[index], self.qty[self.prices[index]]
        else:
            start = at + 1 if at < len(self.prices) and self.prices[at] == price else at
            for index in range(start, len(self.prices)):
                yield self.prices[index], self.qty[self.prices[index]]
