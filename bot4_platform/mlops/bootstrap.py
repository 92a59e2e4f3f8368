"""Block bootstrap of a ratio of sums: confidence where neighbours in time are not independent.

Stationary bootstrap: Politis & Romano 1994, JASA 89(428): blocks of geometric length that wrap around. Moving block
bootstrap: Künsch 1989, Annals of Statistics 17(3): blocks of fixed length. Both are seeded: the same data give the
same interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["stationary", "moving"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided percentile interval."""

    value: float
    low: float
    high: float
    confidence: float


def stationary_indices(n: int, block: float, replications: int, rng: np.random.Generator) -> np.ndarray:
    """Return int64 (replications, n) row numbers: runs of geometric length with mean `block`, wrapping at n."""
    restart = rng.random((replications, n)) < 1.0 / block
    restart[:, 0] = True
    start = rng.integers(0, n, (replications, n))
    place = np.arange(n)
    begun = np.maximum.accumulate(np.where(restart, place, 0), axis=1)
    return (np.take_along_axis(start, begun, axis=1) + place - begun) % n


def moving_indices(n: int, block: int, replications: int, rng: np.random.Generator) -> np.ndarray:
    """Return int64 (replications, n) row numbers: runs of exactly `block` rows, none of them wrapping."""
    block = min(block, n)
    start = rng.integers(0, n - block + 1, (replications, -(-n // block)))
    return (start[:, :, None] + np.arange(block)).reshape(replications, -1)[:, :n]


def ratio_interval(
    numerator: np.ndarray,
    denominator: np.ndarray,
    block: int,
    replications: int,
    confidence: float,
    seed: int,
    method: Method = "stationary",
) -> Interval:
    """Return sum(numerator) / sum(denominator) with its percentile interval.

    Both float64 (n,), in order of time; `block` is the (mean) length of a block in rows. Numerator and denominator of
    a row are drawn together. Raises ValueError for a wrong shape, block or confidence, or when the rows hold fewer
    than two blocks.
    """
    n = numerator.shape[0]
    if denominator.shape != (n,):
        raise ValueError("numerator and denominator must have one shape")
    if block < 1 or not 0 < confidence < 1:
        raise ValueError("block must be at least 1 row, confidence between 0 and 1")
    if n < 2 * block:
        raise ValueError(f"{n} rows are fewer than two blocks of {block}: too few for an interval")
    rng = np.random.default_rng(seed)
    drawn = np.empty(replications)
    chunk = max(1, 4_000_000 // n)  # so that memory stays bounded by rows, not by replications
    for at in range(0, replications, chunk):
        size = min(chunk, replications - at)
        rows = (stationary_indices if method == "stationary" else moving_indices)(n, block, size, rng)
        below = denominator[rows].sum(axis=1)
        above = numerator[rows].sum(axis=1)
        drawn[at : at + size] = np.divide(above, below, out=np.zeros(size), where=below != 0)
    total = float(denominator.sum())
    value = float(numerator.sum()) / total if total else 0.0
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high), confidence)
