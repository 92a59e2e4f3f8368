"""Fill intensity A * exp(-k * delta): how often trades reach a quote at a distance delta from the mid.

Avellaneda & Stoikov 2008, Quantitative Finance 8(3), section 2.5 (equation 12): orders at distance delta are hit at
the Poisson rate lambda(delta) = A exp(-k delta). Here delta is a fraction of the mid (DOMAIN.md), A is per second and
side, k per unit of return.

Calibration: cut time into buckets of T seconds and take, for each bucket and side, the reach M = how far past the mid
at the bucket's start trades went. A quote at delta is hit when M >= delta, so P(M < delta) = exp(-A T exp(-k delta)):
the law of the largest of Poisson many exponential depths. Buckets without a reach are the atom P(M < 0) = exp(-A T).
Maximum likelihood: given k, A T = n / (sum exp(-k m) + n0); k is then the root of one decreasing function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

OK, INSUFFICIENT = "ok", "insufficient"
MIN_REACHES = 50
MAX_RELATIVE_ERROR = 0.5


@dataclass(frozen=True)
class IntensityFit:
    """A fit. With `status` insufficient its numbers are nan and `reason` says why."""

    status: str
    reason: str
    reaches: int  # buckets (bucket, side) with a trade past the mid
    buckets: int  # all of them
    a: float = math.nan  # 1/s, each side
    k: float = math.nan  # per unit of return
    a_error: float = math.nan  # standard errors, from the observed information
    k_error: float = math.nan


def reaches(
    bucket_ns: int, mid_ns: np.ndarray, mid: np.ndarray, trade_ns: np.ndarray, price: np.ndarray, sell: np.ndarray
) -> np.ndarray:
    """Return float64 (buckets, 2): how far trades went past the mid at each bucket's start, below and above.

    `mid_ns` int64 and `mid` float64 (m,): the mid in force from each time, both in order; `trade_ns`, `price`, `sell`
    (aggressor sold) (n,). Column 0 is what a bid meets (sells below the mid), column 1 what an ask meets. A bucket
    with a mid and no such trade is 0; only whole buckets between the first mid and the last count. A gap of the mids
    over four buckets leaves the buckets in it out: what happened there is not known.
    """
    if mid_ns.size < 2:
        return np.zeros((0, 2))
    first, last = -(-int(mid_ns[0]) // bucket_ns), int(mid_ns[-1]) // bucket_ns
    starts = np.arange(first, last, dtype=np.int64) * bucket_ns
    at = np.searchsorted(mid_ns, starts, side="right") - 1
    following = np.minimum(np.searchsorted(mid_ns, starts + bucket_ns, side="left"), mid_ns.size - 1)
    known = (mid_ns[following] - mid_ns[at]) <= 4 * bucket_ns
    reference = mid[at]
    reach = np.zeros((starts.size, 2))
    inside = (trade_ns >= starts[0]) & (trade_ns < starts[-1] + bucket_ns) if starts.size else np.zeros(0, bool)
    if starts.size and bool(inside.any()):
        row = (trade_ns[inside] - starts[0]) // bucket_ns
        move = price[inside] / reference[row] - 1.0
        side = np.where(sell[inside], 0, 1)
        np.maximum.at(reach, (row, side), np.where(sell[inside], -move, move))
    return reach[known]


def fit_intensity(reach: np.ndarray, bucket_s: float) -> IntensityFit:
    """Return A and k of `reach` (float64, any shape; 0 or less = not reached) by maximum likelihood, with errors.

    Insufficient: fewer than 50 reaches, reaches that do not differ, or a standard error over half of k.
    """
    values = reach.ravel()
    if not bool(np.isfinite(values).all()):
        return IntensityFit(INSUFFICIENT, "distances that are not finite", 0, values.size)
    depth = values[values > 0]
    n, empty = depth.size, values.size - depth.size
    if n < MIN_REACHES:
        return IntensityFit(
            INSUFFICIENT, f"{n} buckets with trades past the mid, {MIN_REACHES} are needed", n, n + empty
        )
    unit = float(depth.mean())
    x = depth / unit
    if float(np.ptp(x)) < 1e-9:
        return IntensityFit(INSUFFICIENT, "all trades reach equally far: k cannot be told", n, n + empty)

    def slope(k: float) -> float:
        """Derivative of the profile likelihood by k, over n; decreasing."""
        e = np.exp(-k * x)
        return 1.0 / k - float(x.mean()) + float((x * e).sum()) / (float(e.sum()) + empty)

    low, high = 1e-6, 1.0
    while slope(high) > 0:
        high *= 2.0
        if high > 1e9:
            return IntensityFit(INSUFFICIENT, "the likelihood has no maximum in k", n, n + empty)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    k = (low + high) / 2
    e = np.exp(-k * x)
    rate = n / (float(e.sum()) + empty)  # A * T
    # Observed information of (ln rate, k) at the maximum.
    cross = -rate * float((x * e).sum())
    information = np.array([[float(n), cross], [cross, n / k**2 + rate * float((x**2 * e).sum())]])
    try:
        error = np.sqrt(np.diag(np.linalg.inv(information)))
    except np.linalg.LinAlgError:
        return IntensityFit(INSUFFICIENT, "the information matrix is singular", n, n + empty)
    if not bool(np.isfinite(error).all()) or error[1] > MAX_RELATIVE_ERROR * k:
        return IntensityFit(INSUFFICIENT, f"k is not determined (relative error {error[1] / k:.2f})", n, n + empty)
    a = rate / bucket_s
    return IntensityFit(OK, "", n, n + empty, a, k / unit, a * float(error[0]), float(error[1]) / unit)


def survival(
    reach: np.ndarray, fit: IntensityFit, bucket_s: float, points: int = 24
) -> list[tuple[float, float, float]]:
    """Return (delta, rate seen, rate fitted) at quantiles of the reaches: rate seen = -ln(1 - share reached) / T."""
    values = reach.ravel()
    depth = np.quantile(values[values > 0], np.linspace(0.02, 0.98, points))
    share = np.array([float(np.mean(values >= d)) for d in depth])
    seen = -np.log1p(-np.minimum(share, 1 - 1e-12)) / bucket_s
    fitted = fit.a * np.exp(-fit.k * depth)
    return list(zip(depth.tolist(), seen.tolist(), fitted.tolist(), strict=True))
