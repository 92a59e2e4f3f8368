"""Promotion against a real registry: what is learnt is promoted, noise is refused, aliases and files follow."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bot4_live.models import bundle
from bot4_live.models.current import load_current, read_current
from bot4_live.settings import Settings
from bot4_platform.bundles.export import export, fetch
from bot4_platform.mlops import evidence, registry
from bot4_platform.mlops.config import load_models, load_policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.evaluate import Trained, train
from bot4_platform.mlops.gates import sanity, skilled
from bot4_platform.mlops.promote import Decision, promote, rollback, sole_writer
from bot4_platform.mlops.publish import publish

if TYPE_CHECKING:
    from mlflow import MlflowClient

Build = Callable[..., Dataset]
MODELS, POLICY = load_models(), load_policy()
MODEL = MODELS["baseline"].registered_model


_trained: dict[tuple[str, str], Trained] = {}


def anew(name: str, data: Dataset) -> Trained:
    """Train a model."""
    return train(MODELS[name], MODELS["baseline"], data, POLICY)


def trained(name: str, data: Dataset) -> Trained:
    """Train a model, once for all tests that have the same data."""
    key = name, data.digest()
    if key not in _trained:
        _trained[key] = anew(name, data)
    return _trained[key]


def run(
    settings: Settings, mlflow: "MlflowClient", data: Dataset, make: Callable[[str, Dataset], Trained] = trained
) -> Decision:
    """Register both models, trained on `data`, then promote."""
    for name in MODELS:
        publish(settings, mlflow, make(name, data), data, "test")
    return promote(settings, mlflow, MODEL, data, POLICY, "test")


def aliases(mlflow: "MlflowClient") -> dict[str, int]:
    return dict(mlflow.search_registered_models()[0].aliases)


def test_a_planted_signal_is_promoted_over_the_baseline(
    settings: Settings, mlflow: "MlflowClient", dataset: Build
) -> None:
    decision = run(settings, mlflow, dataset("planted"))
    assert (decision.verdict, decision.why) == ("promoted", "all gates passed")
    assert aliases(mlflow) == {"champion": 2, "previous": 1}
    current, loaded = load_current(settings.models_dir)
    assert (current.version, current.alias, current.baseline) == (2, "champion", False)
    assert loaded.info.version == 2
    assert loaded.info.evidence["advantage"]["low"] > 0
    assert current.digest == decision.champion.digest
    tags = decision.champion.tags
    assert tags["bot4.verdict"] == "promoted"
    assert tags["bot4.who"] == "test"
    assert all(gate["passed"] for gate in json.loads(tags["bot4.gates"]))
    assert decision.train_until_ns == dataset("planted").until_ns


@pytest.mark.parametrize("signal", ["none", "linear"])
def test_without_more_than_the_baseline_knows_it_is_refused(
    signal: str, settings: Settings, mlflow: "MlflowClient", dataset: Build
) -> None:
    decision = run(settings, mlflow, dataset(signal))
    assert decision.verdict == "refused"
    assert "skill_over_baseline" in decision.why
    assert aliases(mlflow) == {"champion": 1, "challenger": 2}
    current = read_current(settings.models_dir)
    assert current is not None
    assert (current.version, current.baseline) == (1, True)
    refused = registry.aliased(mlflow, MODEL, "challenger")
    assert refused is not None
    assert refused.tags["bot4.verdict"] == "refused"


def test_the_same_data_again_change_nothing(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    first = run(settings, mlflow, dataset("planted"))
    again = run(settings, mlflow, dataset("planted"), anew)
    assert again.verdict == "unchanged"
    assert again.current == first.current
    assert len(registry.versions(mlflow, MODEL)) == 2
    assert len(mlflow.search_runs([registry.experiment(mlflow, settings)])) == 2


def test_a_later_challenger_replaces_the_champion_and_rollback_returns(
    settings: Settings, mlflow: "MlflowClient", dataset: Build
) -> None:
    first = run(settings, mlflow, dataset("planted"))
    later = run(settings, mlflow, dataset("planted", rows=2600, seed=5))
    assert later.verdict == "promoted", later.why
    assert "not_below_champion" in [gate.name for gate in later.gates]
    assert aliases(mlflow) == {"champion": 4, "previous": 2}
    evidence.save(settings, later)
    assert evidence.load(settings)["champion"]["version"] == 4
    back = rollback(settings, mlflow, MODEL, "forecasts drifted", "test")
    shown = evidence.load(settings)
    assert (shown["model_version"], shown["champion"]["version"]) == (2, 2)
    assert shown["champion"]["data_digest"] == dataset("planted").digest()
    assert shown["challenger"]["version"] == 4
    assert back == first.current
    assert read_current(settings.models_dir) == first.current
    assert aliases(mlflow) == {"champion": 2, "previous": 4}
    returned = registry.aliased(mlflow, MODEL, "champion")
    assert returned is not None
    assert returned.tags["bot4.why"] == "rollback from v4: forecasts drifted"
    assert rollback(settings, mlflow, MODEL, "better after all", "test").version == 4


def test_rollback_needs_a_previous_champion(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    run(settings, mlflow, dataset("none"))
    with pytest.raises(ValueError, match="no previous champion"):
        rollback(settings, mlflow, MODEL, "why not", "test")


def test_an_alias_moved_by_hand_is_not_exported(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    run(settings, mlflow, dataset("none"))
    before = read_current(settings.models_dir)
    mlflow.set_registered_model_alias(MODEL, "champion", "2")  # the refused one
    with pytest.raises(ValueError, match=r"did not pass .*skill_over_baseline"):
        export(settings, mlflow, MODEL)
    mlflow.set_model_version_tag(MODEL, "2", "bot4.gates", "[]")
    with pytest.raises(ValueError, match="moved by hand"):
        export(settings, mlflow, MODEL)
    with pytest.raises(ValueError, match="moved by hand"):
        promote(settings, mlflow, MODEL, dataset("none"), POLICY, "test")
    assert read_current(settings.models_dir) == before


def test_a_damaged_artifact_is_refused(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    data = dataset("planted")
    for name in MODELS:
        version = publish(settings, mlflow, trained(name, data), data, "test")
    stored = registry.artifact_root(settings) / version.run_id / "artifacts" / "bundle" / "model.txt"
    stored.write_text(stored.read_text().replace("leaf_value=", "leaf_value=1"))
    decision = promote(settings, mlflow, MODEL, data, POLICY, "test")
    assert decision.verdict == "refused"
    assert "golden_rows" in decision.why
    assert decision.current.baseline


def test_each_limit_refuses_by_itself(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    data = dataset("planted")
    version = publish(settings, mlflow, trained("lightgbm", data), data, "test")
    candidate = fetch(mlflow, version, settings.models_dir)
    limits = {"size": ("max_bytes", 1000), "magnitude": ("max_abs_bp", 0.001), "latency": ("max_score_us", 1e-6),
              "blocks": ("min_blocks", 10_000), "skill": ("min_skill", 0.999),
              "skill_over_baseline": ("min_advantage", 0.999), "folds_won": ("min_folds_won", 1.0)}  # fmt: skip
    assert all(gate.passed for gate in sanity(candidate, data, POLICY) + skilled(candidate, data, POLICY))
    for name, (field, limit) in limits.items():
        strict = POLICY.model_copy(update={"gates": POLICY.gates.model_copy(update={field: limit})})
        gates = sanity(candidate, data, strict) + skilled(candidate, data, strict)
        assert [gate.name for gate in gates if not gate.passed] == [name]


def test_promotion_on_other_data_than_trained_is_refused(
    settings: Settings, mlflow: "MlflowClient", dataset: Build
) -> None:
    run(settings, mlflow, dataset("none"))
    data = dataset("planted")
    publish(settings, mlflow, trained("lightgbm", data), data, "test")
    decision = promote(settings, mlflow, MODEL, dataset("planted", seed=8), POLICY, "test")
    assert decision.verdict == "refused"
    assert "same_data" in decision.why


def test_evidence_needs_a_promotion(settings: Settings) -> None:
    with pytest.raises(ValueError, match="materialize the asset champion first"):
        evidence.load(settings)


def test_one_writer_at_a_time(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    with sole_writer(settings), pytest.raises(ValueError, match="under way"):
        promote(settings, mlflow, MODEL, dataset("none"), POLICY, "test")


def test_artifacts_are_text_and_images(settings: Settings, mlflow: "MlflowClient", dataset: Build) -> None:
    run(settings, mlflow, dataset("planted"))
    names = sorted(p.name for p in registry.artifact_root(settings).rglob("*") if p.is_file())
    assert {name.rpartition(".")[2] for name in names} == {"json", "txt", "png"}
    assert names.count("bundle.json") == 2
    assert names.count("calibration.png") == 2
    for image in registry.artifact_root(settings).rglob("*.png"):
        assert image.read_bytes().startswith(b"\x89PNG")
    version = registry.versions(mlflow, MODEL)[1]
    with registry.bundle_folder(mlflow, version) as folder:
        assert bundle.load(folder).info.kind == "lightgbm"
    assert mlflow.get_run(version.run_id).data.metrics["fold.skill"] > 0
