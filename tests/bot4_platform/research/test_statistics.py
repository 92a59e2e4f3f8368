"""Figures against scipy, intervals against series whose truth is known, false discoveries against the paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bot4_platform.research.statistics import (
    Estimate,
    TooFew,
    block_length,
    correlation,
    correlation_columns,
    difference,
    difference_columns,
    estimate,
    false_discovery,
    influence,
    memory,
    ranks,
    residual,
    skill,
)


def correlate(u: np.ndarray, v: np.ndarray, least_block: int = 1, seed: int = 1) -> Estimate:
    return estimate(correlation_columns(ranks(u), ranks(v)), correlation, least_block, seed)


def test_rank_correlation_is_spearmans_with_ties() -> None:
    rng = np.random.default_rng(1)
    u = rng.integers(0, 9, 500).astype(float)
    v = u + rng.standard_normal(500) * 4
    np.testing.assert_array_equal(ranks(u), stats.rankdata(u))
    assert correlate(u, v).value == pytest.approx(stats.spearmanr(u, v).statistic)


def test_partial_correlation_takes_out_what_is_known() -> None:
    rng = np.random.default_rng(2)
    known = rng.standard_normal(4000)
    u, v = known + rng.standard_normal(4000), known + rng.standard_normal(4000)
    assert correlate(u, v).value == pytest.approx(0.48, abs=0.05)
    left = [residual(ranks(x), [ranks(known)]) for x in (u, v)]
    assert abs(float(correlation(correlation_columns(*left).mean(axis=0)))) < 0.04


def test_an_interval_of_independent_rows_is_the_textbooks() -> None:
    rng = np.random.default_rng(3)
    u = rng.standard_normal(2000)
    v = 0.3 * u + rng.standard_normal(2000)
    e = correlate(u, v)
    book = stats.pearsonr(ranks(u), ranks(v)).confidence_interval(0.95)
    assert e.low == pytest.approx(book.low, abs=0.012)
    assert e.high == pytest.approx(book.high, abs=0.012)
    assert e.effective > 0.85 * 2000
    assert e.p == 1 / 2001


def test_dependence_costs_observations_and_intervals_hold(autoregression: Callable[..., np.ndarray]) -> None:
    """Two unrelated persistent series: 5 % of tests may fail at 5 %; taken for independent rows, many more do."""
    rng = np.random.default_rng(4)
    results = [correlate(autoregression(rng, 1500), autoregression(rng, 1500), 20, i) for i in range(120)]
    wrong = np.mean([e.p <= 0.05 for e in results])
    covered = np.mean([e.low <= 0 <= e.high for e in results])
    assert wrong <= 0.11
    assert covered >= 0.88
    # n (1 - a^2) / (1 + a^2) for two AR(1) of factor a: Bartlett 1935
    assert np.median([e.effective for e in results]) == pytest.approx(1500 * 0.19 / 1.81, rel=0.35)
    alone = np.mean(
        [stats.spearmanr(autoregression(rng, 1500), autoregression(rng, 1500)).pvalue < 0.1 for _ in range(60)]
    )
    assert alone > 0.3


def test_difference_and_skill() -> None:
    y = np.arange(400.0)
    chosen = y % 4 == 0
    columns = difference_columns(y, chosen)
    assert float(difference(columns.mean(axis=0))) == pytest.approx(y[chosen].mean() - y[~chosen].mean())
    assert float(skill(np.array([0.1, 0.25]))) == pytest.approx(0.6)
    assert float(skill(np.array([0.1, 0.0]))) == 0.0


def test_influence_is_the_effect_of_a_row() -> None:
    rng = np.random.default_rng(5)
    columns = correlation_columns(rng.standard_normal(300), rng.standard_normal(300))
    base = float(correlation(columns.mean(axis=0)))
    heavier = np.vstack([columns, columns[7]])
    moved = float(correlation(heavier.mean(axis=0))) - base
    assert influence(columns, correlation)[7] / 301 == pytest.approx(moved, rel=0.05)


def test_memory_of_a_moving_average() -> None:
    noise = np.random.default_rng(6).standard_normal(5010)
    assert memory(np.convolve(noise, np.ones(10), "valid"), 100) in range(6, 16)
    assert memory(noise, 100) <= 1
    assert memory(np.ones(50), 10) == 0


def test_block_length_of_an_autoregression(autoregression: Callable[..., np.ndarray]) -> None:
    """Factor a: (2 G^2 / (4/3 g^2) n)^(1/3), g = (1 + a) / (1 - a), G = 2 a / (1 - a)^2."""
    rng = np.random.default_rng(9)
    found = [block_length(autoregression(rng, 4000, 0.8), 400) for _ in range(20)]
    assert np.median(found) == pytest.approx((1.5 * (40 / 9) ** 2 * 4000) ** (1 / 3), rel=0.25)
    assert np.median([block_length(rng.standard_normal(4000), 400) for _ in range(20)]) < 4


def test_the_same_seed_gives_the_same_interval_and_too_few_rows_none() -> None:
    rng = np.random.default_rng(7)
    u, v = rng.standard_normal((2, 200))
    assert correlate(u, v) == correlate(u, v)
    assert correlate(u, v) != correlate(u, v, seed=2)
    with pytest.raises(TooFew, match="200 rows are fewer than 10 blocks of 21"):
        correlate(u, v, 21)


def test_false_discoveries_of_benjamini_and_hochbergs_example() -> None:
    """Their section 3.2: fifteen p-values, of which the first four are rejected at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
         0.7590, 1.0]  # fmt: skip
    mixed = np.random.default_rng(8).permutation(15)
    q = false_discovery([p[i] for i in mixed])
    assert sorted(int(i) for i, value in zip(mixed, q, strict=True) if value <= 0.05) == [0, 1, 2, 3]
    np.testing.assert_allclose(np.array(q)[np.argsort(mixed)], stats.false_discovery_control(p))
    assert false_discovery([]) == []
