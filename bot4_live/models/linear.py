"""The linear model: standardised features, weights, intercept. Its file is `linear.json`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit

from bot4_live.features.registry import CAPACITY, index
from bot4_live.models.layout import MODEL, ModelKind


@dataclass(frozen=True)
class LinearModel:
    """score = intercept + sum over k of weight[k] * ((x[k] - mean[k]) * (1 / scale[k])), summed in this order."""

    features: tuple[str, ...]
    weights: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    intercept: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.features)
        if not 0 < n <= CAPACITY or any(len(v) != n for v in (self.weights, self.means, self.scales)):
            raise ValueError(f"linear model: features, weights, means and scales must have one length of 1..{CAPACITY}")
        numbers = (*self.weights, *self.means, *self.scales, self.intercept)
        if not all(math.isfinite(value) for value in numbers) or any(scale <= 0 for scale in self.scales):
            raise ValueError("linear model: numbers must be finite and scales positive")
        for name in self.features:
            index(name)

    def encode(self) -> bytes:
        """Return the file's bytes; floats keep all their bits (shortest round-trip decimals)."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> LinearModel:
        """Return the model of a file's bytes. Raises ValueError for anything else."""
        try:
            raw = json.loads(data)
            return cls(
                features=tuple(str(name) for name in raw["features"]),
                weights=tuple(float(v) for v in raw["weights"]),
                means=tuple(float(v) for v in raw["means"]),
                scales=tuple(float(v) for v in raw["scales"]),
                intercept=float(raw["intercept"]),
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"linear.json is not a linear model: {error!r}") from None

    def fill(self, slot: np.ndarray) -> None:
        """Write the model into `slot`, an array of shape (1,) of MODEL."""
        slot[:] = np.zeros(1, MODEL)
        m = slot[0]
        n = len(self.features)
        m["kind"] = ModelKind.LINEAR
        m["n_features"] = n
        m["column"][:n] = [index(name) for name in self.features]
        m["weight"][:n] = self.weights
        m["mean"][:n] = self.means
        m["inv_scale"][:n] = 1.0 / np.array(self.scales)
        m["intercept"] = self.intercept


@njit(cache=True)
def predict_linear(m: Any, x: np.ndarray) -> float:
    """Return the linear score of `x` under `m` (Record of MODEL)."""
    total = m.intercept
    for k in range(m.n_features):
        total += m.weight[k] * ((x[m.column[k]] - m.mean[k]) * m.inv_scale[k])
    return total
