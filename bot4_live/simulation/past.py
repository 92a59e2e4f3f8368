"""A generated market's past: trades, minutes and funding before the exchange began, computed for any range on demand.

The price at a time is the sum of smooth noises of several periods (value noise: hashed values at multiples of the
period, linear between; Perlin 1985 is the gradient form), each with the amplitude that diffusion has over its period.
It needs no state, so ninety days of it take no memory and no time. Trades lie on that price, one in each step of 4 s at
a hashed moment, with contiguous ids that end where the live market's begin; a minute's candle is that of its trades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_MS = 4_000
MINUTE_MS = 60_000
FUNDING_MS = 8 * 3_600_000
SIGMA = 5e-5  # return per sqrt(second)
PERIODS_S = tuple(8 * 4**k for k in range(10))  # up to 24 days
LOTS = 900  # of a trade, on average
OUTAGE_MS = 10_000_000  # a generated outage lies within each such stretch, when outages are asked for


@dataclass(frozen=True)
class Trades:
    """Trades in order of id: int64 columns, `sells` bool (the aggressor sold)."""

    ids: np.ndarray
    times_ms: np.ndarray
    ticks: np.ndarray
    lots: np.ndarray
    sells: np.ndarray


@dataclass(frozen=True)
class Past:
    """The past of one market: `days` of it up to `end_ms`, where `ticks` is the price; ids end before `next_id`.

    `outages` are (from, to) in ms, whole minutes, in which nobody could trade: they have no trades and no candles.
    """

    seed: int
    end_ms: int
    ticks: int
    next_id: int
    days: int = 90
    outages: tuple[tuple[int, int], ...] = ()

    @property
    def begin_ms(self) -> int:
        """Return its first moment, the start of a minute."""
        return (self.end_ms - self.days * 86_400_000) // MINUTE_MS * MINUTE_MS

    def id_at(self, at_ms: int) -> int:
        """Return the first id whose step begins at `at_ms` or later."""
        return self.next_id - (self.end_ms - at_ms) // STEP_MS

    def trades(self, first_id: int, last_id: int) -> Trades:
        """Return the trades of ids in [first_id, last_id] that are in this past."""
        first = max(first_id, self.id_at(self.begin_ms))
        ids = np.arange(first, min(last_id, self.next_id - 1) + 1, dtype=np.int64)
        began = self.end_ms - (self.next_id - ids) * STEP_MS
        times = began + (_uniform(ids, self.seed, 1) * STEP_MS).astype(np.int64)
        for begin, end in self.outages:
            times[(times >= begin) & (times < end)] = end  # who waited trades when it opens
        sells = _uniform(ids, self.seed, 2) < 0.5
        lots = 1 - np.floor(np.log1p(-_uniform(ids, self.seed, 3)) * LOTS).astype(np.int64)
        return Trades(ids, times, self.price(times) + ~sells, lots, sells)

    def between(self, from_ms: int, to_ms: int) -> Trades:
        """Return the trades at from_ms <= time < to_ms."""
        first_ms = min([from_ms, *(begin for begin, end in self.outages if begin <= from_ms <= end)])
        found = self.trades(self.id_at(first_ms) - 1, self.id_at(to_ms))
        kept = (found.times_ms >= from_ms) & (found.times_ms < to_ms)
        return Trades(*(column[kept] for column in vars(found).values()))

    def price(self, at_ms: np.ndarray) -> np.ndarray:
        """Return the bid in ticks at these times."""
        moved = self._noise(at_ms) - self._noise(np.array([self.end_ms]))[0]
        return np.maximum(1, np.round(self.ticks * np.exp(moved))).astype(np.int64)

    def funding(self, at_ms: np.ndarray) -> np.ndarray:
        """Return the funding rates settled at these times, in 1e-8: 1 bp give or take 2, as in quiet markets."""
        return np.round(10_000 + 20_000 * (_uniform(at_ms // FUNDING_MS, self.seed, 4) * 2 - 1)).astype(np.int64)

    def _noise(self, at_ms: np.ndarray) -> np.ndarray:
        total = np.zeros(len(at_ms))
        for k, period in enumerate(PERIODS_S):
            cell, rest = np.divmod(at_ms, period * 1000)
            low = _uniform(cell, self.seed, 16 + k)
            high = _uniform(cell + 1, self.seed, 16 + k)
            share = rest / (period * 1000)
            total += SIGMA * np.sqrt(period) * 2.0 * (low + (high - low) * share - 0.5)
        return total


def seeded_outages(seed: int, begin_ms: int, end_ms: int, longest: int = 12) -> tuple[tuple[int, int], ...]:
    """Return seeded outages of whole minutes, 1 to `longest`, at most one each 10,000 s and none adjoining."""
    cells = np.arange(begin_ms // OUTAGE_MS + 1, end_ms // OUTAGE_MS, dtype=np.int64)
    starts = cells * OUTAGE_MS + (_uniform(cells, seed, 5) * (OUTAGE_MS - (longest + 2) * MINUTE_MS)).astype(np.int64)
    starts = -(-starts // MINUTE_MS) * MINUTE_MS
    lasts = (1 + (_uniform(cells, seed, 6) * longest).astype(np.int64)) * MINUTE_MS
    happens = _uniform(cells, seed, 7) < 0.5
    return tuple((int(a), int(a + n)) for a, n in zip(starts[happens], lasts[happens], strict=True))


def _uniform(keys: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """Return a number in [0, 1) for each key: SplitMix64 (Steele, Lea & Flood 2014) of key, seed and salt."""
    with np.errstate(over="ignore"):
        x = keys.astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + np.uint64((seed * 1_000_003 + salt) % 2**64)
        for _ in range(2):
            x = x + np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
