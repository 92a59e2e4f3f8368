"""A trained model becomes a run with its evidence and a model version with its bundle."""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot4_live.features.registry import layout_hash
from bot4_live.models import bundle
from bot4_live.settings import Settings
from bot4_platform.mlops import registry
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.evaluate import Trained
from bot4_platform.mlops.registry import TAG, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(settings: Settings, found: MlflowClient, trained: Trained, data: Dataset, who: str) -> Version:
    """Log a trained model and register it as a version; one that is already there, to the byte, is returned as it is.

    So training again on the same data leaves the registry as it was. Raises ValueError when the engine scores the
    model differently from its own library.
    """
    spec = trained.spec
    content = hashlib.sha256(
        json.dumps([spec.model_dump(mode="json"), trained.evidence], sort_keys=True).encode() + trained.model.file
    ).hexdigest()
    if not found.search_registered_models(f"name='{spec.registered_model}'"):
        found.create_registered_model(spec.registered_model, description=MODEL_CARD)
    for version in registry.versions(found, spec.registered_model):
        if version.tags.get(f"{TAG}content") == content:
            return version
    run = found.create_run(
        registry.experiment(found, settings),
        run_name=spec.name,
        tags={"mlflow.source.name": "bot4 training", "mlflow.user": getpass.getuser()},
    )
    run_id = str(run.info.run_id)
    try:
        _log(found, run_id, trained)
        created = found.create_model_version(
            spec.registered_model,
            source=f"{run.info.artifact_uri}/bundle",
            run_id=run_id,
            description=describe(trained),
        )
        digest = _upload(found, run_id, int(created.version), trained, data)
        version = Version(spec.registered_model, int(created.version), run_id, str(created.source), {})
        tags = {
            "content": content,
            "role": spec.role,
            "kind": spec.kind,
            "who": who,
            "data_digest": str(trained.evidence["data_digest"]),
            "train_window": f"{trained.evidence['train_from_ns']}..{trained.evidence['train_end_ns']}",
            "train_until_ns": str(trained.evidence["train_until_ns"]),
            "layout_hash": layout_hash(),
            "digest": digest,  # last: a version without it is not complete
        }
        registry.tag(found, version, tags)
    except BaseException:
        found.set_terminated(run_id, status="FAILED")
        raise
    found.set_terminated(run_id)
    return Version(version.name, version.number, run_id, version.source, {f"{TAG}{k}": v for k, v in tags.items()})


def _upload(found: MlflowClient, run_id: str, number: int, trained: Trained, data: Dataset) -> str:
    """Write the bundle, log its files as the run's artifact `bundle`, and return its digest."""
    spec = trained.spec
    x = data.columns(spec.features)[trained.split.test]
    rows = x[np.linspace(0, len(x) - 1, bundle.GOLDEN_ROWS).astype(np.int64)]
    info = bundle.BundleInfo(
        name=spec.name,
        version=number,
        kind=spec.kind,
        features=spec.features,
        label=spec.label,
        horizon_ns=spec.horizon_ns,
        evidence=trained.evidence,
    )
    with tempfile.TemporaryDirectory(prefix="bot4-bundle-") as work:
        digest = bundle.write(Path(work), info, trained.model.file, rows, trained.model.predict(rows))
        placed = Path(work) / "bundle"
        shutil.move(Path(work) / "sha256" / digest, placed)
        found.log_artifacts(run_id, str(placed), "bundle")
    return digest


def _log(found: MlflowClient, run_id: str, trained: Trained) -> None:
    """Log parameters, metrics (folds as steps), evidence and plots."""
    from mlflow.entities import Metric, Param

    evidence, now = trained.evidence, time.time_ns() // 1_000_000
    params = {"kind": trained.spec.kind, "features": ", ".join(trained.spec.features)} | {
        f"trainer.{name}": value for name, value in trained.spec.trainer.model_dump().items()
    }
    metrics = [
        Metric(f"{name}.{part}", evidence[name][part], now, 0)
        for name in ("model_score", "baseline_score", "advantage", "direction", "baseline_direction")
        for part in ("value", "low", "high")
    ]
    metrics += [Metric("fold.skill", value, now, step) for step, value in enumerate(trained.fold_skill, 1)]
    metrics += [Metric("fold.baseline", value, now, step) for step, value in enumerate(trained.fold_reference, 1)]
    metrics += [Metric(name, float(evidence[name]), now, 0) for name in ("train_rows", "holdout_rows", "beyond_cost")]
    metrics += [Metric(name, value, now, 0) for name, value in trained.model.facts.items()]
    found.log_batch(run_id, metrics=metrics, params=[Param(name, str(value)) for name, value in params.items()])
    found.log_dict(run_id, evidence, "evidence.json")
    with tempfile.TemporaryDirectory(prefix="bot4-plots-") as work:
        for name, image in trained.images.items():
            (Path(work) / f"{name}.png").write_bytes(image)
        found.log_artifacts(run_id, work, "plots")


def describe(trained: Trained) -> str:
    """Return the Markdown that a version's page shows."""
    e = trained.evidence

    def cell(name: str) -> str:
        return f"{e[name]['value']:+.4f} | {e[name]['low']:+.4f} .. {e[name]['high']:+.4f}"

    rows = [("skill", "model_score"), ("skill of the baseline", "baseline_score"), ("advantage", "advantage"),
            ("directional accuracy", "direction"), ("the baseline's", "baseline_direction")]  # fmt: skip
    lines = [trained.spec.description, "", "| on the holdout | value | 95 % interval |", "|---|---|---|"]
    lines += [f"| {title} | {cell(name)} |" for title, name in rows]
    lines += [
        "",
        f"Trained on {e['train_rows']} rows, judged on {e['holdout_rows']} later ones; skill of "
        f"{len(trained.fold_skill)} walk-forward folds: {', '.join(f'{s:+.3f}' for s in trained.fold_skill)}.",
        f"Data {e['data_digest'][:12]}, feature layout {layout_hash()[:12]}.",
    ]
    return "\n".join(lines)


MODEL_CARD = """Forecast of the mid's return over the next second, in basis points.

Skill is 1 - sum w (y - f)^2 / sum w y^2 on rows later than all that trained: 0 is what knowing nothing scores.
`champion` is what the runner uses, `previous` what `rollback` returns to, `challenger` what was last refused or is
being judged. The baseline never skews quotes."""


def summary(trained: Trained) -> dict[str, Any]:
    """Return the numbers of a model that Dagster shows."""
    e = trained.evidence
    return {
        "model_score": e["model_score"]["value"],
        "baseline_score": e["baseline_score"]["value"],
        "advantage_low": e["advantage"]["low"],
        "advantage_high": e["advantage"]["high"],
        "directional_accuracy": e["direction"]["value"],
        "train_rows": e["train_rows"],
        "holdout_rows": e["holdout_rows"],
        "data_digest": e["data_digest"],
        "train_until_ns": e["train_until_ns"],
    }
