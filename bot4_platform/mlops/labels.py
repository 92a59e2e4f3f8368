"""Labels: the forward mid return over a horizon, on the feature grid, never across a gap or the end of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BP = 1e4


@dataclass(frozen=True)
class Labels:
    """Finished labels. Arrays of equal length, in order of time; times are the journal's recv_ns."""

    row: np.ndarray  # int64: the grid row the label stands on
    start_ns: np.ndarray  # int64: time of that row
    end_ns: np.ndarray  # int64: time of the row that ends the label
    value: np.ndarray  # float64: mid(end) / mid(start) - 1, in bp
    weight: np.ndarray  # float64 in (0, 1]: average uniqueness
    unfinished: int  # rows whose horizon lies after the end of the data (or the cut)
    broken: int  # rows dropped because a gap or an invalid row lies within the horizon


def forward_return(
    recv_ns: np.ndarray,
    mid: np.ndarray,
    valid: np.ndarray,
    horizon_ns: int,
    step_ns: int,
    until_ns: int | None = None,
) -> Labels:
    """Return the labels of one market's grid: mid(t + horizon) / mid(t) - 1 in basis points.

    `recv_ns` int64 (n,) strictly increasing, `mid` float64 (n,), `valid` bool (n,): the book could be used. A label
    spans the rows from t to t + horizon; it is kept only when all of them are valid and none is further than 1.5
    `step_ns` from the one before, and when it ends at or before `until_ns`. Raises ValueError for a wrong horizon,
    step, shape or order.
    """
    n = recv_ns.shape[0]
    if horizon_ns <= 0 or step_ns <= 0 or horizon_ns % step_ns:
        raise ValueError(f"label horizon {horizon_ns} ns must be a positive multiple of the grid's step {step_ns} ns")
    if mid.shape != (n,) or valid.shape != (n,):
        raise ValueError("recv_ns, mid and valid must have one shape")
    if n > 1 and not bool((np.diff(recv_ns) > 0).all()):
        raise ValueError("the feature grid must be strictly increasing in recv_ns")
    usable = valid & np.isfinite(mid) & (mid > 0)
    jump = np.zeros(n, bool)
    jump[1:] = np.diff(recv_ns) > step_ns + step_ns // 2
    breaks = np.cumsum(jump | ~usable)  # breaks[j] - breaks[i] counts what lies in (i, j]
    last_ns = recv_ns[-1] if n else 0
    if until_ns is not None:
        last_ns = min(last_ns, until_ns)
    target = recv_ns + horizon_ns
    end = np.searchsorted(recv_ns, target - step_ns // 2, side="left")
    finished = (target <= last_ns) & (end < n)
    end = np.minimum(end, max(n - 1, 0))
    whole = usable & (breaks[end] == breaks) & (np.abs(recv_ns[end] - target) <= step_ns // 2) if n else usable
    if until_ns is not None:
        finished &= recv_ns[end] <= until_ns
    keep = np.flatnonzero(finished & whole)
    stop = end[keep]
    return Labels(
        row=keep,
        start_ns=recv_ns[keep],
        end_ns=recv_ns[stop],
        value=(mid[stop] / mid[keep] - 1.0) * BP,
        weight=uniqueness(keep, stop, n),
        unfinished=int((~finished).sum()),
        broken=int((finished & ~whole).sum()),
    )


def uniqueness(first: np.ndarray, last: np.ndarray, n: int) -> np.ndarray:
    """Return each label's average uniqueness over the steps (first, last] of a grid of `n` rows.

    López de Prado 2018, Advances in Financial Machine Learning, section 4.4: the mean over a label's span of one
    divided by the number of labels alive then. Overlapping labels share information, so they share weight.
    """
    if first.size == 0:
        return np.zeros(0)
    alive = np.zeros(n + 1)
    np.add.at(alive, first + 1, 1.0)
    np.add.at(alive, last + 1, -1.0)
    count = np.cumsum(alive[:n])
    share = np.concatenate([[0.0], np.cumsum(np.divide(1.0, count, out=np.zeros(n), where=count > 0))])
    return np.minimum((share[last + 1] - share[first + 1]) / (last - first), 1.0)
