"""Model and promotion files of the folder `mlflow/`: typed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bot4_live.features.registry import index
from bot4_live.settings import PROJECT_ROOT

MLFLOW_DIR = PROJECT_ROOT / "mlflow"
NS = 1_000_000_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RidgeParams(_Frozen):
    """Parameters of the linear trainer."""

    ridge: Annotated[float, Field(ge=0)] = 1.0


class LightGBMParams(_Frozen):
    """Parameters of the tree trainer; the bounds are what the engine's tables hold."""

    num_trees: Annotated[int, Field(ge=1, le=100)] = 100
    num_leaves: Annotated[int, Field(ge=2, le=31)] = 31
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_data_in_leaf: Annotated[int, Field(ge=1)] = 40
    lambda_l2: Annotated[float, Field(ge=0)] = 10.0
    feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_bin: Annotated[int, Field(ge=2, le=255)] = 63
    stop_after: Annotated[int, Field(ge=1)] = 15
    stop_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    seed: int = 20240808


class ModelSpec(_Frozen):
    """One model: what it sees, what it forecasts, how it is trained."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    registered_model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    role: Literal["baseline", "challenger"]
    kind: Literal["linear", "lightgbm"]
    description: str
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    label: Literal["mid_return_bp"]
    horizon_s: Annotated[float, Field(gt=0)]
    trainer: RidgeParams | LightGBMParams

    @model_validator(mode="before")
    @classmethod
    def _trainer_of_the_kind(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("trainer"), dict):
            params = RidgeParams if raw.get("kind") == "linear" else LightGBMParams
            return raw | {"trainer": params(**raw["trainer"])}
        return raw

    @model_validator(mode="after")
    def _features_are_known(self) -> ModelSpec:
        for name in self.features:
            index(name)
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is listed twice")
        return self

    @property
    def horizon_ns(self) -> int:
        """Return the label's horizon in ns."""
        return round(self.horizon_s * NS)


class Split(_Frozen):
    """How labelled rows are split in time."""

    holdout_fraction: Annotated[float, Field(gt=0, lt=0.9)]
    folds: Annotated[int, Field(ge=2)]
    embargo_s: Annotated[float, Field(gt=0)]
    min_train_rows: Annotated[int, Field(ge=1)]
    min_holdout_rows: Annotated[int, Field(ge=1)]

    @property
    def embargo_ns(self) -> int:
        """Return the embargo in ns."""
        return round(self.embargo_s * NS)


class Bootstrap(_Frozen):
    """How intervals are drawn."""

    method: Literal["stationary", "moving"]
    block_s: Annotated[float, Field(gt=0)]
    replications: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: int


class Gates(_Frozen):
    """Thresholds; each is one gate."""

    min_advantage: float
    min_skill: float
    min_folds_won: Annotated[float, Field(ge=0, le=1)]
    min_blocks: Annotated[int, Field(ge=2)]
    max_abs_bp: Annotated[float, Field(gt=0)]
    max_score_us: Annotated[float, Field(gt=0)]
    max_bytes: Annotated[int, Field(gt=0)]


class Retrain(_Frozen):
    """On how many days models are trained again (M7)."""

    on_days: Annotated[int, Field(ge=1)]


class Policy(_Frozen):
    """`promotion.yaml`: how models are judged."""

    split: Split
    bootstrap: Bootstrap
    gates: Gates
    fee_bp: Annotated[float, Field(ge=0)]
    retrain: Retrain


T = TypeVar("T", bound=BaseModel)


def load_models(folder: Path = MLFLOW_DIR) -> dict[str, ModelSpec]:
    """Return the models of a folder by name, the baseline first. Raises ValueError naming the file and the field.

    All are versions of one registered model and forecast one label, so that they can be compared.
    """
    specs = [_load(ModelSpec, path) for path in sorted(folder.glob("*.yaml")) if path.name != "promotion.yaml"]
    roles = [spec.role for spec in specs]
    if roles.count("baseline") != 1:
        raise ValueError(f"{folder} must have exactly one model with role baseline, found {roles.count('baseline')}")
    if len({(spec.registered_model, spec.label, spec.horizon_s) for spec in specs}) != 1:
        raise ValueError(f"models in {folder} must share registered_model, label and horizon_s to be compared")
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: (spec.role, spec.name))}


def load_policy(folder: Path = MLFLOW_DIR) -> Policy:
    """Return `promotion.yaml`. Raises ValueError naming the field."""
    return _load(Policy, folder / "promotion.yaml")


def _load(kind: type[T], path: Path) -> T:
    import yaml

    try:
        return kind.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; restore it from the repository") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {place or 'file'}: {first['msg']}") from None
