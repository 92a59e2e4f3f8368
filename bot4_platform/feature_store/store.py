"""The account's feature store: feature_repo/feature_store.yaml with the account's paths in place of the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_live.settings import Settings
from bot4_platform.feature_store.lean import without_torch
from bot4_platform.settings import FEATURE_REPO
from bot4_platform.stores import feast_registry

if TYPE_CHECKING:
    from feast import FeatureStore


def open_store(settings: Settings) -> FeatureStore:
    """Open the account's store with every view of the registry applied. Importing Feast takes seconds."""
    import yaml

    with without_torch():
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        from bot4_platform.feature_store.views import OBJECTS

    raw = yaml.safe_load((FEATURE_REPO / "feature_store.yaml").read_text())
    folder = settings.online_store.parent
    folder.mkdir(parents=True, exist_ok=True)
    raw["registry"] = feast_registry(settings)
    raw["online_store"]["path"] = str(settings.online_store)
    raw["offline_store"]["lake_dir"] = str(settings.lake_dir)
    store = FeatureStore(config=RepoConfig(**raw, repo_path=FEATURE_REPO))
    store.apply(OBJECTS)
    return store
