"""Bundles: what is written can be loaded; anything changed, missing, added or scored differently is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot4_live.features import registry
from bot4_live.features.registry import CAPACITY, NAMES, index
from bot4_live.models import bundle as bundles
from bot4_live.models.bundle import BundleInfo, digest_words, load, load_digest, score, words_digest, write
from bot4_live.models.current import Current, load_current, read_current, write_current
from bot4_live.models.layout import new_slot
from bot4_live.models.linear import LinearModel
from bot4_live.models.predict import predict

FEATURES = ("imbalance_1", "return_1s", "flow_1s")
LINEAR = LinearModel(FEATURES, (0.5, -1.25, 1e-5), (0.1, 0.0, 30.0), (0.3, 2.0, 1e4), 0.01)


def linear_bundle(models: Path, version: int = 1, model: LinearModel = LINEAR) -> str:
    rows = np.random.default_rng(version).normal(size=(100, 3))
    terms = [(rows[:, k] - model.means[k]) * (1.0 / model.scales[k]) for k in range(3)]
    expected = model.intercept + terms[0] * model.weights[0]
    expected = expected + model.weights[1] * terms[1]
    expected = expected + model.weights[2] * terms[2]
    info = BundleInfo("baseline", version, "linear", FEATURES, "mid_return_bp", 10**9, {"skill": 0.0})
    return write(models, info, model.encode(), rows, expected)


def test_a_linear_bundle_comes_back(tmp_path: Path) -> None:
    digest = linear_bundle(tmp_path)
    found = load_digest(tmp_path, digest)
    assert found.model == LINEAR
    assert found.info.features == FEATURES
    assert found.info.evidence == {"skill": 0.0}
    slot = new_slot()
    found.fill(slot)
    assert slot[0]["version"] == 1
    x = np.zeros(CAPACITY)
    x[index("return_1s")] = 4.0
    x[index("imbalance_1")] = 0.1
    x[index("flow_1s")] = 30.0
    assert predict(slot[0], x) == pytest.approx(0.01 - 1.25 * 2.0, abs=1e-12)
    assert linear_bundle(tmp_path) == digest  # the same bytes, the same place
    assert [p.name for p in tmp_path.iterdir()] == ["sha256"]
    assert linear_bundle(tmp_path, version=2) != digest


def test_a_lightgbm_bundle_comes_back(tmp_path: Path, booster: tuple[Any, np.ndarray]) -> None:
    model, rows = booster
    golden = rows[:100].copy()
    golden[3, 2] = np.nan
    info = BundleInfo("trees", 2, "lightgbm", NAMES, "mid_return_bp", 10**9)
    text = model.model_to_string().encode()
    digest = write(tmp_path, info, text, golden, model.predict(golden, raw_score=True))
    found = load(tmp_path / "sha256" / digest)
    scores = score(found, bundles.full_rows(NAMES, rows))
    np.testing.assert_array_equal(scores, model.predict(rows, raw_score=True))
    wrong = model.predict(golden, raw_score=True)
    wrong[17] = np.nextafter(wrong[17], 1.0)
    with pytest.raises(ValueError, match="golden row 17"):
        write(tmp_path, info, text, golden, wrong)
    shuffled = BundleInfo("trees", 2, "lightgbm", NAMES[::-1], "mid_return_bp", 10**9)
    with pytest.raises(ValueError, match="other features"):
        write(tmp_path, shuffled, text, golden, wrong)


@pytest.mark.parametrize("name", ["bundle.json", "linear.json", "golden.json"])
def test_a_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    data = bytearray((path / name).read_bytes())
    data[-3] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} was changed"):
        load(path)


@pytest.mark.parametrize("name", ["bundle.json", "linear.json", "golden.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    (path / name).unlink()
    with pytest.raises(ValueError, match=r"missing|nothing else"):
        load(path)


def test_a_pickle_beside_is_refused_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    (path / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="nothing else"):
        load(path)


def rewrite(path: Path, change: dict[str, Any]) -> Path:
    """Change a manifest and give the folder its new, right digest: only deeper checks can refuse it."""
    import hashlib

    manifest = json.loads((path / "bundle.json").read_bytes())
    data = json.dumps({**manifest, **change}).encode()
    (path / "bundle.json").write_bytes(data)
    return path.rename(path.parent / hashlib.sha256(data).hexdigest())


def test_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    assert load(rewrite(path, {"evidence": {}})).info.evidence == {}
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    with pytest.raises(ValueError, match="another feature layout"):
        load(rewrite(path, {"layout_hash": "0" * 64}))
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    with pytest.raises(ValueError, match="unknown"):
        load(rewrite(path, {"kind": "pickle"}))
    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    with pytest.raises(ValueError, match="lacks"):
        load(rewrite(path, {"files": None}))
    monkeypatch.setattr(registry, "FEATURES", registry.FEATURES[::-1])
    registry.layout_hash.cache_clear()
    try:
        with pytest.raises(ValueError, match="another feature layout"):
            load(tmp_path / "sha256" / linear_bundle_digest(tmp_path))
    finally:
        registry.layout_hash.cache_clear()


def linear_bundle_digest(models: Path) -> str:
    """Return the digest of the one untouched bundle in `models`."""
    for path in (models / "sha256").iterdir():
        if json.loads((path / "bundle.json").read_bytes()).get("evidence") == {}:
            return path.name
    raise AssertionError("no bundle")


def test_golden_rows_are_scored_on_load(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "sha256" / linear_bundle(tmp_path)
    golden = json.loads((path / "golden.json").read_bytes())
    golden["scores"][99] = float(np.nextafter(golden["scores"][99], 0.0))
    data = json.dumps(golden).encode()
    (path / "golden.json").write_bytes(data)
    files = json.loads((path / "bundle.json").read_bytes())["files"]
    files["golden.json"] = hashlib.sha256(data).hexdigest()
    with pytest.raises(ValueError, match="golden row 99"):
        load(rewrite(path, {"files": files}))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": (1.0,)},
        {"scales": (0.0, 1.0, 1.0)},
        {"weights": (float("nan"), 1.0, 1.0)},
        {"features": ("imbalance_1", "return_1s", "no_such")},
    ],
)
def test_a_wrong_linear_model_is_refused(change: dict[str, Any]) -> None:
    raw = {**json.loads(LINEAR.encode()), **change}
    with pytest.raises(ValueError, match=r"linear model|unknown feature"):
        LinearModel.decode(json.dumps(raw).encode())
    with pytest.raises(ValueError, match="not a linear model"):
        LinearModel.decode(b"[]")


def test_current_is_replaced_and_checked(tmp_path: Path) -> None:
    assert read_current(tmp_path) is None
    with pytest.raises(ValueError, match="train and promote one first"):
        load_current(tmp_path)
    first, second = linear_bundle(tmp_path, 1), linear_bundle(tmp_path, 2)
    write_current(tmp_path, Current(first, 1, baseline=True))
    write_current(tmp_path, Current(second, 2))
    current, found = load_current(tmp_path)
    assert current == Current(second, 2, "champion", False)
    assert found.info.version == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["current.json", "sha256"]
    with pytest.raises(ValueError, match="missing"):
        write_current(tmp_path, Current("0" * 64, 3))
    assert read_current(tmp_path) == current


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"digest": "x"}', '{"digest": "../../etc", "version": 1, "alias": "champion", "baseline": false}'],
)
def test_a_broken_current_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "current.json").write_text(text)
    with pytest.raises(ValueError, match=r"current\.json"):
        read_current(tmp_path)


def test_digests_travel_in_slots() -> None:
    digest = "0123456789abcdef" * 4
    assert words_digest(digest_words(digest)) == digest
    with pytest.raises(ValueError, match="not a sha256"):
        digest_words("00" * 16)
