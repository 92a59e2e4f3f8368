"""What is planted is found and what is noise is not, with fixed seeds; the same input gives the same figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bot4_live.features.registry import NAMES
from bot4_platform.research.catalogue import FIGURES, SIGNALS
from bot4_platform.research.study import EVIDENCE, FEW, NONE, UNSHOWN, Finding, Study, cannot_show, study

ROWS = 3000  # five minutes
Made = Callable[[np.ndarray], Any]
Series = Callable[..., np.ndarray]


def planted(make: Made, autoregression: Series, seed: int, strength: float = 1.0) -> Any:
    """A walk pushed by one signal, volatility that another one leads, and every other column persistent noise."""
    rng = np.random.default_rng(seed)
    drift, calm = autoregression(rng, ROWS), autoregression(rng, ROWS, 0.97)
    steps = strength * drift + 4 * np.exp(0.5 * strength * calm) * rng.standard_normal(ROWS)
    made = make(np.concatenate([[0], np.cumsum(np.round(steps[:-1]))]))
    for name in NAMES:
        made.plant(name, autoregression(rng, ROWS))
    made.plant("imbalance_5", -drift)  # the sign is to be learnt
    made.plant("trade_fano", calm)
    made.plant("spread_ticks", np.ones(ROWS))
    for name in ("wall_bid_bp", "wall_ask_bp", "spoof_bid", "spoof_ask"):
        made.plant(name, np.zeros(ROWS))
    return made.market()


def findings(found: Study) -> dict[str, Finding]:
    return {f.signal.feature: f for f in found.captures[0].findings}


def test_a_planted_signal_is_found_and_noise_is_not(make: Made, autoregression: Series) -> None:
    found = findings(study([planted(make, autoregression, 11)], 1.0))
    assert found["imbalance_5"].verdict == EVIDENCE
    assert found["imbalance_5"].sign == -1
    assert found["imbalance_5"].extra["strongest_fifth_bp"] > 0
    assert found["trade_fano"].verdict == EVIDENCE
    noise = [f for name, f in found.items() if name not in ("imbalance_5", "trade_fano")]
    assert {f.verdict for f in noise} <= {NONE, UNSHOWN, FEW}
    assert sum(f.verdict == NONE for f in noise) >= 15
    for name, reason in (("spread_ticks", "hardly varies"), ("wall_bid_bp", "0 rows with a wall"),
                         ("spoof_ask", "only 0 withdrawals")):  # fmt: skip
        assert found[name].verdict == UNSHOWN
        assert reason in found[name].reason


def test_noise_alone_is_hardly_ever_evidence(make: Made, autoregression: Series) -> None:
    """Ten markets of noise: at most one figure of some two hundred passes."""
    markets = [planted(make, autoregression, seed, strength=0.0) for seed in range(10)]
    verdicts = [f.verdict for market in markets for f in findings(study([market], 1.0)).values()]
    assert verdicts.count(NONE) > 150
    assert verdicts.count(EVIDENCE) <= 1


def test_the_first_half_decides_the_sign_and_the_second_half_the_figure(make: Made, autoregression: Series) -> None:
    """A signal that turns round at the cut is not evidence, however strong it is in either half."""
    market = planted(make, autoregression, 12)
    x = market.x.copy()
    x[ROWS // 2 :, NAMES.index("imbalance_5")] *= -1
    turned = findings(study([replace(market, x=x)], 1.0))["imbalance_5"]
    assert turned.verdict == NONE
    assert turned.estimate is not None
    assert turned.estimate.high < 0


def test_what_follows_does_not_reach_back(make: Made, autoregression: Series) -> None:
    """Changing the last rows changes no figure's calibration: signs and base rates are those of the first half."""
    market = planted(make, autoregression, 13)
    x = market.x.copy()
    x[ROWS // 2 + 1 :] = np.random.default_rng(1).standard_normal(x[ROWS // 2 + 1 :].shape)
    before, after = findings(study([market], 1.0)), findings(study([replace(market, x=x)], 1.0))
    for name, f in after.items():
        assert f.sign == before[name].sign or UNSHOWN in (f.verdict, before[name].verdict), name


def test_a_wall_that_holds(make: Made) -> None:
    """Every other 5 s a wall two ticks below the bid stops the price; asks' walls do not."""
    rng = np.random.default_rng(14)
    path, wall = np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int64)
    for i in range(1, ROWS):
        if i % 100 < 50:
            wall[i] = path[i - 1] - 2 if i % 100 == 0 else wall[i - 1]
        path[i] = path[i - 1] + rng.integers(-1, 2)
        if i % 100 < 50:
            path[i] = max(path[i], wall[i])
    made = make(path)
    mid = 600_000 + path + 0.5
    on = np.arange(ROWS) % 100 < 50
    made.plant("wall_bid_bp", np.where(on, 1e4 * (mid - 600_000 - wall) / mid, 0))
    made.plant("wall_ask_bp", np.where(rng.random(ROWS) < 0.5, 1e4 * 2.5 / mid, 0))
    made.plant("volatility", rng.random(ROWS))
    found = findings(study([made.market()], 1.0))
    bid, ask = found["wall_bid_bp"], found["wall_ask_bp"]
    assert bid.verdict == EVIDENCE
    assert bid.extra["kept"] > bid.extra["kept_without_wall"] + 0.15
    assert ask.verdict in (NONE, FEW)


def test_a_withdrawal_that_precedes_a_fall(make: Made) -> None:
    rng = np.random.default_rng(15)
    at = np.flatnonzero(rng.random(ROWS) < 0.03)
    steps = rng.integers(-3, 4, ROWS)
    for row in at[at < ROWS - 5]:
        steps[row + 1 : row + 4] -= 4
    made = make(np.cumsum(steps))
    for name, rows in (("spoof_bid", at), ("spoof_ask", np.flatnonzero(rng.random(ROWS) < 0.03))):
        values = np.zeros(ROWS)
        for i in range(1, ROWS):
            values[i] = values[i - 1] * 0.99 + 1000 * np.isin(i, rows)
        made.plant(name, values)
    found = findings(study([made.market()], 1.0))
    assert found["spoof_bid"].verdict == EVIDENCE
    assert found["spoof_bid"].extra["after_bp"] > found["spoof_bid"].extra["otherwise_bp"]
    assert found["spoof_ask"].verdict == NONE


def test_a_forecast_of_fills(make: Made, autoregression: Series) -> None:
    """Each 200 ms somebody sells through the bid or it rises, as the forecast says; the ask's forecast is noise."""
    rng = np.random.default_rng(16)
    chance = 1 / (1 + np.exp(-2 * autoregression(rng, ROWS, 0.98)))
    path = np.zeros(ROWS, np.int64)
    sold = np.zeros(ROWS, bool)
    for i in range(1, ROWS):
        path[i] = path[i - 1]
        if i % 2 == 0:
            sold[i] = rng.random() < chance[i]
            path[i] += -1 if sold[i] else 1
    made = make(path)
    for row in np.flatnonzero(sold):
        made.trade(int(row), int(path[row]), -1)
    for row in np.flatnonzero(~sold & (np.arange(ROWS) % 2 == 0))[1:]:
        made.trade(int(row), int(path[row]) + 1, 1)
    made.plant("fill_bid", chance)
    made.plant("fill_ask", rng.random(ROWS))
    found = findings(study([made.market()], 1.0))
    bid, ask = found["fill_bid"], found["fill_ask"]
    assert bid.verdict == EVIDENCE
    assert bid.extra["brier"] < bid.extra["brier_base_rate"] - 0.03
    assert all(abs(b["forecast"] - b["filled"]) < 0.2 for b in bid.extra["reliability"] if b["rows"] > 100)
    assert ask.verdict == NONE
    assert ask.extra["brier"] > ask.extra["brier_calibrated"]


def test_figures_are_reproducible_and_said_to_be_few(make: Made, autoregression: Series) -> None:
    market = planted(make, autoregression, 17)
    found = study([market], 1.0)
    assert found.as_dict() == study([market], 1.0).as_dict()
    assert found.tests == sum(f.estimate is not None for f in found.captures[0].findings)
    said = " ".join(cannot_show(found))
    assert "2.5 minutes of captures, from 1 day (2.5 minutes of MADE on binance_usdm, 2024-08-09)" in said
    assert found.captures[0].day == "2024-08-09"
    assert all("2.5 minutes of MADE" in f.reason for f in found.captures[0].findings if f.verdict in (EVIDENCE, NONE))


def test_a_market_too_short_says_how_long_it_must_be(make: Made) -> None:
    market = make(np.zeros(500)).market()
    with pytest.raises(ValueError, match=r"made: 50 s are too short for a horizon of 1 s: take at least 60 s"):
        study([market], 1.0)


def test_a_market_too_short_is_left_out_beside_a_longer_one(make: Made, autoregression: Series) -> None:
    found = study([make(np.zeros(500)).market(), planted(make, autoregression, 11)], 1.0)
    assert len(found.captures) == len(found.left_out) == 1
    assert "50 s are too short" in found.as_dict()["left_out"][0]


def test_every_signal_is_a_declared_feature_with_a_known_claim() -> None:
    assert {s.feature for s in SIGNALS} <= set(NAMES)
    assert len({s.feature for s in SIGNALS}) == len(SIGNALS)
    assert {s.claim for s in SIGNALS} == set(FIGURES)
    wanted = {"spread", "imbalance", "walls", "spoofing from cancellations", "queue position", "fill probability",
              "large prints", "clustering", "aggressor pressure", "size distribution"}  # fmt: skip
    assert {s.subject for s in SIGNALS} == wanted  # D17, books and trades
