"""The sizes of prints and how they cluster: running quantiles, the tail behind them, counts by 100 ms.

A running quantile steps up by a share of itself when a print reaches it and down when it does not, so that it comes
to rest where the wanted part of the prints is above (Robbins & Monro 1951, on the logarithm); no sizes are kept.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from bot4_live.features.numbers import decayed, power
from bot4_live.features.registry import index
from bot4_live.features.state import DECAY_10S, DECAY_60S, DECAY_LOOK, FASTEST_STEP, SLOWEST_STEP, WALL_TICKS

PRINT_FLOW, SIZE_RATIO, TAIL_INDEX, FANO = (
    index("print_flow_10s"), index("print_size_ratio"), index("print_tail_index"), index("trade_fano"),
)  # fmt: skip

_SOME = 1e-6  # less than this of a decayed count is none
_MOST_INDEX = 100.0


@njit(cache=True)
def _tail_index(excess: float, n: float) -> float:
    """Return a of a Pareto tail from the mean of size / threshold, a / (a - 1); 0 without prints in it."""
    if n <= _SOME:
        return 0.0
    over = excess - n
    return excess / over if over * _MOST_INDEX > excess else _MOST_INDEX


@njit(cache=True)
def take_print(f: Any, notional: float, signed: float) -> None:
    """Take in a print: it is judged by the quantiles as they were before it."""
    p = f.prints
    p.count += 1
    if notional <= 0.0:
        return
    if p.n == 0:
        p.q50 = notional
        p.q95 = notional
    elif notional >= p.q95:
        p.flow += signed
        p.excess += notional / p.q95
        p.excess_n += 1.0
    p.n += 1
    step = SLOWEST_STEP
    if p.n * SLOWEST_STEP < 1.0:
        step = min(FASTEST_STEP, 1.0 / p.n)
    p.q95 *= 1.0 + 0.95 * step if notional >= p.q95 else 1.0 - 0.05 * step
    p.q50 *= 1.0 + 0.5 * step if notional >= p.q50 else 1.0 - 0.5 * step
    f.x[PRINT_FLOW] = p.flow
    f.x[SIZE_RATIO] = p.q95 / p.q50
    f.x[TAIL_INDEX] = _tail_index(p.excess, p.excess_n)


@njit(cache=True)
def _look(f: Any) -> None:
    """Take the count of the look that ends into the sums; set the ratio of variance to mean."""
    p = f.prints
    p.weight = decayed(p.weight, DECAY_LOOK) + 1.0
    p.counts = decayed(p.counts, DECAY_LOOK) + p.count
    p.squares = decayed(p.squares, DECAY_LOOK) + float(p.count) * p.count
    mean = p.counts / p.weight
    f.x[FANO] = max(p.squares / p.weight - mean * mean, 0.0) / mean if mean > _SOME else 0.0


@njit(cache=True)
def prints_tick(f: Any, n: int) -> None:
    """Step to the TICK `f.grid`, `n` TICKs after the last one; a look that was missed has no count."""
    p = f.prints
    p.flow = decayed(p.flow, power(DECAY_10S, n))
    factor = power(DECAY_60S, n)
    p.excess = decayed(p.excess, factor)
    p.excess_n = decayed(p.excess_n, factor)
    f.x[PRINT_FLOW] = p.flow
    if f.grid // WALL_TICKS != (f.grid - n) // WALL_TICKS:
        if n <= WALL_TICKS:
            _look(f)
        p.count = 0


@njit(cache=True)
def prints_forget(p: Any) -> None:
    """Void a PRINT_STATE: what was counted belongs to another instrument."""
    p.n = 0
    p.q50 = 0.0
    p.q95 = 0.0
    p.flow = 0.0
    p.excess = 0.0
    p.excess_n = 0.0
    p.count = 0
    p.weight = 0.0
    p.counts = 0.0
    p.squares = 0.0
