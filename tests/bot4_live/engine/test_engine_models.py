"""Model slots: loading touches only the spare one, a swap is an event, and only a promoted champion skews."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bot4_live import engine_events as ev
from bot4_live.events import Mode
from bot4_live.features.registry import index
from bot4_live.models import bundle


def wait_for_features(rig: Any) -> None:
    rig.configure()
    rig.snapshot()
    for i in range(60):
        rig.quote(600_000 + i % 7, 600_001 + i % 7)
        rig.wait(100)
    assert rig.engine.features_valid


def test_the_prediction_is_the_models_score_of_the_features(rig: Any, bundles: Any, tmp_path: Path) -> None:
    wait_for_features(rig)
    assert math.isnan(rig.engine.prediction)
    digest = bundles.write(tmp_path)
    bundles.swap(rig, tmp_path, digest)
    assert math.isnan(rig.engine.prediction)  # until the next market event
    rig.quote(600_000, 600_001)
    x = rig.engine.features
    expected = 0.05 + 0.8 * (x[index("imbalance_1")] * 2.0) + -0.3 * ((x[index("return_1s")] - 0.1) * 0.5)
    assert rig.engine.prediction == pytest.approx(expected, rel=1e-12)
    assert rig.engine.counters["predictions"] == 1


def test_only_a_champion_that_is_not_the_baseline_moves_quotes(make_rig: Any, bundles: Any, tmp_path: Path) -> None:
    def quotes(weight: float | None, use: bool) -> tuple[float, float]:
        rig = make_rig()
        wait_for_features(rig)
        if weight is not None:
            bundles.swap(rig, tmp_path, bundles.write(tmp_path, weight), use=use)
        rig.push(ev.mode(0, Mode.NORMAL))
        rig.quote(600_002, 600_003)
        rig.push(ev.hold(0, False))
        return rig.engine.quotes["bid"], rig.engine.quotes["reservation"]

    plain = quotes(None, False)
    assert quotes(-0.8, use=False) == plain
    assert quotes(-0.8, use=True)[1] != plain[1]
    assert quotes(-0.8, use=True) != quotes(-0.4, use=True) or quotes(0.8, use=True) != plain


def test_a_swap_to_a_bundle_that_is_not_loaded_uses_none(rig: Any, bundles: Any, tmp_path: Path) -> None:
    wait_for_features(rig)
    bundles.swap(rig, tmp_path, bundles.write(tmp_path))
    rig.push(ev.model_swap(0, 1, "ab" * 32, 4, use=True))
    rig.quote(600_000, 600_001)
    assert rig.engine.counters["model_missing"] == 1
    assert math.isnan(rig.engine.prediction)
    rig.push(ev.model_swap(0, 7, "ab" * 32, 4, use=True))
    assert rig.engine.counters["malformed"] == 1


def test_the_slot_in_use_is_never_loaded(rig: Any, bundles: Any, tmp_path: Path) -> None:
    first, second = bundles.write(tmp_path, 0.8), bundles.write(tmp_path, 0.4)
    rig.configure()
    bundles.swap(rig, tmp_path, first)
    used = int(rig.engine.state["model"][0])
    with pytest.raises(ValueError, match="in use"):
        rig.engine.load_model(used, bundle.load_digest(tmp_path, second))
    rig.engine.load_model(used, bundle.load_digest(tmp_path, first))  # the same one: nothing to do
    with pytest.raises(ValueError, match="no model slot 5"):
        rig.engine.load_model(5, bundle.load_digest(tmp_path, second))
    bundles.swap(rig, tmp_path, second)
    assert rig.engine.spare_slot == used
    assert rig.engine.counters["model_missing"] == 0
