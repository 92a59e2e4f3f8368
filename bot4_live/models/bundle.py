"""Bundles: a model as files under their digest, so that what a journal names can always be found and checked.

    models/sha256/<digest>/   bundle.json, model.txt (LightGBM's text) or linear.json, golden.json
    models/current.json       which bundle is in use; replaced atomically

The digest is the sha256 of `bundle.json`, which holds the sha256 of the other files. A bundle is refused when a byte
differs, a file is missing or undeclared (nothing but these text formats is ever opened: no pickle), the feature
layout is another, or one of the golden rows scores differently by a single bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bot4_live.features.registry import CAPACITY, index, layout_hash
from bot4_live.models.layout import new_slot
from bot4_live.models.linear import LinearModel
from bot4_live.models.predict import predict_rows
from bot4_live.models.table import fill_table
from bot4_live.models.trees import TreeModel
from bot4_live.safety.durable import sync_path

GOLDEN_ROWS = 100
MODEL_FILES = {"linear": "linear.json", "lightgbm": "model.txt"}
MANIFEST, GOLDEN = "bundle.json", "golden.json"


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself. `version` is the registry's; `evidence` is what the gates saw (JSON values)."""

    name: str
    version: int
    kind: str  # "linear" or "lightgbm"
    features: tuple[str, ...]  # in the model's column order
    label: str  # what a score forecasts, with its unit, such as "mid_return_bp"
    horizon_ns: int
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, ready to be put into a slot of the engine."""

    digest: str
    path: Path
    info: BundleInfo
    model: LinearModel | TreeModel

    def fill(self, slot: np.ndarray) -> None:
        """Write the model into `slot`, an array of shape (1,) of MODEL: trees as a table where one can hold them."""
        self.model.fill(slot)
        if isinstance(self.model, TreeModel):
            fill_table(self.model, slot)
        slot[0]["version"] = self.info.version


def write(models_dir: Path, info: BundleInfo, model: bytes, golden_x: np.ndarray, golden_scores: np.ndarray) -> str:
    """Write a bundle and return its digest; writing the same one again changes nothing.

    `model` is the bytes of the model's file; `golden_x` is float64 (100, features) in the model's column order and
    `golden_scores` float64 (100,) what the trainer's own library scores them (raw). Raises ValueError when this
    engine scores a row differently, so that such a model never gets as far as a runner.
    """
    rows = np.ascontiguousarray(golden_x, np.float64)
    if rows.shape != (GOLDEN_ROWS, len(info.features)) or golden_scores.shape != (GOLDEN_ROWS,):
        raise ValueError(f"a bundle needs {GOLDEN_ROWS} golden rows of {len(info.features)} features with their scores")
    golden = {
        "rows": [[None if math.isnan(v) else v for v in row] for row in rows.tolist()],
        "scores": golden_scores.tolist(),
    }
    files = {MODEL_FILES[_known_kind(info.kind)]: model, GOLDEN: _encode(golden)}
    _check_golden(_decode_model(info, model), info.features, rows, np.asarray(golden_scores, np.float64))
    manifest = {
        "name": info.name,
        "version": info.version,
        "kind": info.kind,
        "features": list(info.features),
        "layout_hash": layout_hash(),
        "label": info.label,
        "horizon_ns": info.horizon_ns,
        "evidence": info.evidence,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    files[MANIFEST] = _encode(manifest)
    digest = hashlib.sha256(files[MANIFEST]).hexdigest()
    _place(Path(models_dir) / "sha256", digest, files)
    return digest


def load(path: Path) -> Bundle:
    """Return the checked bundle that lies in the folder `path`, whose name is its digest. Raises ValueError."""
    path = Path(path)
    if not (path / MANIFEST).is_file():
        raise ValueError(f"model {path.name} is missing in {path.parent}; export it again or choose another")
    raw = (path / MANIFEST).read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != path.name:
        raise ValueError(f"{path / MANIFEST} was changed: its sha256 is {digest}; export the model again")
    manifest = json.loads(raw)
    _check_manifest(manifest, path)
    declared: dict[str, str] = manifest["files"]
    expected = {MODEL_FILES[_known_kind(manifest["kind"])], GOLDEN}
    present = {entry.name for entry in path.iterdir()}
    if set(declared) != expected or present != expected | {MANIFEST}:
        raise ValueError(
            f"{path} holds {', '.join(sorted(present))}, a {manifest['kind']} bundle is "
            f"{', '.join(sorted(expected | {MANIFEST}))} and nothing else; export the model again"
        )
    files = {name: (path / name).read_bytes() for name in declared}
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != declared[name]:
            raise ValueError(f"{path / name} was changed: its sha256 is not the declared one; export the model again")
    if manifest["layout_hash"] != layout_hash():
        raise ValueError(
            f"model {manifest['name']} v{manifest['version']} was trained on another feature layout "
            f"({manifest['layout_hash'][:12]}, this engine has {layout_hash()[:12]}); train it again"
        )
    info = BundleInfo(
        name=manifest["name"],
        version=manifest["version"],
        kind=manifest["kind"],
        features=tuple(manifest["features"]),
        label=manifest["label"],
        horizon_ns=manifest["horizon_ns"],
        evidence=manifest["evidence"],
    )
    model = _decode_model(info, files[MODEL_FILES[info.kind]])
    golden = json.loads(files[GOLDEN])
    rows = np.array([[np.nan if v is None else v for v in row] for row in golden["rows"]], np.float64)
    _check_golden(model, info.features, rows, np.array(golden["scores"], np.float64))
    return Bundle(digest, path, info, model)


def load_digest(models_dir: Path, digest: str) -> Bundle:
    """Return the checked bundle with this digest. Raises ValueError when it is missing or broken."""
    return load(Path(models_dir) / "sha256" / digest)


def full_rows(features: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    """Return rows in a model's column order, (n, features), as engine vectors, float64 (n, CAPACITY)."""
    x = np.zeros((len(rows), CAPACITY))
    x[:, [index(name) for name in features]] = rows
    return x


def score(bundle: Bundle, x: np.ndarray) -> np.ndarray:
    """Return the engine's scores of full feature vectors, float64 (n, CAPACITY) -> (n,)."""
    slot = new_slot()
    bundle.fill(slot)
    return predict_rows(slot[0], np.ascontiguousarray(x, np.float64))


def digest_words(digest: str) -> tuple[int, int, int, int]:
    """Return a digest as the four int64 that MODEL_SWAP carries in s0 and s1 (little-endian)."""
    words = np.frombuffer(bytes.fromhex(digest), "<i8")
    if len(words) != 4:
        raise ValueError(f"{digest!r} is not a sha256")
    return int(words[0]), int(words[1]), int(words[2]), int(words[3])


def words_digest(words: tuple[int, int, int, int]) -> str:
    """Return the digest (hex) that the four int64 of MODEL_SWAP carry."""
    return np.array(words, "<i8").tobytes().hex()


def _check_manifest(manifest: Any, path: Path) -> None:
    wanted = {
        "name": str, "version": int, "kind": str, "features": list, "layout_hash": str, "label": str,
        "horizon_ns": int, "evidence": dict, "files": dict,
    }  # fmt: skip
    lacks = [key for key, kind in wanted.items() if not isinstance(dict(manifest).get(key), kind)]
    if lacks:
        raise ValueError(f"{path / MANIFEST} lacks {', '.join(lacks)}; export the model again")


def _known_kind(kind: str) -> str:
    if kind not in MODEL_FILES:
        raise ValueError(f"model kind {kind!r} is unknown; known are: {', '.join(MODEL_FILES)}")
    return kind


def _decode_model(info: BundleInfo, data: bytes) -> LinearModel | TreeModel:
    model: LinearModel | TreeModel = LinearModel.decode(data) if info.kind == "linear" else TreeModel.decode(data)
    if model.features != info.features:
        raise ValueError(f"model {info.name}: its file was trained on other features than the bundle declares")
    return model


def _check_golden(
    model: LinearModel | TreeModel, features: tuple[str, ...], rows: np.ndarray, scores: np.ndarray
) -> None:
    """Raise ValueError unless every golden row scores as declared, to the bit, walked and by table."""
    if rows.shape != (GOLDEN_ROWS, len(features)) or scores.shape != (GOLDEN_ROWS,):
        raise ValueError(f"golden.json must hold {GOLDEN_ROWS} rows of {len(features)} features and their scores")
    slot = new_slot()
    model.fill(slot)
    x = full_rows(features, rows)
    found = [predict_rows(slot[0], x)]
    if isinstance(model, TreeModel) and fill_table(model, slot):
        found.append(predict_rows(slot[0], x))
    for values in found:
        wrong = np.flatnonzero(values.view(np.int64) != scores.view(np.int64))
        if len(wrong):
            first = int(wrong[0])
            raise ValueError(
                f"golden row {first} scores {values[first]!r}, declared is {scores[first]!r} "
                f"({len(wrong)} of {len(scores)} differ); the model is not used"
            )


def _encode(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _place(folder: Path, digest: str, files: dict[str, bytes]) -> None:
    """Put a finished folder under its digest in one rename; an intact one that is there already stays."""
    target = folder / digest
    if target.exists():
        load(target)
        return
    folder.mkdir(parents=True, exist_ok=True)
    work = folder.parent / f".new-{digest[:16]}-{secrets.token_hex(4)}"
    work.mkdir()
    try:
        for name, data in files.items():
            with open(work / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_path(work)
        try:
            os.rename(work, target)
        except OSError:
            if not target.exists():
                raise
            load(target)  # another process was first with the same bytes
        sync_path(folder)
    finally:
        if work.exists():
            shutil.rmtree(work)
