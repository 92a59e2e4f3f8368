"""Trainers: from rows to the bytes of a model's file and its importances. The same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bot4_live.models.linear import LinearModel
from bot4_platform.mlops.config import LightGBMParams, ModelSpec, RidgeParams
from bot4_platform.mlops.splits import holdout


@dataclass(frozen=True)
class Rows:
    """What a trainer sees: features in the model's order, labels, weights, label times; n rows in order of time."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    start_ns: np.ndarray
    end_ns: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(self.x[rows], self.y[rows], self.weight[rows], self.start_ns[rows], self.end_ns[rows])


@dataclass(frozen=True)
class Fitted:
    """A trained model: its file, what the trainer's own library scores rows (n, features), importances by feature."""

    file: bytes
    predict: Callable[[np.ndarray], np.ndarray]
    importance: np.ndarray
    facts: dict[str, float]


def fit(spec: ModelSpec, rows: Rows, embargo_ns: int) -> Fitted:
    """Return the model that `spec` trains on `rows`. Raises ValueError when they are too few."""
    if isinstance(spec.trainer, RidgeParams):
        return _ridge(spec.features, rows, spec.trainer)
    return _lightgbm(spec.features, rows, spec.trainer, embargo_ns)


def _ridge(features: tuple[str, ...], rows: Rows, params: RidgeParams) -> Fitted:
    """Weighted ridge on standardised features (Hoerl & Kennard 1970); the intercept is not penalised."""
    share = rows.weight / rows.weight.sum()
    mean = share @ rows.x
    scale = np.sqrt(share @ (rows.x - mean) ** 2)
    scale = np.where(scale > 0, scale, 1.0)
    z = (rows.x - mean) * (1.0 / scale)
    centre = float(share @ rows.y)
    gram = (z * rows.weight[:, None]).T @ z + params.ridge * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, (z * rows.weight[:, None]).T @ (rows.y - centre))
    model = LinearModel(features, tuple(weights.tolist()), tuple(mean.tolist()), tuple(scale.tolist()), centre)

    def predict(x: np.ndarray) -> np.ndarray:
        total = np.full(x.shape[0], model.intercept)
        for k in range(len(features)):  # in this order: it is the engine's, to the bit
            total = total + model.weights[k] * ((x[:, k] - model.means[k]) * (1.0 / model.scales[k]))
        return total

    facts = {f"weight_{name}": weight for name, weight in zip(features, model.weights, strict=True)}
    return Fitted(model.encode(), predict, np.abs(weights), facts)


def _lightgbm(features: tuple[str, ...], rows: Rows, params: LightGBMParams, embargo_ns: int) -> Fitted:
    """Gradient boosted trees (Ke et al. 2017), stopped early on the last, purged part of the rows."""
    import lightgbm as lgb

    inner = holdout(rows.start_ns, rows.end_ns, params.stop_fraction, embargo_ns)
    options: dict[str, Any] = {
        "objective": "regression", "metric": "l2", "num_leaves": params.num_leaves,
        "learning_rate": params.learning_rate, "min_data_in_leaf": params.min_data_in_leaf,
        "lambda_l2": params.lambda_l2, "feature_fraction": params.feature_fraction, "max_bin": params.max_bin,
        "seed": params.seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    part = rows.take(inner.train)
    train = lgb.Dataset(part.x, part.y, weight=part.weight, feature_name=list(features), params=options)
    stop = rows.take(inner.test)
    watched = train.create_valid(stop.x, stop.y, weight=stop.weight)
    booster = lgb.train(
        options,
        train,
        num_boost_round=params.num_trees,
        valid_sets=[watched],
        callbacks=[lgb.early_stopping(params.stop_after, verbose=False)],
    )
    trees = max(1, booster.best_iteration)
    text = booster.model_to_string(num_iteration=trees)
    final = lgb.Booster(model_str=text)  # what was written is what is judged

    def predict(x: np.ndarray) -> np.ndarray:
        return np.asarray(final.predict(x, raw_score=True, num_threads=1), np.float64)

    gain = np.asarray(final.feature_importance("gain"), np.float64)
    return Fitted(text.encode(), predict, gain, {"trees": float(trees)})
