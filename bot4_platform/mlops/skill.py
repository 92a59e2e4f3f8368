"""How good a forecast is: skill against "no change", advantage over the baseline, directional accuracy.

Skill is 1 - sum w (y - f)^2 / sum w y^2: an out-of-sample R^2 (Campbell & Thompson 2008, RFS 21(4), equation 1) whose
benchmark is the forecast 0, since a mid price has no drift over a second. 0 is what knowing nothing scores, below 0
is worse than that. Weights are the labels' uniqueness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot4_platform.mlops.bootstrap import Interval, Method, ratio_interval


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: mean block in rows, replications, two-sided confidence, seed, method."""

    block: int
    replications: int
    confidence: float
    seed: int
    method: Method = "stationary"


def skill(outcome: np.ndarray, forecast: np.ndarray, weight: np.ndarray) -> float:
    """Return the weighted skill of a forecast; 0.0 where nothing moved. All float64 (n,)."""
    variance = float(np.sum(weight * outcome**2))
    return 1.0 - float(np.sum(weight * (outcome - forecast) ** 2)) / variance if variance else 0.0


def skill_interval(outcome: np.ndarray, forecast: np.ndarray, weight: np.ndarray, how: Resampling) -> Interval:
    """Return the skill with its block-bootstrap interval."""
    gained = weight * (outcome**2 - (outcome - forecast) ** 2)
    return _interval(gained, weight * outcome**2, how)


def advantage_interval(
    outcome: np.ndarray, forecast: np.ndarray, reference: np.ndarray, weight: np.ndarray, how: Resampling
) -> Interval:
    """Return skill(forecast) - skill(reference) with its interval: rows are drawn with both errors, so it is paired."""
    gained = weight * ((outcome - reference) ** 2 - (outcome - forecast) ** 2)
    return _interval(gained, weight * outcome**2, how)


def direction(outcome: np.ndarray, forecast: np.ndarray, how: Resampling) -> Interval:
    """Return the share of moves whose sign was forecast, among rows that moved; a forecast of 0 counts as a miss."""
    moved = outcome != 0
    right = (np.sign(outcome) == np.sign(forecast)) & moved
    return _interval(right.astype(np.float64), moved.astype(np.float64), how)


def beyond_cost(forecast: np.ndarray, cost_bp: np.ndarray) -> float:
    """Return the share of forecasts larger than what crossing the dead zone (half spread and fee, bp) would cost."""
    return float(np.mean(np.abs(forecast) > cost_bp)) if forecast.size else 0.0


def _interval(above: np.ndarray, below: np.ndarray, how: Resampling) -> Interval:
    return ratio_interval(above, below, how.block, how.replications, how.confidence, how.seed, how.method)
