"""Avellaneda-Stoikov in return units: the formula, its floor and skews, and when slow values are used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.engine_state import QUOTER, SLOW_VALUE
from bot4_live.events import Flag, Mode
from bot4_live.execution.account import ACCOUNT
from bot4_live.execution.orders import ORDERS
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.risk.limits import RISK
from bot4_live.settings import PARAM_IDS, StrategyParams
from bot4_live.strategies.market_making import half_spread, reservation, want

S = 1_000_000_000
BID, ASK = 600_000, 600_001
MID = 600_000.5
FLOOR = 2e-4 + 0.2e-4  # maker fee and adverse selection

CONTEXT = np.dtype(
    [
        ("params_known", "<i8"), ("params", "<f8", (32,)), ("mode", "<i8"), ("hold", "<i8"), ("now_ns", "<i8"),
        ("bid", "<i8"), ("ask", "<i8"), ("orders", ORDERS), ("account", ACCOUNT), ("risk", RISK),
        ("slow", SLOW_VALUE, (16,)), ("quoter", QUOTER), ("model_use", "<i8"), ("predicted", "<i8"),
        ("prediction", "<f8"),
        ("instrument", [(name, "<i8") for name in ("known", "unit_e8", "maker_fee_e8")]),
    ]
)  # fmt: skip


def context(**params: float) -> np.ndarray:
    c = np.zeros(1, CONTEXT)
    for key, value in StrategyParams(**params).pairs():
        c["params"][0, key] = value
    c["params_known"], c["bid"], c["ask"], c["mode"], c["now_ns"] = 1, BID, ASK, Mode.NORMAL, 10_000 * S
    c["instrument"][0] = (1, BTCUSDT_USDM.unit_e8, BTCUSDT_USDM.maker_fee_e8)
    return c


def quotes(c: np.ndarray) -> tuple[int, int]:
    want(c[0])
    return int(c["quoter"]["price"][0, 0]), int(c["quoter"]["price"][0, 1])


def used(c: np.ndarray, name: str) -> float:
    return float(c["quoter"][name][0])


@settings(deadline=None)
@given(
    gamma=st.floats(1e-3, 10), sigma=st.floats(1e-6, 1e-3), tau=st.floats(1, 1e5), k=st.floats(10, 1e6),
    q=st.floats(-1, 1), urgency=st.floats(0, 3),
)  # fmt: skip
def test_the_formula_in_return_units(
    gamma: float, sigma: float, tau: float, k: float, q: float, urgency: float
) -> None:
    variance = sigma**2 * tau
    expected = gamma * variance / 2 + math.log1p(gamma / k) / gamma
    assert half_spread(gamma, sigma, tau, k, 0.0) == pytest.approx(expected, rel=1e-12)
    assert half_spread(gamma, sigma, tau, k, expected + 1e-3) == expected + 1e-3
    r = reservation(60_000.0, q, gamma, sigma, tau, urgency, 0.0)
    assert r == pytest.approx(60_000.0 * (1 - urgency * q * gamma * variance), rel=1e-12)


def test_in_dollars_the_same_numbers_would_be_absurd() -> None:
    """DOMAIN: with gamma 0.1 over 24 h the dollar formula quotes $321,000 wide on BTC; in returns a few bp."""
    wide = half_spread(0.1, 5e-5, 86_400.0, 20_000.0, FLOOR)
    assert 1e-4 < wide < 1e-3


def test_flat_quotes_lie_symmetrically_at_the_floor() -> None:
    c = context()
    bid, ask = quotes(c)
    assert used(c, "half_spread") == pytest.approx(FLOOR)
    assert (bid, ask) == (math.floor(MID * (1 - FLOOR)), math.ceil(MID * (1 + FLOOR)))
    assert c["quoter"]["qty"][0].tolist() == [4, 4]  # 250 USDT in lots of 60
    assert all(int(f) & Flag.POST_ONLY for f in c["quoter"]["flags"][0])


def test_inventory_moves_both_quotes_against_it_and_urgency_scales_that() -> None:
    flat = quotes(context(sigma=5e-4))
    c = context(sigma=5e-4)
    c["account"]["position"] = 40
    long = quotes(c)
    assert long[0] < flat[0]
    assert long[1] < flat[1]
    q = 40 * MID * BTCUSDT_USDM.unit_e8 / 1e8 / 5_000
    assert used(c, "inventory") == pytest.approx(q)
    assert used(c, "reservation") == pytest.approx(MID * (1 - 1.5 * q * 0.1 * 5e-4**2 * 86_400))
    calm = context(sigma=5e-4, urgency=0.0)
    calm["account"]["position"] = 40
    quotes(calm)
    assert used(calm, "reservation") == MID


def test_a_side_rests_at_the_cap() -> None:
    c = context()
    c["account"]["position"] = 80  # 4,800 of 5,000: a quote of 240 more would pass it
    bid, ask = quotes(c)
    assert bid == 0
    assert ask > 0
    c["account"]["position"] = -80
    bid, ask = quotes(c)
    assert bid > 0
    assert ask == 0


def test_quotes_never_cross_however_strong_the_skew() -> None:
    for prediction in (-1e9, 1e9, math.nan):
        c = context(adverse_selection_bp=0.0, sigma=1e-6, intensity_k=1e9, model_skew=100.0)
        c["instrument"]["maker_fee_e8"] = 0
        c["model_use"], c["predicted"], c["prediction"] = 1, 1, prediction
        bid, ask = quotes(c)
        assert 0 < bid < ASK
        assert ask > BID
        assert bid < ask


def test_the_forecast_counts_only_where_the_champion_steers() -> None:
    c = context()
    c["predicted"], c["prediction"] = 1, 1.0  # bp
    still = quotes(c)
    assert still == quotes(context())
    c["model_use"] = 1
    moved = quotes(c)
    assert used(c, "reservation") == pytest.approx(MID * (1 + 0.5 * 1e-4))
    assert moved[0] > still[0]
    assert moved[1] > still[1]
    c["predicted"] = 0
    assert quotes(c) == still
    c["predicted"], c["prediction"] = 1, 1e6  # never more than one half spread
    quotes(c)
    assert used(c, "reservation") == pytest.approx(MID * (1 + FLOOR))


@pytest.mark.parametrize(
    ("event_ns", "value", "usable"),
    [
        (9_000 * S, 1e-4, True),
        (10_000 * S, 1e-4, True),
        (10_000 * S + 1, 1e-4, False),  # from the engine's future
        (10_000 * S - 7_200 * S + 1, 1e-4, True),
        (10_000 * S - 7_200 * S, 1e-4, False),  # too old
        (9_000 * S, 0.0, False),
        (9_000 * S, -1.0, False),
        (9_000 * S, math.inf, False),
        (9_000 * S, math.nan, False),
    ],
)
def test_slow_values_replace_settings_while_they_may_be_used(event_ns: int, value: float, usable: bool) -> None:
    for slow, name, setting in ((0, "sigma", 5e-5), (2, "intensity_k", 20_000.0)):
        c = context()
        c["slow"][0, slow] = (1, event_ns, event_ns, value)
        quotes(c)
        assert used(c, name) == (value if usable else setting)
        c["slow"]["known"][0, slow] = 0
        quotes(c)
        assert used(c, name) == setting


def test_reduce_quotes_only_the_shrinking_side_at_the_best_price() -> None:
    c = context()
    c["mode"], c["account"]["position"] = Mode.REDUCE, 3
    assert quotes(c) == (0, ASK)
    assert c["quoter"]["qty"][0, 1] == 3
    assert int(c["quoter"]["flags"][0, 1]) == Flag.POST_ONLY | Flag.REDUCE_ONLY
    c["account"]["position"] = -50
    assert quotes(c) == (BID, 0)
    assert c["quoter"]["qty"][0, 0] == 4
    c["account"]["position"] = 0
    assert quotes(c) == (0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", Mode.PAUSE), ("mode", Mode.EMERGENCY), ("hold", 1), ("bid", 0), ("params_known", 0)],
)
def test_nothing_is_wanted_when_nothing_may_be_opened(field: str, value: int) -> None:
    c = context()
    assert min(quotes(c)) > 0
    c[field] = value
    assert quotes(c) == (0, 0)


def test_nothing_is_wanted_when_quoting_is_off() -> None:
    c = context()
    c["params"][0, PARAM_IDS["quoting"]] = 0.0
    assert quotes(c) == (0, 0)
