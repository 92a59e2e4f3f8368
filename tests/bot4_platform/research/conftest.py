"""A market made by hand: rows every 100 ms, one event each, and features that are whatever a test plants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bot4_live.features.registry import N_FEATURES, NAMES
from bot4_platform.research.market import BID, GRID_MS, LOTS, NS, PRICE, Market

START_NS = 1_723_161_600_000_000_000
ROW_NS = GRID_MS * 1_000_000
PRICE_TICKS = 600_000


class MadeMarket:
    """`n` rows whose best bid follows `path` (ticks from 60,000.0), the ask one tick above; 10 lots on both sides."""

    def __init__(self, path: np.ndarray) -> None:
        self.n = len(path)
        self.ns = START_NS + ROW_NS * np.arange(self.n, dtype=np.int64)
        self.bid = PRICE_TICKS + np.asarray(path, np.int64)
        self.x = np.zeros((self.n, N_FEATURES))
        self.trades: list[tuple[int, int, int]] = []

    def plant(self, name: str, values: np.ndarray) -> None:
        """Set a feature's column."""
        self.x[:, NAMES.index(name)] = values

    def trade(self, row: int, price: int, lots: int) -> None:
        """Let a trade (lots < 0: the aggressor sold) come just before the row's quote, in ticks from 60,000.0."""
        self.trades.append((row, PRICE_TICKS + price, lots))

    def market(self) -> Market:
        """Return it; each row's quote comes 1 ms before the row."""
        quotes = np.column_stack([self.bid, np.full(self.n, 10), self.bid + 1, np.full(self.n, 10)]).astype(np.int64)
        events = np.zeros((self.n, 7), np.int64)
        events[:, NS] = self.ns - 1_000_000
        events[:, BID:PRICE] = quotes
        more = np.zeros((len(self.trades), 7), np.int64)
        for i, (row, price, lots) in enumerate(self.trades):
            more[i] = events[max(row - 1, 0)]
            more[i, [NS, PRICE, LOTS]] = self.ns[row] - 2_000_000, price, lots
        both = np.concatenate([events, more])
        both = both[np.argsort(both[:, NS], kind="stable")]
        valid = np.ones(self.n, bool)
        return Market("made", "binance_usdm", "MADE", self.ns, self.x, 2 * self.bid + 1, quotes, valid, both)


@pytest.fixture
def make() -> Callable[[np.ndarray], MadeMarket]:
    return MadeMarket


def persistent(rng: np.random.Generator, n: int, factor: float = 0.9) -> np.ndarray:
    """Return an autoregression of order one with variance 1: what a decayed signal looks like."""
    out = np.zeros(n)
    shocks = rng.standard_normal(n) * np.sqrt(1 - factor**2)
    for i in range(1, n):
        out[i] = factor * out[i - 1] + shocks[i]
    return out


@pytest.fixture
def autoregression() -> Callable[..., np.ndarray]:
    return persistent
