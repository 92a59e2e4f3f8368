"""The models: trained on the first part of time, judged on the last, registered in MLflow with all they showed."""

from typing import Any

import dagster as dg

from bot4_platform.checks import OWNERS
from bot4_platform.resources import Bot4Resource


@dg.asset(
    deps=["training_set"],
    group_name="training",
    owners=OWNERS,
    kinds={"mlflow", "numpy"},
    code_version="1",
    description="The model to beat: ridge regression on the imbalance of the best quotes (mlflow/baseline.yaml). "
    "Version 1 and the first champion. The same data give the same version.",
)
def baseline_model(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Train, judge and register the baseline."""
    return train_and_register(context, bot4, "baseline")


@dg.asset(
    deps=["training_set", "baseline_model"],
    group_name="training",
    owners=OWNERS,
    kinds={"mlflow", "lightgbm"},
    code_version="1",
    description="The challenger: LightGBM on every fast feature (mlflow/lightgbm.yaml), judged by purged and embargoed "
    "walk-forward folds, then once on the holdout beside the baseline. The same data give the same version.",
)
def lightgbm_model(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Train, judge and register the challenger."""
    return train_and_register(context, bot4, "lightgbm")


def train_and_register(context: dg.AssetExecutionContext, bot4: Bot4Resource, name: str) -> dg.MaterializeResult:
    """Train the model that `mlflow/<name>.yaml` describes and register it as a version."""
    from bot4_platform.mlops import dataset, plots, registry
    from bot4_platform.mlops.config import load_models, load_policy
    from bot4_platform.mlops.evaluate import train
    from bot4_platform.mlops.publish import describe, publish, summary

    settings, specs = bot4.settings(), load_models()
    baseline = next(spec for spec in specs.values() if spec.role == "baseline")
    data = dataset.read(settings)
    trained = train(specs[name], baseline, data, load_policy())
    version = publish(settings, registry.client(settings), trained, data, f"dagster run {context.run.run_id}")
    context.log.info(f"{version.name} v{version.number}: skill {trained.evidence['model_score']['value']:+.4f}")
    metadata: dict[str, Any] = {
        "version": version.number,
        "digest": version.digest,
        "mlflow_run": version.run_id,
        "scores": dg.MetadataValue.md(describe(trained)),
    }
    images = {key: plots.markdown(key, image) for key, image in trained.images.items()}
    return dg.MaterializeResult(metadata=metadata | summary(trained) | images)
