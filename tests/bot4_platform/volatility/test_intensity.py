"""Fill intensity: planted A and k come back within their errors; too little is insufficient."""

import math

import numpy as np
import pytest

from bot4_platform.defs.volatility.intensity import fit_intensity, reaches, survival

A, K, T = 0.8, 20_000.0, 1.0


def planted(buckets: int, seed: int) -> np.ndarray:
    """Draw reaches of market orders that come at rate A a side with exponential depth 1/k."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(A * T, (buckets, 2))
    return np.array([[rng.exponential(1 / K, n).max() if n else 0.0 for n in row] for row in counts])


def test_planted_parameters_come_back() -> None:
    fit = fit_intensity(planted(4000, 1), T)
    assert fit.status == "ok"
    assert fit.a == pytest.approx(A, rel=0.06)
    assert fit.k == pytest.approx(K, rel=0.06)


def test_the_standard_errors_are_those_of_repetition() -> None:
    fits = [fit_intensity(planted(300, seed), T) for seed in range(60)]
    within = [abs(fit.k - K) <= 1.96 * fit.k_error and abs(fit.a - A) <= 1.96 * fit.a_error for fit in fits]
    assert np.mean(within) > 0.8
    assert np.std([fit.k for fit in fits]) == pytest.approx(np.mean([fit.k_error for fit in fits]), rel=0.3)


def test_a_does_not_depend_on_the_bucket() -> None:
    """Two seconds hold the same rate: reaches of pairs of buckets, fitted with T = 2."""
    reach = planted(6000, 9)
    pairs = reach.reshape(3000, 2, 2).max(axis=1)
    assert fit_intensity(pairs, 2 * T).a == pytest.approx(A, rel=0.08)


@pytest.mark.parametrize(
    ("reach", "reason"),
    [
        (np.zeros((500, 2)), "0 buckets with trades past the mid"),
        (planted(25, 3), "50 are needed"),
        (np.full((100, 2), 1e-5), "equally far"),
        (np.array([[np.nan, 1.0]]), "not finite"),
    ],
)
def test_insufficient_is_never_a_number(reach: np.ndarray, reason: str) -> None:
    fit = fit_intensity(reach, T)
    assert fit.status == "insufficient"
    assert reason in fit.reason
    assert all(math.isnan(v) for v in (fit.a, fit.k, fit.a_error, fit.k_error))


def test_reaches_are_measured_from_the_mid_at_the_buckets_start() -> None:
    second = 10**9
    mid_ns = np.arange(0, 12) * second // 2
    mid = np.array([100.0, 100, 200, 200, 100, 100, 100, 100, 100, 100, 100, 100])
    trade_ns = np.array([second // 10, second // 5, second + 1, 2 * second + 5, 3 * second - 1])
    price = np.array([101.0, 98.0, 202.0, 99.0, 103.0])
    sell = np.array([False, True, False, True, False])
    got = reaches(second, mid_ns, mid, trade_ns, price, sell)
    np.testing.assert_allclose(got, [[0.02, 0.01], [0, 0.01], [0.01, 0.03], [0, 0], [0, 0]], atol=1e-12)


def test_buckets_within_a_gap_of_the_mid_do_not_count() -> None:
    second = 10**9
    mid_ns = np.concatenate([np.arange(0, 10), np.arange(40, 50)]) * second
    none = np.zeros(0, np.int64)
    got = reaches(second, mid_ns, np.full(20, 100.0), none, none.astype(float), none.astype(bool))
    assert got.shape == (9 + 9, 2)


def test_the_fitted_curve_lies_on_the_rates_seen() -> None:
    reach = planted(4000, 2)
    fit = fit_intensity(reach, T)
    for _, seen, fitted in survival(reach, fit, T)[:18]:
        assert fitted == pytest.approx(seen, rel=0.15)
