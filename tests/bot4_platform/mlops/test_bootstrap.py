"""The block bootstrap covers what it says on dependent data, and skill means what its docstring says."""

import numpy as np
import pytest

from bot4_platform.mlops.bootstrap import moving_indices, ratio_interval, stationary_indices
from bot4_platform.mlops.skill import Resampling, advantage_interval, direction, skill, skill_interval


def autoregression(n: int, phi: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 1, n + 200)
    out = np.zeros(n + 200)
    for i in range(1, n + 200):
        out[i] = phi * out[i - 1] + noise[i]
    return out[200:]


@pytest.mark.parametrize("method", ["stationary", "moving"])
def test_intervals_cover_the_truth_of_dependent_data(method: str) -> None:
    """AR(1) with phi 0.8 has a mean of 0. Resampling single rows covers it in half of the cases, blocks mostly."""
    rng = np.random.default_rng(7)
    covered = {1: 0, 40: 0}
    for trial in range(120):
        series = autoregression(800, 0.8, rng)
        for block in covered:
            got = ratio_interval(series, np.ones(800), block, 300, 0.95, trial, method)  # type: ignore[arg-type]
            covered[block] += got.low <= 0 <= got.high
    assert covered[40] >= 0.85 * 120
    assert covered[1] <= 0.65 * 120


def test_blocks_are_runs() -> None:
    rng = np.random.default_rng(1)
    rows = stationary_indices(500, 25, 40, rng)
    assert rows.shape == (40, 500)
    assert rows.min() >= 0
    assert rows.max() < 500
    follows = (np.diff(rows, axis=1) % 500 == 1).mean()
    assert 0.94 < follows < 0.98  # 1 - 1/25, give or take
    fixed = moving_indices(500, 25, 40, rng)
    assert (np.diff(fixed.reshape(40, 20, 25), axis=2) == 1).all()


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = np.random.default_rng(3).normal(0.2, 1, 400)
    one = ratio_interval(rows, np.ones(400), 20, 500, 0.95, 11)
    assert one == ratio_interval(rows, np.ones(400), 20, 500, 0.95, 11)
    assert one != ratio_interval(rows, np.ones(400), 20, 500, 0.95, 12)
    assert one.low < one.value < one.high


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two blocks"):
        ratio_interval(np.ones(30), np.ones(30), 20, 100, 0.95, 0)


def test_skill_of_known_forecasts() -> None:
    outcome = np.array([1.0, -2.0, 3.0, 0.0])
    weight = np.ones(4)
    assert skill(outcome, outcome, weight) == 1.0
    assert skill(outcome, np.zeros(4), weight) == 0.0
    assert skill(outcome, -outcome, weight) == -3.0
    assert skill(np.zeros(4), outcome, weight) == 0.0


def test_advantage_is_the_difference_of_skills() -> None:
    rng = np.random.default_rng(5)
    signal, noise = rng.normal(0, 1, (2, 2000))
    outcome, weight = signal + noise, rng.uniform(0.1, 1, 2000)
    how = Resampling(20, 400, 0.95, 3)
    better, worse = 0.9 * signal, 0.2 * signal
    gained = advantage_interval(outcome, better, worse, weight, how)
    assert gained.value == pytest.approx(skill(outcome, better, weight) - skill(outcome, worse, weight))
    assert gained.low > 0
    assert skill_interval(outcome, better, weight, how).low > 0.4
    assert advantage_interval(outcome, rng.normal(0, 1, 2000), worse, weight, how).low < 0


def test_direction_counts_only_moves() -> None:
    outcome = np.tile([1.0, -1.0, 0.0, 0.0], 50)
    forecast = np.tile([0.5, 0.5, 1.0, -1.0], 50)
    assert direction(outcome, forecast, Resampling(10, 100, 0.9, 1)).value == 0.5
