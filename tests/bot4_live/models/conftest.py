"""A LightGBM model trained on seeded noise with a signal, shared by the model tests."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

from bot4_live.features.registry import NAMES


def _train(rounds: int, leaves: int, seed: int, missing: bool = False, **params: Any) -> tuple[Any, np.ndarray]:
    """Return (Booster over all features, training rows)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3000, len(NAMES)))
    x[:, 4] = rng.integers(-2, 3, 3000)  # ties and zeros
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, 0]) * 0.5 + np.sin(np.nan_to_num(x[:, 7])) + (x[:, 4] > 0) + rng.normal(size=3000) * 0.1
    options = {
        "objective": "regression", "num_leaves": leaves, "verbosity": -1, "num_threads": 1, "seed": seed,
        "deterministic": True, "max_bin": 63, "min_data_in_leaf": 5, **params,
    }  # fmt: skip
    data = lightgbm.Dataset(x, y, feature_name=list(NAMES))
    return lightgbm.train(options, data, num_boost_round=rounds), x


@pytest.fixture(scope="session")
def train() -> Any:
    """The function that trains: (rounds, leaves, seed, missing=, LightGBM's parameters=) -> (Booster, rows)."""
    return _train


@pytest.fixture(scope="session")
def booster() -> tuple[Any, np.ndarray]:
    """A Booster of 100 trees x 31 leaves and its rows."""
    return _train(100, 31, seed=7)
