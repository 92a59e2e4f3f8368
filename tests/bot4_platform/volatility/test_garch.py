"""GARCH: recovers what was planted, or says insufficient and gives no number."""

import math
from functools import partialmethod

import numpy as np
import pytest

from bot4_platform.defs.volatility.garch import GarchFit, fit_garch, mean_variance, next_variance


def simulate(n: int, omega: float, alpha: float, beta: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out, variance = np.empty(n), omega / (1 - alpha - beta)
    for i in range(n):
        out[i] = math.sqrt(variance) * rng.normal()
        variance = omega + alpha * out[i] ** 2 + beta * variance
    return out


def no_number(fit: GarchFit) -> bool:
    numbers = (fit.sigma, fit.sigma_next, fit.sigma_long, fit.omega, fit.alpha, fit.beta)
    return fit.status == "insufficient" and all(math.isnan(v) for v in numbers) and bool(fit.reason)


def test_planted_volatility_is_found_in_return_per_root_second() -> None:
    step, long_run = 2e-6, 2e-6 / math.sqrt(0.25)
    returns = simulate(6000, step**2 * 0.05, 0.10, 0.85, 3)
    fit = fit_garch(returns, 0.25, 3600)
    assert fit.status == "ok"
    assert fit.sigma_long == pytest.approx(long_run, rel=0.15)
    assert fit.sigma == pytest.approx(long_run, rel=0.15)
    assert (fit.alpha, fit.beta) == (pytest.approx(0.10, abs=0.05), pytest.approx(0.85, abs=0.08))


def test_the_scale_of_prices_does_not_matter() -> None:
    returns = simulate(2000, 5e-14, 0.1, 0.85, 4)
    one, thousand = fit_garch(returns, 0.25, 900), fit_garch(returns * 1000, 0.25, 900)
    assert thousand.sigma == pytest.approx(1000 * one.sigma, rel=1e-6)


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (np.full(299, 1e-6), "299 returns, 300 are needed"),
        (np.zeros(5000), "0 of 5000 returns move"),
        (np.r_[np.zeros(1000), 1e-5], "1 of 1001 returns move"),
        (np.r_[np.full(400, 1e-6), np.nan], "not finite"),
    ],
)
def test_insufficient_is_never_a_number(returns: np.ndarray, reason: str) -> None:
    fit = fit_garch(returns, 0.25, 900)
    assert no_number(fit)
    assert reason in fit.reason


def test_no_convergence_is_insufficient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimiser that may go one step, whichever data end it early depends on the last bits of its libraries."""
    from arch.univariate.base import ARCHModel

    one_step = partialmethod(ARCHModel.fit, options={"maxiter": 1})
    monkeypatch.setattr(ARCHModel, "fit", one_step)
    fit = fit_garch(simulate(2000, 5e-14, 0.1, 0.85, 4), 0.25, 900)
    assert no_number(fit)
    assert "no convergence" in fit.reason


def test_a_variance_without_a_mean_is_insufficient() -> None:
    """Alpha + beta of 1.1: there is no long run to forecast."""
    rng = np.random.default_rng(0)
    variance, returns = 1.0, []
    for _ in range(2000):
        returns.append(math.sqrt(variance) * rng.normal())
        variance = 0.01 + 0.5 * returns[-1] ** 2 + 0.6 * variance
    fit = fit_garch(np.array(returns), 0.25, 900)
    assert no_number(fit)
    assert "not stationary" in fit.reason


def test_mean_forecast_variance_equals_the_recursion() -> None:
    omega, alpha, beta, following = 0.05, 0.1, 0.8, 2.0
    value, path = following, []
    for _ in range(50):
        path.append(value)
        value = omega + (alpha + beta) * value
    assert mean_variance(following, omega / 0.1, alpha + beta, 50) == pytest.approx(np.mean(path))


def test_the_next_variance_equals_archs_forecast() -> None:
    from arch import arch_model

    returns = simulate(800, 0.05, 0.1, 0.85, 6)
    fixed = arch_model(returns, mean="Zero", vol="GARCH", rescale=False).fix([0.05, 0.1, 0.85])
    ours = next_variance(returns, 0.05, 0.1, 0.85, 1.0)
    assert ours == pytest.approx(float(fixed.forecast(horizon=1).variance.iloc[-1, 0]), rel=1e-9)


def test_mostly_unmoved_returns_keep_the_level_of_the_sample() -> None:
    """Four in five returns are zero, as in a real book: sigma stays at the sample's level."""
    rng = np.random.default_rng(4)
    returns = np.where(rng.random(800) < 0.8, 0.0, rng.standard_t(3, 800) * 3e-5)
    fit = fit_garch(returns, 0.25, 900)
    assert fit.status == "ok"
    assert fit.sigma == pytest.approx(2 * float(np.sqrt(np.mean(returns**2))), rel=0.1)
