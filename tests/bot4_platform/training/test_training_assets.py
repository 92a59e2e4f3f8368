"""Training and promotion as Dagster runs them, over a lake of features: lineage, checks, both outcomes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from bot4_live.features.registry import NAMES
from bot4_live.models.current import load_current
from bot4_live.settings import Settings
from bot4_platform.defs import promotion, training
from bot4_platform.lake import Lake
from bot4_platform.mlops import evidence, files
from bot4_platform.partitions import MarketDay
from bot4_platform.resources import Bot4Resource

PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
STEP = 100_000_000
ASSETS = ("labels", "training_set", "baseline_model", "lightgbm_model", "champion")


def fill(settings: Settings, planted: bool, rows: int = 2000, seed: int = 3) -> pl.DataFrame:
    """Write a day of features; when `planted`, the mid drifts by a product of two of them for the next second."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, len(NAMES)))
    regime = np.cumsum(rng.random(rows) < 1 / 40)  # about 4 s each
    for name in ("ofi_1s", "flow_10s"):
        x[:, NAMES.index(name)] += 3 * rng.choice([-1.0, 1.0], regime[-1] + 1)[regime]
    drift = np.sign(x[:, NAMES.index("ofi_1s")] * x[:, NAMES.index("flow_10s")]) * 1e-5 * planted
    mid = 60_000 * np.exp(np.concatenate([[0], np.cumsum(drift + rng.normal(0, 1e-5, rows))[:-1]]))
    mid = np.round(mid, 2)
    x[:, NAMES.index("spread_bp")] = 0.02
    recv = PART.start_ns + 10**12 + np.arange(rows) * STEP
    valid = np.ones(rows, bool)
    valid[:30] = False
    valid[900:905] = False
    frame = pl.DataFrame(
        {
            "seq": np.arange(rows) * 7 + 3, "recv_ns": recv, "exch_ns": recv, "valid": valid,
            "mid2": np.round(mid * 20).astype(np.int64), "mid": mid, **dict(zip(NAMES, x.T, strict=True)),
        }
    )  # fmt: skip
    Lake(settings.lake_dir).write("features", *PART, frame)
    return frame


def run(settings: Settings, until_ns: int = 0) -> dg.ExecuteInProcessResult:
    parts = [training.definitions(), promotion.definitions()]
    everything = [thing for part in parts for thing in [*(part.assets or []), *(part.asset_checks or [])]]
    return dg.materialize(
        everything,
        resources={"bot4": Bot4Resource.of(settings)},
        run_config={"ops": {"labels": {"config": {"until_ns": until_ns}}}},
        raise_on_error=False,
    )


@pytest.fixture
def settings(tmp_path: Path, empty_registry: Callable[[Settings], None]) -> Settings:
    found = Settings(var=tmp_path)
    empty_registry(found)
    return found


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_from_features_to_a_champion_through_feast(settings: Settings) -> None:
    grid = fill(settings, planted=True)
    result = run(settings)
    assert result.success
    checks = result.get_asset_check_evaluations()
    assert all(check.passed for check in checks)
    assert {str(check.asset_key.to_user_string()) for check in checks} == set(ASSETS)
    shown = metadata(result, "champion")
    assert (shown["verdict"], shown["champion_version"]) == ("promoted", 2)
    assert shown["train_until_ns"] == grid["recv_ns"].max()
    current, loaded = load_current(settings.models_dir)
    assert not current.baseline
    assert loaded.info.evidence["train_until_ns"] == grid["recv_ns"].max()
    joined, about = files.read(files.training_set_path(settings))
    assert about["data_digest"] == loaded.info.evidence["data_digest"]
    # 1970 and 2 x 10 unfinished or crossing: 30 invalid at the start, 5 with the 10 before them in the middle.
    assert joined.height == 2000 - 30 - 5 - 10 - 10
    assert "![importance](data:image/png;base64," in str(metadata(result, "lightgbm_model")["importance"])

    found = evidence.load(settings)
    assert (found["model_version"], found["model_alias"], found["verdict"]) == (2, "champion", "promoted")
    assert found["model_score"] > found["baseline_score"]
    assert found["challenger"]["advantage"]["low"] > 0
    assert len(found["challenger"]["fold_skill"]) == 5
    assert all(gate["passed"] for gate in found["gates"])
    assert all(Path(path).is_file() for path in found["challenger"]["plots"].values())
    assert len(found["challenger"]["plots"]) == 5

    again = run(settings)
    assert again.success
    assert metadata(again, "champion")["verdict"] == "unchanged"
    assert metadata(again, "champion")["digest"] == current.digest
    assert evidence.load(settings)["gates"] == found["gates"]


def test_a_refusal_is_green_and_keeps_the_baseline(settings: Settings) -> None:
    grid = fill(settings, planted=False)
    until = int(grid["recv_ns"][1499])
    result = run(settings, until)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    shown = metadata(result, "champion")
    assert (shown["verdict"], shown["champion_version"], shown["champion_is_baseline"]) == ("refused", 1, True)
    assert "skill_over_baseline" in str(shown["why"])
    assert "REFUSED" in str(shown["gates"])
    # Nothing after the cut was used.
    assert shown["train_until_ns"] == until
    table, _ = files.read(files.labels_path(settings))
    assert table["end_ns"].max() == until
    found = evidence.load(settings)
    assert found["is_baseline"]
    assert not all(gate["passed"] for gate in found["gates"])


def test_a_label_from_the_future_stops_what_is_downstream(settings: Settings) -> None:
    """The lake changes under the labels: the blocking check sees it, and no model is trained."""
    fill(settings, planted=True)
    parts = training.definitions()
    labels = next(a for a in parts.assets or [] if a.key.path == ["labels"])  # type: ignore[union-attr]
    assert dg.materialize([labels], resources={"bot4": Bot4Resource.of(settings)}).success
    table, about = files.read(files.labels_path(settings))
    moved = table.with_columns(label=pl.col("label").shift(-1).fill_null(0.0))

    @dg.asset(name="labels")
    def damaged() -> None:
        files.write(files.labels_path(settings), moved, about)

    others = [a for a in parts.assets or [] if a is not labels]
    result = dg.materialize(
        [damaged, *others, *(parts.asset_checks or [])],
        resources={"bot4": Bot4Resource.of(settings)},
        raise_on_error=False,
    )
    assert not result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("labels_are_finished", False)
    assert not result.asset_materializations_for_node("training_set")


def test_nothing_to_train_on_says_what_to_do(settings: Settings) -> None:
    result = run(settings)
    assert not result.success
    failure = result.failure_data_for_node("labels")
    assert failure is not None
    assert "materialize the asset features first" in str(failure.error)


def test_definitions_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from bot4_platform.defs import volatility, training, promotion\n"
        "for domain in (volatility, training, promotion): domain.definitions()\n"
        "print([m for m in ('mlflow', 'lightgbm', 'arch', 'feast', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"


def test_retraining_is_weekly_and_off() -> None:
    schedule = training.definitions().schedules[0]  # type: ignore[index]
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
