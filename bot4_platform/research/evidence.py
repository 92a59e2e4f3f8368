"""What a capture shows for and against each claim: the rows to judge by, calibrated on the first part of the time.

The time is cut in half. Signs, thresholds, scales and base rates come from the rows of the first half whose outcome is
known before the cut (the purge); the figure comes from the second half alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot4_platform.research import outcomes
from bot4_platform.research.catalogue import Signal
from bot4_platform.research.market import ASK, ASK_QTY, BID, BID_QTY, GRID_MS, Market
from bot4_platform.research.statistics import (
    Figure,
    correlation,
    correlation_columns,
    difference,
    difference_columns,
    ranks,
    ratio,
    residual,
    skill,
)

PATIENCE = 10  # horizons that an order of a fill forecast may wait
LEAST_ROWS = 200  # of a part
LEAST_EVENTS = 20  # withdrawals, filled or unfilled orders, walls kept and passed
REACHABLE = 0.98  # a level that is held more often than that without a wall is out of reach
THIRDS = (1 / 3, 2 / 3)


class Unshown(ValueError):
    """The capture cannot show anything about a claim; the message says why."""


@dataclass(frozen=True)
class Evidence:
    """Rows of the second part in order of time, and the figure they are judged by."""

    columns: np.ndarray  # float64 (n, k)
    figure: Figure
    least_block: int  # rows over which outcomes overlap, twice
    sign: int = 1
    events: float | None = None  # of the rarer kind of row, where there are two
    extra: dict[str, Any] = field(default_factory=dict)


class Sample:
    """A market with its outcomes, cut in two."""

    def __init__(self, market: Market, horizon_s: float) -> None:
        """Work the outcomes out. Raises ValueError for a horizon off the grid or a market too short to cut in two."""
        self.market, self.horizon_s, self.h = market, horizon_s, outcomes.steps(horizon_s)
        usable = np.flatnonzero(market.valid)
        self.cut = int(usable[len(usable) // 2])
        if len(usable) < 2 * (LEAST_ROWS + PATIENCE * self.h):
            raise ValueError(
                f"{market.name}: {market.seconds:.0f} s are too short for a horizon of {horizon_s:g} s: take at least "
                f"{2 * (LEAST_ROWS + PATIENCE * self.h) * GRID_MS / 1000:.0f} s, or a shorter horizon"
            )
        self.change = outcomes.future_return(market, self.h)
        self.past, self.following = outcomes.variances(market, self.h)
        self.down, self.up = outcomes.excursions(market, self.h)

    def parts(self, *needed: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of both parts, int64 each, where all `needed` are numbers.

        `reach` is how many rows an outcome looks ahead: rows of the first part that look past the cut are purged.
        """
        good = self.market.valid.copy()
        for values in needed:
            good &= np.isfinite(values)
        rows = np.flatnonzero(good)
        first, second = rows[rows < self.cut - reach], rows[rows >= self.cut]
        if min(len(first), len(second)) < LEAST_ROWS:
            raise Unshown(f"only {min(len(first), len(second))} usable rows in a part")
        return first, second


def gather(sample: Sample, signal: Signal) -> Evidence:
    """Return the evidence about a signal's claim. Raises Unshown where the capture has none."""
    return _BY_CLAIM[signal.claim](sample, signal)


def _varies(values: np.ndarray, name: str) -> None:
    """Refuse a signal that does not move."""
    distinct, counts = np.unique(values, return_counts=True)
    if counts.max() > 0.98 * len(values):
        raise Unshown(f"{name} hardly varies here: {distinct[counts.argmax()]:g} in {counts.max() / len(values):.1%}")


def _sign(value: float) -> int:
    return -1 if value < 0 else 1


def _return(sample: Sample, signal: Signal) -> Evidence:
    x, y = sample.market.column(signal.feature), sample.change
    first, second = sample.parts(x, y, reach=sample.h)
    _varies(x[second], signal.feature)
    if not np.any(y[first]) or not np.any(y[second]):
        raise Unshown("the mid did not move")
    sign = _sign(float(correlation(correlation_columns(ranks(x[first]), ranks(y[first])).mean(axis=0))))
    centre = float(np.median(x[first]))
    strong = np.abs(x[second] - centre) >= np.quantile(np.abs(x[first] - centre), 0.8)
    towards = np.sign(x[second] - centre) * sign * y[second]
    moved = float(towards[strong].mean()) if strong.any() else None
    half_spread = float(np.mean(sample.market.column("spread_bp")[second])) / 2
    columns = correlation_columns(sign * ranks(x[second]), ranks(y[second]))
    extra = {"strongest_fifth_bp": moved, "half_spread_bp": half_spread}
    return Evidence(columns, correlation, 2 * sample.h, sign, extra=extra)


def _variance(sample: Sample, signal: Signal) -> Evidence:
    x = sample.market.column(signal.feature)
    known = sample.market.column("volatility")
    first, second = sample.parts(x, sample.past, sample.following, reach=sample.h)
    _varies(x[second], signal.feature)
    if not np.any(sample.following[second]):
        raise Unshown("the mid did not move")

    def columns(rows: np.ndarray, sign: int) -> np.ndarray:
        controls = [ranks(sample.past[rows]), ranks(known[rows])]
        return correlation_columns(
            sign * residual(ranks(x[rows]), controls), residual(ranks(sample.following[rows]), controls)
        )

    sign = _sign(float(correlation(columns(first, 1).mean(axis=0))))
    return Evidence(columns(second, sign), correlation, 2 * sample.h, sign)


def _wall(sample: Sample, signal: Signal) -> Evidence:
    market = sample.market
    away = np.round(market.column(signal.feature) * market.mid2 / 1e4)  # half ticks from the mid
    gone = sample.down if signal.side > 0 else sample.up
    volatility = market.column("volatility")
    first, second = sample.parts(away, gone, reach=sample.h)
    third = np.searchsorted(np.quantile(volatility[first], THIRDS), volatility[second])
    distance, reached = away[second], gone[second]
    wall = distance > 0
    without = np.full(len(second), np.nan)
    for group in range(3):
        others = np.sort(reached[~wall & (third == group)])
        if len(others) >= LEAST_EVENTS:
            mine = wall & (third == group)
            without[mine] = np.searchsorted(others, distance[mine], side="right") / len(others)
    near = wall & (without < REACHABLE)
    rows = int(near.sum())
    if rows < LEAST_EVENTS:
        raise Unshown(
            f"{int(wall.sum())} rows with a wall, {rows} of them with one that a price could reach within "
            f"{sample.horizon_s:g} s and with times without a wall to compare with"
        )
    kept = (reached <= distance)[near].astype(float)
    passed, expected = rows - float(kept.sum()), rows - float(without[near].sum())  # expected of any level there
    spread = (market.quotes[:, ASK - BID] - market.quotes[:, 0])[second]
    extra = {
        "kept": float(kept.mean()), "kept_without_wall": float(without[near].mean()), "passed": int(passed),
        "at_best_price": float((distance <= spread)[near].mean()),
    }  # fmt: skip
    events = min(max(passed, expected), rows - min(passed, expected))
    columns = np.column_stack([kept - without[near], np.ones(rows)])
    return Evidence(columns, ratio, 2 * sample.h, events=events, extra=extra)


def _withdrawal(sample: Sample, signal: Signal) -> Evidence:
    x = sample.market.column(signal.feature)
    _, second = sample.parts(x, sample.change, reach=sample.h)
    now = np.zeros(len(x), bool)
    now[1:] = x[1:] > x[:-1]  # it decays otherwise
    chosen = now[second]
    if min(chosen.sum(), (~chosen).sum()) < LEAST_EVENTS:
        raise Unshown(f"only {int(chosen.sum())} withdrawals in the second part")
    against = -signal.side * sample.change[second]
    extra = {"after_bp": float(against[chosen].mean()), "otherwise_bp": float(against[~chosen].mean())}
    columns = difference_columns(against, chosen)
    return Evidence(columns, difference, 2 * sample.h, events=float(chosen.sum()), extra=extra)


def _wait(sample: Sample, signal: Signal) -> Evidence:
    x = sample.market.column(signal.feature)
    share = np.clip(x, 0.0, 1.0) if signal.feature.startswith("queue_place") else np.ones(len(x))
    outcome, _ = outcomes.race(sample.market, signal.side, share, sample.horizon_s)
    _, second = sample.parts(x, sample.down, reach=sample.h)
    _varies(x[second], signal.feature)
    filled = (outcome[second] == outcomes.FILLED).astype(float)
    _both(filled)
    extra = {"filled": float(filled.mean())}
    return Evidence(
        correlation_columns(-ranks(x[second]), filled), correlation, 2 * sample.h, events=_rarer(filled), extra=extra
    )


def _fill(sample: Sample, signal: Signal) -> Evidence:
    x = np.clip(sample.market.column(signal.feature), 0.0, 1.0)
    reach = PATIENCE * sample.h
    outcome, waited = outcomes.race(sample.market, signal.side, np.ones(len(x)), reach * GRID_MS / 1000)
    first, second = sample.parts(x, waited, reach=reach)
    y = (outcome == outcomes.FILLED).astype(float)
    _both(y[second])
    base = float(y[first].mean())
    ours = _calibrated(x, y, first, second)
    sizes = sample.market.quotes.astype(float)
    own, other = (BID_QTY - BID, ASK_QTY - BID) if signal.side > 0 else (ASK_QTY - BID, BID_QTY - BID)
    theirs = 2 / np.pi * np.arctan2(sizes[:, other], sizes[:, own])
    known = y[second]

    def brier(forecast: np.ndarray) -> float:
        return float(np.mean((forecast - known) ** 2))

    extra = {
        "brier": brier(x[second]),
        "brier_calibrated": brier(ours),
        "brier_base_rate": brier(np.full(len(known), base)),
        "brier_cont_larrard": brier(theirs[second]),
        "brier_cont_larrard_calibrated": brier(_calibrated(theirs, y, first, second)),
        "base_rate": base,
        "filled": float(known.mean()),
        "undecided": int(sample.market.valid[sample.cut :].sum()) - len(second),
        "reliability": _reliability(x[second], known),
    }
    columns = np.column_stack([(ours - known) ** 2, (base - known) ** 2])
    longest = int(np.ceil(np.nanquantile(waited[second], 0.95) * 1000 / GRID_MS))
    return Evidence(columns, skill, 2 * max(longest, sample.h), events=_rarer(known), extra=extra)


def _calibrated(x: np.ndarray, y: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the second part's forecasts as the frequencies of the first part's fifths of `x`."""
    edges = np.unique(np.quantile(x[first], (0.2, 0.4, 0.6, 0.8)))
    fifth = np.searchsorted(edges, x[first], side="right")
    means = [y[first][fifth == k].mean() if (fifth == k).any() else y[first].mean() for k in range(len(edges) + 1)]
    return np.array(means)[np.searchsorted(edges, x[second], side="right")]


def _reliability(forecast: np.ndarray, known: np.ndarray) -> list[dict[str, float | int]]:
    """Return mean forecast, frequency and rows by tenths of the forecast."""
    tenth = np.minimum((forecast * 10).astype(int), 9)
    return [
        {"forecast": float(forecast[tenth == k].mean()), "filled": float(known[tenth == k].mean()), "rows": int(n)}
        for k in range(10)
        if (n := np.count_nonzero(tenth == k))
    ]


def _rarer(known: np.ndarray) -> float:
    return float(min(known.sum(), len(known) - known.sum()))


def _both(known: np.ndarray) -> None:
    if _rarer(known) < LEAST_EVENTS:
        raise Unshown(f"{int(known.sum())} of {len(known)} orders would have been filled: too few of one kind")


_BY_CLAIM = {
    "return": _return, "variance": _variance, "wall": _wall, "withdrawal": _withdrawal, "wait": _wait, "fill": _fill,
}  # fmt: skip
