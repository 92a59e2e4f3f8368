"""The model registry: MLflow over SQLite in the account's folder (or PostgreSQL, `stores`), spoken to without a server.

Artifacts are text and images; no pickle is written or read. A model version carries a bundle (bot4_live.models.bundle)
as its source, its digest and evidence as tags. Aliases: champion, challenger, previous.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.settings import Settings
from bot4_platform.stores import mlflow_url

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
EXPERIMENT = "training"
TAG = "bot4."


def tracking_uri(settings: Settings) -> str:
    """Return MLflow's URI of the account, for tracking and registry alike. It may carry a password."""
    return mlflow_url(settings).get_secret_value()


def artifact_root(settings: Settings) -> Path:
    """Return where MLflow keeps the account's artifacts."""
    return settings.root / "mlflow" / "artifacts"


def client(settings: Settings) -> MlflowClient:
    """Return a client of the account's registry; creates it when it is not there (2 to 4 s, once)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    artifact_root(settings).mkdir(parents=True, exist_ok=True)
    uri = tracking_uri(settings)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment(found: MlflowClient, settings: Settings) -> str:
    """Return the id of the experiment that training logs to."""
    existing = found.get_experiment_by_name(EXPERIMENT)
    if existing is not None:
        return str(existing.experiment_id)
    return str(found.create_experiment(EXPERIMENT, artifact_location=artifact_root(settings).as_uri()))


@dataclass(frozen=True)
class Version:
    """One model version as this project reads it."""

    name: str
    number: int
    run_id: str
    source: str
    tags: dict[str, str]

    @property
    def digest(self) -> str:
        """Return the digest of its bundle, empty when it has none (its upload never finished)."""
        return self.tags.get(f"{TAG}digest", "")

    @property
    def role(self) -> str:
        """Return baseline or challenger."""
        return self.tags.get(f"{TAG}role", "")


def versions(found: MlflowClient, model: str) -> list[Version]:
    """Return the complete versions of a model, oldest first."""
    everything = [_version(item) for item in found.search_model_versions(f"name='{model}'")]
    return sorted((v for v in everything if v.digest), key=lambda v: v.number)


def aliased(found: MlflowClient, model: str, alias: str) -> Version | None:
    """Return the version an alias names, None where it names none."""
    for item in found.search_registered_models(f"name='{model}'"):
        number = item.aliases.get(alias)
        return None if number is None else _version(found.get_model_version(model, str(number)))
    return None


def tag(found: MlflowClient, version: Version, values: dict[str, str]) -> None:
    """Set tags of a version, under this project's prefix."""
    for name, value in values.items():
        found.set_model_version_tag(version.name, str(version.number), f"{TAG}{name}", value)


@contextmanager
def bundle_folder(found: MlflowClient, version: Version) -> Iterator[Path]:
    """Give a copy of a version's bundle in a folder named by its digest, as `bundle.load` wants it."""
    with tempfile.TemporaryDirectory(prefix="bot4-bundle-") as work:
        got = Path(found.download_artifacts(version.run_id, "bundle", work))
        folder = Path(work) / version.digest
        shutil.copytree(got, folder)
        yield folder


def _version(item: ModelVersion | Any) -> Version:
    return Version(item.name, int(item.version), str(item.run_id), str(item.source), dict(item.tags))
