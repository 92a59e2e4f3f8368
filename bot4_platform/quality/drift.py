"""Drift: whether a feature is distributed as it was, by the population stability index and Kolmogorov-Smirnov.

PSI = sum over bins of (p - q) ln(p / q), the bins being the reference's deciles; below 0.1 nothing moved, from 0.25 on
the population is another (Siddiqi 2006, Credit Risk Scorecards; Lewis 1994, An Introduction to Credit Scoring). These
limits say nothing of sample size; under no drift PSI is about (1/n + 1/m) chi2 with bins - 1 degrees of freedom
(Yurdakul & Naranjo 2020, J. Risk Model Validation 14(4)), so a PSI within that chi2's 99.9 % is never called drift.
KS is the largest distance of the two distribution functions (Smirnov 1948, Ann. Math. Statist. 19(2)); it is shown
beside, without a p-value, since neighbouring rows are not independent. For that reason rows are thinned to one a
second.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bot4_live.features.registry import NAMES
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl

MOVED, DRIFTED = 0.10, 0.25
BINS = 10
FEWEST = 60  # rows a side; fewer are not judged
REFERENCE_DAYS = 7
DRIFTED_SHARE = 0.2  # of the features: beyond it the check of the asset warns
CHI2_999 = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32, 8: 26.12, 9: 27.88}
EARLIER, HALVES = "earlier days", "first half of the day"
Verdict = Literal["stable", "moved", "drifted", "few"]


@dataclass(frozen=True)
class Drift:
    """One comparison; `edges` are the inner bin edges, `reference` and `current` the shares by bin."""

    psi: float
    ks: float
    verdict: Verdict
    edges: list[float]
    reference: list[float]
    current: list[float]


def compare(reference: np.ndarray, current: np.ndarray) -> Drift:
    """Compare two samples, float64 (n,) and (m,), of finite values."""
    if min(reference.size, current.size) < FEWEST:
        return Drift(0.0, 0.0, "few", [], [], [])
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    p, q = (_shares(values, edges) for values in (reference, current))
    # A value that the reference takes often (an empty wall is 0) makes equal deciles: fewer bins, or one. An empty bin
    # counts as half a row.
    low_p, low_q = np.maximum(p, 0.5 / reference.size), np.maximum(q, 0.5 / current.size)
    psi = float(((low_q - low_p) * np.log(low_q / low_p)).sum())
    noise = (1 / reference.size + 1 / current.size) * CHI2_999[max(1, min(edges.size, 9))]
    verdict: Verdict = "stable" if psi < max(MOVED, noise) else "moved" if psi < DRIFTED else "drifted"
    return Drift(psi, ks(reference, current), verdict, edges.tolist(), p.tolist(), q.tolist())


def ks(a: np.ndarray, b: np.ndarray) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic."""
    a, b = np.sort(a), np.sort(b)
    at = np.concatenate([a, b])
    cdf_a, cdf_b = (np.searchsorted(values, at, side="right") / values.size for values in (a, b))
    return float(np.abs(cdf_a - cdf_b).max())


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    shares: np.ndarray = (
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=edges.size + 1) / values.size
    )
    return shares


def drift(lake: Lake, part: MarketDay) -> pl.DataFrame:
    """Return the table `feature_drift` of a partition.

    The reference are up to 7 earlier days of the market; on its first day the day's first half, which shows how the
    features move within minutes and is not judged by the check.
    """
    import polars as pl

    today = thinned(lake.read("features", *part))
    days = [day for day, _ in lake.partitions("features", part.market) if day < part.day][-REFERENCE_DAYS:]
    earlier = [thinned(lake.read("features", day, part.market)) for day in days]
    before = pl.concat(earlier) if earlier else today.clear()
    kind = EARLIER if before.height >= FEWEST else HALVES
    if kind == HALVES:
        before, today = today.head(today.height // 2), today.tail(today.height - today.height // 2)
    rows = []
    for name in NAMES:
        found = compare(*(frame[name].drop_nulls().drop_nans().to_numpy() for frame in (before, today)))
        bins = json.dumps({"edges": found.edges, "reference": found.reference, "current": found.current})
        rows.append((name, found.psi, found.ks, found.verdict, kind, before.height, today.height, bins))
    spec = TABLES["feature_drift"]
    return spec.conform(pl.DataFrame(rows, schema=spec.schema(), orient="row"))


def thinned(features: pl.DataFrame) -> pl.DataFrame:
    """Return the last valid row of each second."""
    import polars as pl

    second = (pl.col("recv_ns") // 10**9).alias("_second")
    valid = features.filter(pl.col("valid")).with_columns(second)
    return valid.unique("_second", keep="last", maintain_order=True).drop("_second")
