"""From the registry to a runner's machine: the champion's bundle under its digest, then `current.json`.

What is exported must be what was gated: the tags of the version hold the digest and the verdict of each gate, sealed
by a hash of both. An alias that somebody moved in MLflow's UI to a version without such a seal is not exported.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bot4_live.models import bundle
from bot4_live.models.bundle import Bundle
from bot4_live.models.current import Current, read_current, write_current
from bot4_live.safety.durable import sync_path
from bot4_platform.mlops import registry
from bot4_platform.mlops.registry import CHAMPION, TAG, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bot4_live.settings import Settings


def seal(digest: str, gates: str) -> str:
    """Return the hash that binds a bundle's digest to the verdicts (JSON text) it was promoted by."""
    return hashlib.sha256(f"{digest}\n{gates}".encode()).hexdigest()


def verify(version: Version) -> None:
    """Raise ValueError unless the tags of a version show that its very bundle passed every gate."""
    gates, name = version.tags.get(f"{TAG}gates", ""), f"{version.name} v{version.number}"
    if not gates or version.tags.get(f"{TAG}seal") != seal(version.digest, gates):
        raise ValueError(
            f"{name} carries no valid seal of its gates: its alias was moved by hand; run promotion, or roll back"
        )
    failed = [gate["name"] for gate in json.loads(gates) if not gate["passed"]]
    if failed:
        raise ValueError(f"{name} did not pass {', '.join(failed)}: it is not exported; run promotion, or roll back")


def fetch(found: MlflowClient, version: Version, models_dir: Path) -> Bundle:
    """Put a version's bundle under `models_dir/sha256/<digest>` and return it, checked.

    Raises ValueError when what the registry holds is not what the version's digest names.
    """
    target = models_dir / "sha256" / version.digest
    if target.exists():
        return bundle.load(target)
    with registry.bundle_folder(found, version) as folder:
        bundle.load(folder)  # every hash and the golden rows, before anything appears where runners look
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.parent.parent / f".new-{version.digest[:16]}"
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(folder, staged)
        for entry in staged.iterdir():
            sync_path(entry)
        sync_path(staged)
        staged.rename(target)
        sync_path(target.parent)
    return bundle.load(target)


def export(settings: Settings, found: MlflowClient, model: str) -> Current:
    """Make the registry's champion what the runner uses, and return what `current.json` now says.

    Raises ValueError when there is no champion, or when it was not gated; `current.json` then stays as it was.
    """
    version = registry.aliased(found, model, CHAMPION)
    if version is None:
        raise ValueError(f"{model} has no champion: run promotion first")
    verify(version)
    fetch(found, version, settings.models_dir)
    current = Current(version.digest, version.number, CHAMPION, version.role == "baseline")
    if read_current(settings.models_dir) != current:
        write_current(settings.models_dir, current)
    return current
