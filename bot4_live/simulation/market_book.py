"""The book the simulated exchange shows: the recorded one, exactly, and what may be taken from it now."""

from __future__ import annotations

from collections.abc import Iterator

from bot4_live.simulation.frames import DEPTH, TICKER, Update
from bot4_live.simulation.ladder import Ladder


class MarketBook:
    """Snapshot plus diffs, with the latest best quotes laid over them.

    `/depth` is the ladders alone (consistent with the diff stream at `last_id`). Matching reads `levels` and
    `displayed`: bookTicker runs ahead of the diffs, so while it is newer its prices are the touch, and levels better
    than it do not exist.
    """

    def __init__(self, snapshot: Update) -> None:
        """Begin with the snapshot; diffs that it holds are passed over."""
        self.bids, self.asks = Ladder(bids=True), Ladder(bids=False)
        self.last_id = snapshot.last
        self.bridged = False
        self.quote = (0, 0, 0, 0)  # bid price, qty, ask price, qty
        self.quote_id = 0
        for ladder, levels in ((self.bids, snapshot.bids), (self.asks, snapshot.asks)):
            for price, qty in levels:
                ladder.set(price, qty)

    def apply(self, update: Update) -> None:
        """Take in a diff or a best quote; anything else changes nothing."""
        if update.kind == DEPTH:
            if update.last < self.last_id:
                return
            self.bridged = True
            for ladder, levels in ((self.bids, update.bids), (self.asks, update.asks)):
                for price, qty in levels:
                    ladder.set(price, qty)
            self.last_id = update.last
        elif update.kind == TICKER:
            self.quote = (*update.bids[0], *update.asks[0])
            self.quote_id = update.last

    @property
    def _overlaid(self) -> bool:
        return self.quote_id > self.last_id and self.quote[0] > 0

    def best(self, *, bids: bool) -> tuple[int, int]:
        """Return (price, qty) of the touch, (0, 0) when the side is empty."""
        if self._overlaid:
            return self.quote[:2] if bids else self.quote[2:]
        ladder = self.bids if bids else self.asks
        return ladder.best, ladder.at(ladder.best)

    def levels(self, *, bids: bool) -> Iterator[tuple[int, int]]:
        """Yield (price, qty) from the touch outwards."""
        ladder = self.bids if bids else self.asks
        if not self._overlaid:
            yield from ladder.levels()
            return
        price, qty = self.best(bids=bids)
        yield price, qty
        yield from ladder.behind(price)

    def displayed(self, price: int, *, bids: bool) -> int:
        """Return the quantity shown at a price."""
        if self._overlaid:
            touch, qty = self.best(bids=bids)
            if price == touch:
                return qty
            if price > touch if bids else price < touch:
                return 0
        return (self.bids if bids else self.asks).at(price)

    @property
    def mid2(self) -> int:
        """Return twice the mid price in ticks, 0 while a side is empty."""
        bid, ask = self.best(bids=True)[0], self.best(bids=False)[0]
        return bid + ask if bid and ask else 0
