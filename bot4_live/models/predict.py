"""Score a feature vector with whatever model a slot holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.models.layout import ModelKind
from bot4_live.models.linear import predict_linear
from bot4_live.models.table import predict_table
from bot4_live.models.trees import predict_trees

_LINEAR, _TREES, _TABLE = int(ModelKind.LINEAR), int(ModelKind.TREES), int(ModelKind.TREE_TABLE)


@njit(cache=True)
def predict(m: Any, x: np.ndarray) -> float:
    """Return the score of `x` (float64, the engine's feature vector) under `m` (Record of MODEL); 0 for no model.

    `m` is written to: the mask table remembers which bin each feature is in.
    """
    kind = m.kind
    if kind == _TABLE:
        return predict_table(m, x)
    if kind == _LINEAR:
        return predict_linear(m, x)
    if kind == _TREES:
        return predict_trees(m, x)
    return 0.0


@njit(cache=True)
def predict_rows(m: Any, x: np.ndarray) -> np.ndarray:
    """Return the scores of the rows of `x`, float64 (n,)."""
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = predict(m, x[i])
    return out
