"""Labels and the training set. Unpartitioned: they read every day of features there is, up to a cut."""

import dagster as dg
from pydantic import Field

from bot4_platform.checks import OWNERS
from bot4_platform.resources import Bot4Resource


class LabelConfig(dg.Config):
    """What the labels may see."""

    until_ns: int = Field(
        default=0, description="nothing after this time (recv_ns of the journal) is used; 0 takes all there is"
    )


@dg.asset(
    deps=["features"],
    group_name="training",
    owners=OWNERS,
    kinds={"parquet", "numpy"},
    code_version="1",
    description="Forward mid return over the models' horizon (1 s), in bp, at each 100 ms of the feature grid. A label "
    "that would cross a gap or an invalid row is dropped, and one that ends after the data (or the cut) is not "
    "finished and dropped. Overlapping labels share weight (average uniqueness).",
)
def labels(context: dg.AssetExecutionContext, config: LabelConfig, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Label the grid of every market."""
    import numpy as np

    from bot4_platform.mlops import files, plots
    from bot4_platform.mlops.config import load_models, load_policy
    from bot4_platform.mlops.join import label_table
    from bot4_platform.reporting import when

    spec = next(iter(load_models().values()))
    table, about = label_table(bot4.lake(), spec.horizon_ns, load_policy().retrain.on_days, config.until_ns or None)
    path = files.labels_path(bot4.settings())
    files.write(path, table, about)
    values = table["label"].to_numpy()
    area = plots.axes(title=f"Mid return over {spec.horizon_s:g} s", x="bp", y="labels")
    area.hist(values, bins=60, color=plots.INK)
    area.set_yscale("log")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.height,
            "path": dg.MetadataValue.path(str(path)),
            "until": when(about["until_ns"]),
            **{name: about[name] for name in ("until_ns", "grid_rows", "valid_rows", "unfinished", "broken")},
            "unmoved_share": float(np.mean(values == 0)),
            "std_bp": float(np.std(values)),
            "distribution": plots.markdown("labels", plots.png(area)),
        }
    )


@dg.asset(
    deps=["labels", "features"],
    group_name="training",
    owners=OWNERS,
    kinds={"parquet", "feast"},
    code_version="1",
    description="Each label with the fast features as of its time, joined by Feast over our offline store with created "
    "times honoured: what was not yet known is not seen.",
)
def training_set(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Join labels and features."""
    from bot4_live.features.registry import FEATURES, NAMES, layout_hash
    from bot4_platform.feature_store.store import open_store
    from bot4_platform.mlops import files
    from bot4_platform.mlops.dataset import from_frame
    from bot4_platform.mlops.join import with_features
    from bot4_platform.reporting import table, when

    settings = bot4.settings()
    known, about = files.read(files.labels_path(settings))
    joined = with_features(open_store(settings), known)
    data = from_frame(joined, about["until_ns"])
    path = files.training_set_path(settings)
    files.write(path, joined, about | {"data_digest": data.digest(), "layout_hash": layout_hash()})
    ranked = joined.select(NAMES).to_numpy()
    correlation = [_correlation(ranked[:, i], data.y) for i in range(len(NAMES))]
    rows = [(f.name, f.unit, f"{c:+.3f}") for f, c in zip(FEATURES, correlation, strict=True)]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": joined.height,
            "path": dg.MetadataValue.path(str(path)),
            "data_digest": data.digest(),
            "layout_hash": layout_hash(),
            "from": when(int(data.start_ns[0])),
            "until": when(data.until_ns),
            "correlation_with_label": table(("feature", "unit", "correlation"), rows),
        }
    )


def _correlation(x: object, y: object) -> float:
    import numpy as np

    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
