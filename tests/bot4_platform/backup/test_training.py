"""A restored copy trains to the same bytes, and its registry works where it was restored."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from bot4_live.features.registry import NAMES
from bot4_live.settings import Settings
from bot4_platform.backup.restore import restore
from bot4_platform.backup.store import Store
from bot4_platform.backup.take import take
from bot4_platform.defs import training
from bot4_platform.lake import Lake
from bot4_platform.mlops import registry
from bot4_platform.partitions import MarketDay
from bot4_platform.resources import Bot4Resource

PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
ASSETS = ("labels", "training_set", "baseline_model")


def fill(settings: Settings, rows: int = 2000) -> None:
    rng = np.random.default_rng(3)
    mid = np.round(60_000 * np.exp(np.cumsum(rng.normal(0, 1e-5, rows))), 2)
    x = rng.normal(0, 1, (rows, len(NAMES)))
    x[:, NAMES.index("spread_bp")] = 0.02
    recv = PART.start_ns + 10**12 + np.arange(rows) * 100_000_000
    frame = pl.DataFrame(
        {
            "seq": np.arange(rows), "recv_ns": recv, "exch_ns": recv, "valid": np.ones(rows, bool),
            "mid2": np.round(mid * 20).astype(np.int64), "mid": mid, **dict(zip(NAMES, x.T, strict=True)),
        }
    )  # fmt: skip
    Lake(settings.lake_dir).write("features", *PART, frame)


def train(settings: Settings) -> str:
    """Train the baseline and return its bundle's digest: that of every byte of the model and its evidence."""
    assets = [asset for asset in training.definitions().assets or [] if asset.key.path[0] in ASSETS]  # type: ignore[union-attr]
    result = dg.materialize(assets, resources={"bot4": Bot4Resource.of(settings)})
    assert result.success
    (event,) = result.asset_materializations_for_node("baseline_model")
    return str(event.metadata["digest"].value)


@pytest.mark.slow
def test_a_restored_copy_trains_to_the_same_bytes(tmp_path: Path) -> None:
    original, store = Settings(var=tmp_path / "var"), Store(tmp_path / "store")
    fill(original)
    untrained = take(original.var, store).manifest.name
    digest = train(original)
    take(original.var, store)

    fresh = Settings(var=tmp_path / "fresh")
    restore(store, store.read(untrained), fresh.var)
    assert train(fresh) == digest

    moved = Settings(var=tmp_path / "moved")
    restore(store, store.read(), moved.var)
    shutil.rmtree(original.var)
    assert train(moved) == digest  # its registry knows the version already
    found = registry.client(moved)
    (version,) = registry.versions(found, "mid_return_1s")
    with registry.bundle_folder(found, version) as folder:
        assert (folder / "bundle.json").is_file()
    assert str(moved.var) in version.source
