"""GARCH(1,1) on 250 ms mid returns: a volatility, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

OK, INSUFFICIENT = "ok", "insufficient"
MIN_RETURNS = 300
# (alpha, beta) the optimiser starts from; arch's own choice first, since SLSQP at times stops on a line search.
STARTS: tuple[tuple[float, float] | None, ...] = (None, (0.05, 0.90), (0.15, 0.60))


@dataclass(frozen=True)
class GarchFit:
    """A fit. With `status` insufficient every number but `n` is nan and `reason` says why; never a made-up number."""

    status: str
    reason: str
    n: int
    sigma: float = math.nan  # return per sqrt(second), over the forecast horizon
    sigma_next: float = math.nan  # the same for the next step only
    sigma_long: float = math.nan  # the same in the long run: the sample's
    omega: float = math.nan  # per step, of returns times `scale`
    alpha: float = math.nan
    beta: float = math.nan
    scale: float = math.nan  # what returns were multiplied by before the fit


def mean_variance(next_variance: float, long_variance: float, persistence: float, steps: int) -> float:
    """Return the mean of the forecast variances 1..steps of a GARCH(1,1).

    E[s2(t+h)] = long + persistence^(h-1) * (s2(t+1) - long), persistence = alpha + beta: Bollerslev 1986, J. of
    Econometrics 31(3), from equation 3 by iterated expectation; the mean is its geometric sum.
    """
    excess = next_variance - long_variance
    return long_variance + excess * (1 - persistence**steps) / (steps * (1 - persistence))


def next_variance(returns: np.ndarray, omega: float, alpha: float, beta: float, first: float) -> float:
    """Return the variance forecast for the step after `returns`: the recursion of Bollerslev 1986, equation 2."""
    variance = first
    for squared in (returns**2).tolist():
        variance = omega + alpha * squared + beta * variance
    return variance


def fit_garch(returns: np.ndarray, step_s: float, horizon_s: float) -> GarchFit:
    """Return the GARCH(1,1) (Bollerslev 1986) with zero mean and normal errors of `returns`, float64 (n,), one a step.

    Alpha and beta are arch's quasi maximum likelihood; the long-run variance is the sample's (variance targeting, Engle
    & Mezrich 1996, Risk 9; Francq, Horvath & Zakoian 2011, J. of Financial Econometrics 9(4)): with 81 % of the returns
    zero, likelihood put it at 4.1 times the sample's on 200 s of BTC, and the forecast lives on it. `sigma` is the root
    of the mean forecast variance over `horizon_s`, per square root of a second, since that is what quoting until the
    next fit will meet. Insufficient when there are fewer than 300 returns, when they do not move,
    when the optimiser does not converge, or when the fit is not stationary (alpha + beta >= 1).
    """
    n = int(returns.size)
    if n < MIN_RETURNS:
        return GarchFit(INSUFFICIENT, f"{n} returns, {MIN_RETURNS} are needed", n)
    if not bool(np.isfinite(returns).all()):
        return GarchFit(INSUFFICIENT, "returns that are not finite", n)
    deviation = float(np.sqrt(np.mean(returns**2)))
    if deviation == 0 or int(np.count_nonzero(returns)) < MIN_RETURNS // 10:
        return GarchFit(INSUFFICIENT, f"{int(np.count_nonzero(returns))} of {n} returns move: nothing to fit", n)
    import warnings

    from arch import arch_model

    scale = 1.0 / deviation  # the optimiser wants numbers near 1
    model = arch_model(returns * scale, mean="Zero", vol="GARCH", p=1, q=1, dist="normal", rescale=False)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what they would say is judged below
        for start in STARTS:
            given = None if start is None else np.array([1 - sum(start), *start])
            result = model.fit(starting_values=given, disp="off", show_warning=False)
            if result.convergence_flag == 0:
                break
    omega, alpha, beta = (float(result.params[name]) for name in ("omega", "alpha[1]", "beta[1]"))
    if result.convergence_flag != 0 or not np.isfinite([omega, alpha, beta]).all():
        return GarchFit(INSUFFICIENT, f"no convergence (optimiser flag {result.convergence_flag})", n)
    persistence = alpha + beta
    if omega < 0 or alpha < 0 or beta < 0 or persistence >= 1 - 1e-6:
        return GarchFit(INSUFFICIENT, f"not stationary: alpha + beta = {persistence:.6f}", n)
    long = 1.0  # the sample variance of the scaled returns: variance targeting, see the docstring
    omega = long * (1 - persistence)
    following = next_variance(returns * scale, omega, alpha, beta, long)
    steps = max(1, round(horizon_s / step_s))
    unit = 1.0 / (scale * math.sqrt(step_s))
    return GarchFit(
        status=OK,
        reason="",
        n=n,
        sigma=math.sqrt(mean_variance(following, long, persistence, steps)) * unit,
        sigma_next=math.sqrt(following) * unit,
        sigma_long=math.sqrt(long) * unit,
        omega=omega,
        alpha=alpha,
        beta=beta,
        scale=scale,
    )
