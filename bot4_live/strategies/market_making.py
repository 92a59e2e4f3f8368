"""Market making after Avellaneda & Stoikov (2008), in return units.

High-frequency trading in a limit order book, Quantitative Finance 8(3), 217-224: reservation price and optimal spread
of section 3.2 with the price of arithmetic Brownian motion replaced by returns, so that gamma, sigma and k have no
dollars in them:

    reservation r = s * (1 - urgency * q * gamma * sigma^2 * tau + forecast)
    half spread   = gamma * sigma^2 * tau / 2 + (1 / gamma) * ln(1 + gamma / k)      (a fraction of s)

s is mid, q = inventory / cap in -1..1, tau a constant rolling horizon (a countdown kills the skew), k the decay of the
fill intensity A exp(-k delta) with delta a fraction of s. The half spread is never below maker fee plus expected
adverse selection. The forecast is the model's, only where a promoted champion steers, and never more than one half
spread: a model may lean the quotes, not take the market.

`s` is a numba Record of engine_state.STATE. Quotes are wishes; `bot4_live.step` turns them into commands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.events import Flag, Mode
from bot4_live.instrument import E8
from bot4_live.kernels import log1p
from bot4_live.risk.limits import position_cap_e8
from bot4_live.settings import PARAM_IDS

GAMMA, HORIZON, URGENCY = PARAM_IDS["gamma"], PARAM_IDS["horizon_s"], PARAM_IDS["urgency"]
K, SIGMA, ADVERSE = PARAM_IDS["intensity_k"], PARAM_IDS["sigma"], PARAM_IDS["adverse_selection_bp"]
QUOTE_NOTIONAL, CAP, SKEW = PARAM_IDS["quote_notional"], PARAM_IDS["inventory_cap"], PARAM_IDS["model_skew"]
QUOTING, TTL = PARAM_IDS["quoting"], PARAM_IDS["slow_ttl_s"]
SLOW_SIGMA, SLOW_K = 0, 2  # ids of settings.SLOW_FEATURES
_NORMAL, _REDUCE = int(Mode.NORMAL), int(Mode.REDUCE)
_POST_ONLY, _REDUCE_ONLY = int(Flag.POST_ONLY), int(Flag.REDUCE_ONLY)


@njit(cache=True)
def reservation(mid: float, q: float, gamma: float, sigma: float, tau: float, urgency: float, forecast: float) -> float:
    """Return the reservation price, in the unit of `mid`; `forecast` is an expected return (fraction)."""
    return mid * (1.0 - urgency * q * gamma * sigma * sigma * tau + forecast)


@njit(cache=True)
def half_spread(gamma: float, sigma: float, tau: float, k: float, floor: float) -> float:
    """Return the optimal half spread as a fraction of mid, never below `floor`."""
    return max(gamma * sigma * sigma * tau / 2.0 + log1p(gamma / k) / gamma, floor)


@njit(cache=True)
def slow_or(s: Any, slow: int, default: float) -> float:
    """Return a slow feature's value while it may be used, else `default`.

    It may be used when its event time is not in the engine's future and younger than `slow_ttl_s`.
    """
    v = s.slow[slow]
    if v.known == 0 or not 0.0 < v.value < np.inf or v.event_ns > s.now_ns:
        return default
    if (s.now_ns - v.event_ns) * 1e-9 >= s.params[TTL]:
        return default
    return v.value


@njit(cache=True)
def _set(q: Any, row: int, price: Any, qty: Any, flags: int) -> None:
    q.price[row] = price if qty > 0 else 0
    q.qty[row] = qty
    q.flags[row] = flags


@njit(cache=True)
def _room(s: Any, side: int, lot_value: float) -> int:
    """Return the lots that may be added on `side` before the position cap."""
    cap = np.int64(position_cap_e8(s) / lot_value)
    return max(cap - s.account.position * side, 0)


@njit(cache=True)
def _unwind(s: Any, bid: Any, ask: Any, lots: Any) -> None:
    """REDUCE: only the side that shrinks the position, at the best price or better for the other side."""
    position = s.account.position
    q = s.quoter
    flags = _POST_ONLY | _REDUCE_ONLY
    if position > 0:
        _set(q, 1, min(ask, s.ask), min(lots, position), flags)
    elif position < 0:
        _set(q, 0, max(bid, s.bid), min(lots, -position), flags)


@njit(cache=True)
def want(s: Any) -> None:
    """Set the wanted quotes in `s.quoter`; a price of 0 means none on that side.

    None at all without a usable book or settings, in HOLD, PAUSE and EMERGENCY, or when `quoting` is 0.
    """
    q = s.quoter
    _set(q, 0, 0, 0, 0)
    _set(q, 1, 0, 0, 0)
    if s.bid <= 0 or s.params_known == 0 or s.instrument.known == 0 or s.hold != 0 or s.params[QUOTING] == 0.0:
        return
    if s.mode != _NORMAL and s.mode != _REDUCE:
        return
    p = s.params
    mid = 0.5 * (s.bid + s.ask)
    lot_value = mid * s.instrument.unit_e8
    q.sigma = slow_or(s, SLOW_SIGMA, p[SIGMA])
    q.intensity_k = slow_or(s, SLOW_K, p[K])
    q.inventory = s.account.position * lot_value / (p[CAP] * E8)
    floor = s.instrument.maker_fee_e8 / E8 + p[ADVERSE] * 1e-4
    q.half_spread = half_spread(p[GAMMA], q.sigma, p[HORIZON], q.intensity_k, floor)
    forecast = 0.0
    if s.model_use == 1 and s.predicted == 1 and -np.inf < s.prediction < np.inf:
        forecast = min(max(p[SKEW] * s.prediction * 1e-4, -q.half_spread), q.half_spread)
    q.reservation = reservation(mid, q.inventory, p[GAMMA], q.sigma, p[HORIZON], p[URGENCY], forecast)
    # Post-only: never at or through the best opposite price.
    bid = min(np.int64(np.floor(q.reservation - q.half_spread * mid)), s.ask - 1)
    ask = max(np.int64(np.ceil(q.reservation + q.half_spread * mid)), s.bid + 1)
    lots = np.int64(p[QUOTE_NOTIONAL] * E8 / lot_value)
    if s.mode == _REDUCE:
        _unwind(s, bid, ask, lots)
        return
    # At the cap a side rests; a size below the instrument's minimum is a wish too: the risk gate refuses and counts it.
    if bid > 0 and _room(s, 1, lot_value) >= lots:
        _set(q, 0, bid, max(lots, 1), _POST_ONLY)
    if _room(s, -1, lot_value) >= lots:
        _set(q, 1, ask, max(lots, 1), _POST_ONLY)
