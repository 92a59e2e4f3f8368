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
    sigma_long: float = math.nan  # the same in the long run (unconditional)
    omega: float = math.nan  # in units of (return / scale)^2 per step
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


def fit_garch(returns: np.ndarray, step_s: float, horizon_s: float) -> GarchFit:
    """Return the GARCH(1,1) (Bollerslev 1986) with zero mean and normal errors of `returns`, float64 (n,), one a step.

    `sigma` is the root of the mean forecast variance over `horizon_s`, per square root of a second, since that is what
    quoting until the next fit will meet. Insufficient when there are fewer than 300 returns, when they do not move,
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
    if omega <= 0 or persistence >= 1 - 1e-6:
        return GarchFit(INSUFFICIENT, f"not stationary: alpha + beta = {persistence:.6f}", n)
    last = float(np.asarray(result.conditional_volatility)[-1]) ** 2
    following = omega + alpha * float(returns[-1] * scale) ** 2 + beta * last
    long = omega / (1 - persistence)
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
