"""Training: the same data give the same bytes, the engine scores them alike, and splits are honoured."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot4_live.features.declared.core import CORE
from bot4_live.models import bundle
from bot4_live.settings import PROJECT_ROOT
from bot4_platform.mlops.config import load_models, load_policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.evaluate import Trained, outer_split, train

Build = Callable[..., Dataset]
MODELS, POLICY = load_models(), load_policy()
BASELINE, TREES = MODELS["baseline"], MODELS["lightgbm"]


def as_bundle(trained: Trained, data: Dataset, folder: Path) -> bundle.Bundle:
    """Write a trained model as a bundle, which checks 100 rows to the bit, and load it."""
    x = data.columns(trained.spec.features)[:: data.rows // bundle.GOLDEN_ROWS][: bundle.GOLDEN_ROWS]
    spec = trained.spec
    info = bundle.BundleInfo(spec.name, 1, spec.kind, spec.features, spec.label, spec.horizon_ns, trained.evidence)
    digest = bundle.write(folder, info, trained.model.file, x, trained.model.predict(x))
    return bundle.load_digest(folder, digest)


@pytest.mark.parametrize("name", ["baseline", "lightgbm"])
def test_the_engine_scores_every_row_as_the_trainer_did(name: str, dataset: Build, tmp_path: Path) -> None:
    data = dataset("planted")
    trained = train(MODELS[name], BASELINE, data, POLICY)
    made = as_bundle(trained, data, tmp_path)
    engine = bundle.score(made, bundle.full_rows(made.info.features, data.columns(made.info.features)))
    own = trained.model.predict(data.columns(made.info.features))
    np.testing.assert_array_equal(engine.view(np.int64), own.view(np.int64))
    assert np.ptp(engine) > 0


@pytest.mark.parametrize("name", ["baseline", "lightgbm"])
def test_the_same_data_give_the_same_digest(name: str, dataset: Build, tmp_path: Path) -> None:
    digests = {
        as_bundle(train(MODELS[name], BASELINE, dataset("planted"), POLICY), dataset("planted"), tmp_path / turn).digest
        for turn in ("one", "two")
    }
    assert len(digests) == 1
    other = dataset("planted", seed=2)
    assert as_bundle(train(MODELS[name], BASELINE, other, POLICY), other, tmp_path).digest not in digests


def test_the_ridge_finds_the_planted_weight(dataset: Build) -> None:
    data = dataset("linear", rows=6000)
    trained = train(BASELINE, BASELINE, data, POLICY)
    assert trained.model.facts["weight_imbalance_1"] == pytest.approx(0.3, abs=0.03)
    assert trained.evidence["model_score"] == trained.evidence["baseline_score"]
    assert trained.evidence["advantage"]["value"] == 0


@pytest.mark.parametrize("name", ["baseline", "lightgbm"])
def test_nothing_of_the_holdout_trains(name: str, dataset: Build) -> None:
    """Change every label and feature from the embargo on: the model's bytes stay as they were."""
    data = dataset("planted")
    split = outer_split(data, POLICY, TREES.horizon_ns)
    first = int(split.train[-1]) + 1
    rng = np.random.default_rng(9)
    x, y = data.x.copy(), data.y.copy()
    x[first:], y[first:] = rng.normal(0, 5, x[first:].shape), rng.normal(0, 5, y[first:].shape)
    changed = Dataset(x, y, data.weight, data.start_ns, data.end_ns, data.seq, data.until_ns)
    one, two = (train(MODELS[name], BASELINE, d, POLICY) for d in (data, changed))
    assert one.model.file == two.model.file
    assert one.evidence["model_score"] != two.evidence["model_score"]
    assert one.fold_skill == two.fold_skill


def test_evidence_is_plain_json_and_says_when(dataset: Build) -> None:
    data = dataset("planted")
    evidence = train(TREES, BASELINE, data, POLICY).evidence
    assert json.loads(json.dumps(evidence)) == evidence
    assert evidence["train_end_ns"] + POLICY.split.embargo_ns <= evidence["holdout_from_ns"]
    assert evidence["holdout_end_ns"] <= evidence["train_until_ns"] == data.until_ns
    assert evidence["train_rows"] + evidence["holdout_rows"] < data.rows  # the embargo takes some
    assert evidence["importance"]["ofi_1s"] + evidence["importance"]["flow_10s"] > 0.5 * sum(
        evidence["importance"].values()
    )


def test_too_little_market_says_what_to_do(dataset: Build) -> None:
    with pytest.raises(ValueError, match="record more of the market"):
        train(TREES, BASELINE, dataset("none", rows=300), POLICY)


def test_the_trees_see_the_core_features_of_the_engine() -> None:
    """A declared subset: a feature more in the registry changes no model until its file names it."""
    assert TREES.features == tuple(feature.name for feature in CORE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["no_such_feature"]}, "unknown feature"),
        ({"trainer": {"num_leaves": 64}}, "num_leaves"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_wrong_model_file_names_the_field(change: dict[str, object], message: str, tmp_path: Path) -> None:
    import yaml

    for path in (PROJECT_ROOT / "mlflow").glob("*.yaml"):
        raw = yaml.safe_load(path.read_text())
        (tmp_path / path.name).write_text(yaml.safe_dump(raw | change if path.stem == "lightgbm" else raw))
    with pytest.raises(ValueError, match=message):
        load_models(tmp_path)
