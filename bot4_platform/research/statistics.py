"""Figures of dependent rows with honest intervals: moving block bootstrap, effective observations, false discoveries.

A figure is a smooth function of column means (a correlation, a difference of means, a ratio), so that one resampling
of blocks serves them all. Moving blocks: Künsch 1989, Annals of Statistics 17(3). Their length comes from the memory
of the figure's influence series, and is never below what the caller's overlapping windows ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Figure = Callable[[np.ndarray], np.ndarray]  # column means (..., k) -> figures (...)

REPLICATIONS = 2000
CONFIDENCE = 0.95
FEWEST_BLOCKS = 10
_QUIET_LAGS = 5


@dataclass(frozen=True)
class Estimate:
    """A figure with its two-sided percentile interval; `p` is one-sided against a figure of 0 or less."""

    value: float
    low: float
    high: float
    p: float
    rows: int
    effective: float  # independent rows that would tell as much
    block: int  # rows


class TooFew(ValueError):
    """There are fewer than FEWEST_BLOCKS blocks: no interval can be given."""


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, ties sharing their mean, float64 (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2.0)[inverse]


def residual(values: np.ndarray, controls: Sequence[np.ndarray]) -> np.ndarray:
    """Return what least squares on a constant and `controls` leave of `values`, float64 (n,)."""
    design = np.column_stack([np.ones(len(values)), *controls])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def correlation_columns(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the columns (n, 5) that `correlation` takes the means of."""
    u = (u - u.mean()) / (u.std() or 1.0)
    v = (v - v.mean()) / (v.std() or 1.0)
    return np.column_stack([u, v, u * v, u * u, v * v])


def correlation(means: np.ndarray) -> np.ndarray:
    """Return the correlation from means of `correlation_columns`; 0 where one of them does not vary."""
    u, v, uv, uu, vv = np.moveaxis(means, -1, 0)
    spread = np.maximum((uu - u * u) * (vv - v * v), 0.0)
    return np.divide(uv - u * v, np.sqrt(spread), out=np.zeros_like(uv), where=spread > 1e-24)


def difference_columns(y: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the columns (n, 4) that `difference` takes the means of."""
    a = chosen.astype(float)
    return np.column_stack([y * a, a, y * (1 - a), 1 - a])


def difference(means: np.ndarray) -> np.ndarray:
    """Return mean of y where chosen - mean where not; 0 where either has no rows."""
    ya, a, yb, b = np.moveaxis(means, -1, 0)
    some = (a > 0) & (b > 0)
    return np.where(some, ya / np.where(some, a, 1.0) - yb / np.where(some, b, 1.0), 0.0)


def skill(means: np.ndarray) -> np.ndarray:
    """Return 1 - loss / reference loss from the means of both, columns (n, 2); 0 without any reference loss."""
    loss, reference = np.moveaxis(means, -1, 0)
    return np.where(reference > 0, 1 - loss / np.where(reference > 0, reference, 1.0), 0.0)


def ratio(means: np.ndarray) -> np.ndarray:
    """Return the ratio of two columns' means; 0 where the second has none."""
    above, below = np.moveaxis(means, -1, 0)
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)


def influence(columns: np.ndarray, figure: Figure) -> np.ndarray:
    """Return each row's linear effect on the figure, float64 (n,), by central differences of the means."""
    means = columns.mean(axis=0)
    out = np.zeros(len(columns))
    for k, size in enumerate(np.abs(columns).mean(axis=0)):
        step = 1e-5 * (size or 1.0)
        apart = np.zeros_like(means)
        apart[k] = step
        slope = float(figure(means + apart) - figure(means - apart)) / (2 * step)
        out += slope * (columns[:, k] - means[k])
    return out


def memory(series: np.ndarray, most: int) -> int:
    """Return the lag after which _QUIET_LAGS autocorrelations in a row are within noise, at most `most`."""
    n = len(series)
    found = autocovariances(series, min(most + _QUIET_LAGS, n - 1))
    if found[0] <= 0:
        return 0
    bound = 2.0 * np.sqrt(np.log10(n) / n)
    quiet = 0
    for lag in range(1, len(found)):
        quiet = quiet + 1 if abs(found[lag]) < bound * found[0] else 0
        if quiet == _QUIET_LAGS:
            return lag - _QUIET_LAGS
    return most


def autocovariances(series: np.ndarray, most: int) -> np.ndarray:
    """Return the autocovariances of lags 0 .. most, float64 (most + 1,)."""
    n = len(series)
    spectrum = np.fft.rfft(series - series.mean(), 2 * n)
    return np.fft.irfft(spectrum * spectrum.conj(), 2 * n)[: most + 1] / n


def block_length(series: np.ndarray, most: int) -> float:
    """Return the length of moving blocks with the least error of the variance, in rows, at most `most`.

    Politis & White 2004, Econometric Reviews 23(1), section 3.2, with the flat-top window; the constant 4/3 of moving
    blocks is that of Patton, Politis & White 2009, Econometric Reviews 28(4).
    """
    lags = min(2 * max(memory(series, most // 2), 1), len(series) - 1)
    found = autocovariances(series, lags)
    if found[0] <= 0:
        return 1.0
    k = np.arange(lags + 1)
    window = np.clip(2 * (1 - k / lags), 0, 1)
    spectrum = found[0] + 2 * float(window[1:] @ found[1:])
    slope = 2 * float((window * k)[1:] @ found[1:])
    if spectrum <= 0:
        return 1.0
    return min(float((2 * slope**2 / (4 / 3 * spectrum**2) * len(series)) ** (1 / 3)), float(most))


def estimate(columns: np.ndarray, figure: Figure, least_block: int, seed: int) -> Estimate:
    """Return the figure of rows in order of time, columns float64 (n, k), with its interval.

    The same rows and seed give the same interval. Raises TooFew when they hold fewer than FEWEST_BLOCKS blocks of
    `least_block` rows; a longer memory is cut there, and the interval is then too narrow (`block` says so: it is
    n // FEWEST_BLOCKS).
    """
    n = len(columns)
    longest = n // FEWEST_BLOCKS
    if longest < max(least_block, 1):
        raise TooFew(f"{n} rows are fewer than {FEWEST_BLOCKS} blocks of {least_block}")
    series = influence(columns, figure)
    block = min(max(least_block, int(np.ceil(block_length(series, longest))), 1), longest)
    sums = np.vstack([np.zeros(columns.shape[1]), np.cumsum(columns, axis=0)])
    blocks = (sums[block:] - sums[:-block]) / block  # of every start
    rng = np.random.default_rng(seed)
    drawn = figure(blocks[rng.integers(0, len(blocks), (REPLICATIONS, n // block))].mean(axis=1))
    value = float(figure(columns.mean(axis=0)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    centre = float(drawn.mean())  # blocks leave the first and last rows out a little
    p = (1 + int(np.count_nonzero(drawn - centre >= value))) / (REPLICATIONS + 1)
    spread = float(drawn.var()) * (n // block * block) / n
    alone = float(series.var()) / n
    effective = n * min(alone / spread, 1.0) if spread > 0 else 0.0
    return Estimate(value, float(low), float(high), p, n, effective, block)


def false_discovery(p: Sequence[float]) -> list[float]:
    """Return the q-values of `p`: the least rate of false discoveries at which each would be one.

    Benjamini & Hochberg 1995, J. Royal Statistical Society B 57(1); valid for positively dependent tests too (Benjamini
    & Yekutieli 2001).
    """
    values = np.asarray(p, float)
    order = np.argsort(values)[::-1]
    n = len(values)
    q = np.minimum.accumulate(values[order] * n / np.arange(n, 0, -1)) if n else values
    out = np.empty(n)
    out[order] = np.minimum(q, 1.0)
    return out.tolist()
