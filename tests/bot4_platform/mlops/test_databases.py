"""MLflow's database locked by somebody, or lost: training says so, leaves nothing half, and goes on afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from bot4_live.settings import Settings
from bot4_platform.mlops import registry
from bot4_platform.mlops.config import load_models, load_policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.evaluate import train
from bot4_platform.mlops.publish import publish

pytestmark = pytest.mark.slow
BASELINE, POLICY = load_models()["baseline"], load_policy()


def test_a_locked_registry(settings: Settings, dataset: Callable[..., Dataset]) -> None:
    data = dataset("linear")
    trained = train(BASELINE, BASELINE, data, POLICY)
    client = registry.client(settings)
    with closing(sqlite3.connect(settings.root / "mlflow" / "mlflow.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="database is locked"):
            publish(settings, client, trained, data, "test")
    assert registry.versions(client, BASELINE.registered_model) == []
    version = publish(settings, client, trained, data, "test")
    assert publish(settings, client, trained, data, "test").number == version.number == 1


def test_a_lost_registry_is_made_again_with_the_same_model(settings: Settings, dataset: Callable[..., Dataset]) -> None:
    data = dataset("linear")
    trained = train(BASELINE, BASELINE, data, POLICY)
    digest = publish(settings, registry.client(settings), trained, data, "test").digest
    shutil.rmtree(settings.root / "mlflow")
    again = publish(settings, registry.client(settings), trained, data, "test")
    assert (again.number, again.digest) == (1, digest)
