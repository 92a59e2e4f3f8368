"""What the report shows of the models: read from the registry and the last decision, as plain values."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.models import bundle
from bot4_live.models.current import read_current
from bot4_live.safety.durable import write_json

if TYPE_CHECKING:
    from bot4_live.settings import Settings
    from bot4_platform.mlops.promote import Decision

PLOTS = ("importance", "prediction", "calibration", "skill_over_time", "folds")


def decision_path(settings: Settings) -> Path:
    """Return where the last decision lies."""
    return settings.root / "mlflow" / "decision.json"


def save(settings: Settings, decision: Decision) -> None:
    """Keep what promotion decided, so that a report needs no MLflow."""
    judged = decision.challenger or decision.champion
    value = {
        "verdict": decision.verdict,
        "why": decision.why,
        "model": decision.champion.name,
        "gates": [asdict(gate) for gate in decision.gates],
        "judged": _version(judged, settings),
        "champion": _version(decision.champion, settings),
        "train_until_ns": decision.train_until_ns,
    }
    write_json(decision_path(settings), value)


def load(settings: Settings) -> dict[str, Any]:
    """Return the evidence of the last promotion. Imports no MLflow. Raises ValueError when there was none.

    `model_version`, `model_alias`, `is_baseline`, `digest`: what `current.json` names. `verdict`, `why`, `gates`
    (name, passed, value, limit): the decision. `challenger` and `champion`: version, role, digest, plots (name to
    path of a PNG) and scores: `model_score`, `baseline_score`, `advantage`, `direction`, `baseline_direction`, each
    with value, low, high and confidence, on the holdout; `fold_skill`, `fold_baseline`; `importance` by feature; rows
    and times. At the top level `model_score` and `baseline_score` are the judged model's values, and
    `train_until_ns` is the last recv_ns of anything that trained or gated.
    """
    path, current = decision_path(settings), read_current(settings.models_dir)
    if not path.is_file() or current is None:
        raise ValueError(f"no promotion in {settings.root}: materialize the asset champion first")
    kept = json.loads(path.read_text())
    champion = kept["champion"]
    if champion["digest"] != current.digest:  # rolled back since
        champion = {"version": current.version, "digest": current.digest, "plots": {}}
    champion = _with_bundle(champion, settings)
    judged = kept["judged"]
    whole = (settings.models_dir / "sha256" / judged["digest"] / bundle.MANIFEST).is_file()
    challenger = _with_bundle(judged, settings) if whole else champion  # refused because its bundle was damaged
    return {
        "model": kept["model"],
        "model_version": current.version,
        "model_alias": current.alias,
        "is_baseline": current.baseline,
        "digest": current.digest,
        "verdict": kept["verdict"],
        "why": kept["why"],
        "gates": kept["gates"],
        "challenger": challenger,
        "champion": champion,
        "model_score": challenger["model_score"]["value"],
        "baseline_score": challenger["baseline_score"]["value"],
        "train_until_ns": kept["train_until_ns"],
    }


def _version(version: Any, settings: Settings) -> dict[str, Any]:
    from bot4_platform.mlops.registry import artifact_root

    folder = artifact_root(settings) / version.run_id / "artifacts" / "plots"
    return {
        "version": version.number,
        "role": version.role,
        "digest": version.digest,
        "run_id": version.run_id,
        "plots": {name: str(folder / f"{name}.png") for name in PLOTS},
    }


def _with_bundle(kept: dict[str, Any], settings: Settings) -> dict[str, Any]:
    manifest = settings.models_dir / "sha256" / kept["digest"] / bundle.MANIFEST
    if not manifest.is_file():
        raise ValueError(f"bundle {kept['digest']} is missing in {settings.models_dir}: run promotion again")
    plots = {name: path for name, path in kept["plots"].items() if Path(path).is_file()}
    return json.loads(manifest.read_text())["evidence"] | kept | {"plots": plots}
