"""Data sets with and without something to learn, and accounts with a fresh MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bot4_live.features.declared.core import CORE
from bot4_live.features.registry import NAMES
from bot4_live.settings import Settings
from bot4_platform.mlops import registry
from bot4_platform.mlops.dataset import Dataset

if TYPE_CHECKING:
    from mlflow import MlflowClient

STEP, HORIZON = 100_000_000, 1_000_000_000
START = 1_723_075_200 * 10**9


def build(signal: str, rows: int = 2000, seed: int = 1) -> Dataset:
    """Return `rows` of data: `linear` is known to imbalance_1 alone, `planted` to a product that no line can see."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, len(CORE)))
    for _ in range(4):  # features move slowly
        x[1:] = 0.6 * x[:-1] + 0.8 * x[1:]
    known, left, right = (x[:, NAMES.index(name)] for name in ("imbalance_1", "ofi_1s", "flow_10s"))
    noise = np.convolve(rng.normal(0, 1, rows + 9), np.ones(10) / 10**0.5, "valid")  # labels overlap ten times
    y = 0.5 * noise + {"none": 0, "linear": 0.3, "planted": 0.3}[signal] * known / known.std()
    if signal == "planted":
        y = y + 0.8 * np.sign(left * right)
    start = START + np.arange(rows) * STEP
    # features that no model looks at, apart, so that one more in the registry leaves the others as they are
    others = np.random.default_rng([seed, 1]).normal(0, 1, (rows, len(NAMES) - len(CORE)))
    x = np.column_stack([x, others])
    return Dataset(x, y, np.full(rows, 0.1), start, start + HORIZON, np.arange(rows), int(start[-1] + HORIZON))


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """Build a data set by the kind of signal in it: none, linear or planted."""
    return build


@pytest.fixture
def settings(tmp_path: Path, empty_registry: Callable[[Settings], None]) -> Settings:
    """Settings of a fresh account with an empty registry."""
    found = Settings(var=tmp_path)
    empty_registry(found)
    return found


@pytest.fixture
def mlflow(settings: Settings) -> "MlflowClient":
    """A client of the account's registry."""
    return registry.client(settings)
