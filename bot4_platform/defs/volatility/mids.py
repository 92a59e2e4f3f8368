"""The mid on a 250 ms grid of the receive clock, and the windows that fits look back on."""

from __future__ import annotations

import numpy as np

STEP_NS = 250_000_000
MAX_SILENCE_NS = 5_000_000_000  # beyond it an unchanged quote is no longer taken for a quote
CADENCE_NS = 15 * 60 * 10**9  # slow features are computed at these marks of the receive clock, and at the data's end
WINDOW_NS = 3_600 * 10**9


def sample_last(recv_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (times, rows): each grid time that has a quote in force, int64, and the number of that quote's row.

    `recv_ns` int64 (n,), not decreasing. A grid time t stands for the bucket [t - 250 ms, t) and takes the last quote
    before t; so it is known at t and uses nothing later. A quote stays in force for 5 s of silence; after that the
    grid has a hole until the next quote. The first time lies after the first quote, the last after the last one.
    """
    if recv_ns.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, last = int(recv_ns[0]) // STEP_NS + 1, int(recv_ns[-1]) // STEP_NS + 1
    time = np.arange(first, last + 1, dtype=np.int64) * STEP_NS
    row = np.searchsorted(recv_ns, time, side="left") - 1
    fresh = time - recv_ns[row] <= MAX_SILENCE_NS
    return time[fresh], row[fresh]


def returns(time_ns: np.ndarray, mid: np.ndarray) -> np.ndarray:
    """Return mid returns, float64, of neighbouring grid times only: none crosses a hole."""
    if time_ns.size < 2:
        return np.zeros(0)
    near = np.diff(time_ns) == STEP_NS
    return (mid[1:] / mid[:-1] - 1.0)[near]


def fit_times(time_ns: np.ndarray) -> list[int]:
    """Return the times to fit at: each 15-minute mark inside the grid times (int64, increasing), and the last one."""
    if time_ns.size == 0:
        return []
    first, last = int(time_ns[0]), int(time_ns[-1])
    marks = range((first // CADENCE_NS + 1) * CADENCE_NS, last, CADENCE_NS)
    return [*marks, last]


def window(time_ns: np.ndarray, until_ns: int) -> slice:
    """Return the rows of increasing times in (until - 1 h, until]."""
    low, high = np.searchsorted(time_ns, [until_ns - WINDOW_NS, until_ns], side="right")
    return slice(int(low), int(high))
