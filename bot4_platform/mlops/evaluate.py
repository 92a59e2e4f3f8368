"""Train a model and judge it: walk-forward folds inside the training part, then once on the holdout after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bot4_platform.mlops.bootstrap import Interval
from bot4_platform.mlops.config import ModelSpec, Policy
from bot4_platform.mlops.dataset import Dataset
from bot4_platform.mlops.skill import Resampling, advantage_interval, beyond_cost, direction, skill, skill_interval
from bot4_platform.mlops.splits import Fold, holdout, walk_forward
from bot4_platform.mlops.trainers import Fitted, Rows, fit


@dataclass(frozen=True)
class Curves:
    """The holdout's outcomes (bp), weights and times."""

    outcome: np.ndarray
    weight: np.ndarray
    start_ns: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A trained model with what it showed. Arrays are over the holdout's rows."""

    spec: ModelSpec
    model: Fitted
    split: Fold
    curves: Curves
    forecast: np.ndarray
    reference: np.ndarray  # the baseline's forecasts of the same rows
    fold_skill: list[float]
    fold_reference: list[float]
    evidence: dict[str, Any]  # plain JSON values; the same data give the same

    @cached_property
    def images(self) -> dict[str, bytes]:
        """Plots by name, PNG; drawn once, for MLflow and Dagster alike."""
        from bot4_platform.mlops import plots

        curves = self.curves
        return {
            "importance": plots.importance(list(self.spec.features), self.model.importance),
            "prediction": plots.prediction(curves.outcome, self.forecast),
            "calibration": plots.calibration(curves.outcome, self.forecast),
            "skill_over_time": plots.skill_over_time(
                curves.start_ns, curves.outcome, self.forecast, self.reference, curves.weight
            ),
            "folds": plots.folds(self.fold_skill, self.fold_reference),
        }


def outer_split(data: Dataset, policy: Policy, horizon_ns: int) -> Fold:
    """Return training part and holdout. Raises ValueError when there are too few rows or the embargo is too short."""
    if policy.split.embargo_ns < horizon_ns:
        raise ValueError("promotion.yaml: split.embargo_s must be at least the label's horizon_s")
    found = holdout(data.start_ns, data.end_ns, policy.split.holdout_fraction, policy.split.embargo_ns)
    for side, rows, least in (
        ("training", found.train.size, policy.split.min_train_rows),
        ("holdout", found.test.size, policy.split.min_holdout_rows),
    ):
        if rows < least:
            raise ValueError(f"{rows} {side} rows, promotion.yaml asks for {least}: record more of the market first")
    return found


def rows_of(data: Dataset, features: tuple[str, ...]) -> Rows:
    """Return the rows of a data set as a trainer sees them: weights have the mean 1, as penalties expect."""
    return Rows(data.columns(features), data.y, data.weight / data.weight.mean(), data.start_ns, data.end_ns)


def resampling(policy: Policy, data: Dataset) -> Resampling:
    """Return the bootstrap of the policy in rows of this data set."""
    step = float(np.median(np.diff(data.start_ns))) / 1e9 if data.rows > 1 else 1.0
    asked = policy.bootstrap
    block = max(1, round(asked.block_s / max(step, 1e-9)))
    return Resampling(block, asked.replications, asked.confidence, asked.seed, asked.method)


def train(spec: ModelSpec, baseline: ModelSpec, data: Dataset, policy: Policy) -> Trained:
    """Return `spec` trained on the training part and judged beside `baseline`, trained on the same rows."""
    outer = outer_split(data, policy, spec.horizon_ns)
    embargo = policy.split.embargo_ns
    own, other = rows_of(data, spec.features), rows_of(data, baseline.features)
    same = spec == baseline
    inner = walk_forward(data.start_ns[outer.train], data.end_ns[outer.train], policy.split.folds, embargo)
    fold_skill, fold_reference = [], []
    for fold in inner:
        learn, test = outer.train[fold.train], outer.train[fold.test]
        y, weight = data.y[test], data.weight[test]
        fold_skill.append(skill(y, fit(spec, own.take(learn), embargo).predict(own.x[test]), weight))
        reference = fit(baseline, other.take(learn), embargo).predict(other.x[test])
        fold_reference.append(skill(y, reference, weight))
    model = fit(spec, own.take(outer.train), embargo)
    forecast = model.predict(own.x[outer.test])
    reference = forecast if same else fit(baseline, other.take(outer.train), embargo).predict(other.x[outer.test])
    scores = judge(data, outer, forecast, reference, policy)
    cost = data.columns(("spread_bp",))[outer.test, 0] / 2 + policy.fee_bp
    evidence = scores | {
        "role": spec.role,
        "fold_skill": fold_skill,
        "fold_baseline": fold_reference,
        "beyond_cost": beyond_cost(forecast, cost),
        "facts": model.facts,
        "importance": dict(zip(spec.features, model.importance.tolist(), strict=True)),
        "train_rows": int(outer.train.size),
        "holdout_rows": int(outer.test.size),
        "train_from_ns": int(data.start_ns[outer.train[0]]),
        "train_end_ns": int(data.end_ns[outer.train].max()),
        "holdout_from_ns": int(data.start_ns[outer.test[0]]),
        "holdout_end_ns": int(data.end_ns[outer.test].max()),
        "train_until_ns": data.until_ns,
        "data_digest": data.digest(),
        "policy": policy.model_dump(mode="json"),
    }
    curves = Curves(data.y[outer.test], data.weight[outer.test], data.start_ns[outer.test])
    return Trained(spec, model, outer, curves, forecast, reference, fold_skill, fold_reference, evidence)


def judge(
    data: Dataset, split: Fold, forecast: np.ndarray, reference: np.ndarray, policy: Policy
) -> dict[str, dict[str, float]]:
    """Return the scores of forecasts of the holdout beside the baseline's, each with its interval."""
    y, weight, how = data.y[split.test], data.weight[split.test], resampling(policy, data)
    return {
        "model_score": as_json(skill_interval(y, forecast, weight, how)),
        "baseline_score": as_json(skill_interval(y, reference, weight, how)),
        "advantage": as_json(advantage_interval(y, forecast, reference, weight, how)),
        "direction": as_json(direction(y, forecast, how)),
        "baseline_direction": as_json(direction(y, reference, how)),
    }


def as_json(interval: Interval) -> dict[str, float]:
    """Return an interval as plain values."""
    return {name: float(value) for name, value in asdict(interval).items()}
