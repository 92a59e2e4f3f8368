"""Checks of training: nothing from the future, nothing of the holdout, read back from what was written."""

import dagster as dg

from bot4_platform.resources import Bot4Resource


@dg.asset_check(
    asset="labels",
    blocking=True,
    description="Every label ends after it starts and no later than the data or the cut; its value is recomputed from "
    "the mids of the lake at its two ends.",
)
def labels_are_finished(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Recompute every label by a join, which is another way than it was made."""
    import polars as pl

    from bot4_platform.mlops import files

    table, about = files.read(files.labels_path(bot4.settings()))
    lake = bot4.lake()
    mids = pl.concat(
        lake.read("features", day, market, columns=["seq", "recv_ns", "valid", "mid"]).with_columns(
            market=pl.lit(market)
        )
        for day, market in lake.partitions("features")
    )
    ends = mids.sort("seq").unique(["market", "recv_ns"], keep="last").select("market", "recv_ns", "valid", "mid")
    both = table.join(ends, on=["market", "recv_ns"], how="left").join(
        ends, left_on=["market", "end_ns"], right_on=["market", "recv_ns"], how="left", suffix="_end"
    )
    again = (pl.col("mid_end") / pl.col("mid") - 1.0) * 1e4
    broken = {
        "later_than_the_data": table.filter(pl.col("end_ns") > about["until_ns"]).height,
        "not_forward": table.filter(pl.col("end_ns") <= pl.col("recv_ns")).height,
        "other_value": both.filter(((again - pl.col("label")).abs() <= 1e-9).fill_null(False).not_()).height,
        "invalid_ends": both.filter((pl.col("valid") & pl.col("valid_end")).fill_null(False).not_()).height,
        "weights": table.filter((pl.col("weight") <= 0) | (pl.col("weight") > 1)).height,
    }
    return dg.AssetCheckResult(passed=not any(broken.values()), metadata={"rows": table.height, **broken})


@dg.asset_check(
    asset="training_set",
    blocking=True,
    description="Every feature value is exactly the lake's at the label's own event (same seq): the join took nothing "
    "later, nothing older, and lost no bit.",
)
def training_set_is_of_its_time(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare each column with the lake's rows by seq."""
    import polars as pl

    from bot4_live.features.registry import NAMES
    from bot4_platform.mlops import files

    joined, about = files.read(files.training_set_path(bot4.settings()))
    lake = bot4.lake()
    grid = pl.concat(
        lake.read("features", day, market, columns=["seq", "recv_ns", *NAMES]).with_columns(market=pl.lit(market))
        for day, market in lake.partitions("features")
    ).unique(["market", "seq"], keep="last")
    both = joined.join(grid, on=["market", "seq"], how="left", suffix="_lake")
    other = {
        name: both.filter(pl.col(name).eq_missing(pl.col(f"{name}_lake")).not_()).height for name in ("recv_ns", *NAMES)
    }
    wrong = {f"differs/{name}": count for name, count in other.items() if count}
    twice = joined.height - joined.select("market", "seq").n_unique()
    return dg.AssetCheckResult(
        passed=not wrong and not twice,
        metadata={"rows": joined.height, "twice": twice, "data_digest": about["data_digest"], **wrong},
    )


@dg.asset_check(
    asset="baseline_model",
    blocking=True,
    description="The newest baseline in the registry is of this training set, its bundle loads with its golden rows, "
    "and its holdout starts at least an embargo after all it trained on.",
)
def baseline_is_judged_later(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Read the registered version back."""
    return judged_later(bot4, "baseline")


@dg.asset_check(
    asset="lightgbm_model",
    blocking=True,
    description="The newest challenger in the registry is of this training set, its bundle loads with its golden rows, "
    "and its holdout starts at least an embargo after all it trained on.",
)
def lightgbm_is_judged_later(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Read the registered version back."""
    return judged_later(bot4, "challenger")


def judged_later(bot4: Bot4Resource, role: str) -> dg.AssetCheckResult:
    """Return whether the newest version of a role is whole and was judged on later rows than it trained on."""
    from bot4_live.models import bundle
    from bot4_platform.mlops import files, registry
    from bot4_platform.mlops.config import load_models, load_policy

    settings, policy = bot4.settings(), load_policy()
    found = registry.client(settings)
    model = next(iter(load_models().values())).registered_model
    of_role = [version for version in registry.versions(found, model) if version.role == role]
    if not of_role:
        return dg.AssetCheckResult(passed=False, metadata={"problem": f"no version with role {role}"})
    _, about = files.read(files.training_set_path(settings))
    # Training on data seen before returns the version it made then, which need not be the newest.
    version = next((v for v in of_role if v.tags["bot4.data_digest"] == about["data_digest"]), of_role[-1])
    try:
        with registry.bundle_folder(found, version) as folder:
            evidence = bundle.load(folder).info.evidence
    except ValueError as error:
        return dg.AssetCheckResult(passed=False, metadata={"version": version.number, "problem": str(error)})
    between = evidence["holdout_from_ns"] - evidence["train_end_ns"]
    return dg.AssetCheckResult(
        passed=between >= policy.split.embargo_ns
        and evidence["data_digest"] == about["data_digest"]
        and evidence["holdout_end_ns"] <= evidence["train_until_ns"],
        metadata={
            "version": version.number,
            "seconds_between": between / 1e9,
            "data_digest": evidence["data_digest"],
            "digest": version.digest,
        },
    )
