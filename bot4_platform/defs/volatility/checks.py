"""Checks of the volatility tables, read back from the files that were written."""

from typing import TYPE_CHECKING

import dagster as dg

from bot4_platform.checks import market_check
from bot4_platform.partitions import market_day
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    import polars as pl

# A sigma outside these bounds is a unit error: 1e-8 is 0.006 % a year, 0.1 is 10 % a second.
SIGMA_BOUNDS = (1e-8, 0.1)


@market_check(
    asset="mids_250ms",
    description="Times are multiples of 250 ms, increasing, at most 5 s after their quote; no quote is crossed.",
    blocking=True,
)
def mids_are_sound(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    import polars as pl

    from bot4_platform.defs.volatility.mids import MAX_SILENCE_NS, STEP_NS

    frame = bot4.lake().read("mids_250ms", *market_day(context))
    broken = {
        "off_grid": frame.filter(pl.col("time_ns") % STEP_NS != 0).height,
        "not_increasing": frame.filter(pl.col("time_ns").diff() <= 0).height,
        "stale_or_early": frame.filter((pl.col("age_ns") <= 0) | (pl.col("age_ns") > MAX_SILENCE_NS)).height,
        "crossed": frame.filter(pl.col("bid_px") >= pl.col("ask_px")).height,
    }
    return dg.AssetCheckResult(passed=not any(broken.values()), metadata={"rows": frame.height, **broken})


@market_check(
    asset="garch",
    description="A number stands exactly where the status is ok, there with at least 300 returns, alpha + beta < 1 and "
    "a sigma that can be one; elsewhere there is a reason.",
    blocking=True,
)
def garch_is_honest(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare status and numbers."""
    import polars as pl

    frame = bot4.lake().read("garch", *market_day(context))
    fine = (
        (pl.col("n") >= 300)
        & pl.col("sigma").is_between(*SIGMA_BOUNDS)
        & (pl.col("alpha") + pl.col("beta") < 1)
        & (pl.col("omega") > 0)
    )
    return honest(frame, ["sigma", "sigma_next", "sigma_long", "omega", "alpha", "beta"], fine)


@market_check(
    asset="fill_intensity",
    description="A number stands exactly where the status is ok, there positive and with an error below half of k; "
    "elsewhere there is a reason.",
    blocking=True,
)
def intensity_is_honest(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare status and numbers."""
    import polars as pl

    frame = bot4.lake().read("fill_intensity", *market_day(context))
    fine = (pl.col("a") > 0) & (pl.col("k") > 0) & (pl.col("k_error") <= pl.col("k") / 2) & (pl.col("reaches") >= 50)
    return honest(frame, ["a", "k", "a_error", "k_error"], fine)


@market_check(
    asset="slow_features",
    description="One row a mark, created after its event, finite numbers or null with a status that says so.",
    blocking=True,
)
def slow_features_are_servable(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that the feature store could not serve honestly."""
    import polars as pl

    part = market_day(context)
    frame = bot4.lake().read("slow_features", *part)
    pairs = (("garch_sigma", "garch_status"), ("intensity_a", "intensity_status"), ("intensity_k", "intensity_status"))
    broken = {
        "twice": frame.height - frame["event_ns"].n_unique(),
        "created_early": frame.filter(pl.col("created_ns") <= pl.col("event_ns")).height,
        "other_market": frame.filter(pl.col("market") != part.market).height,
        "number_and_status_differ": sum(
            frame.filter(pl.col(value).is_finite().fill_null(False) != (pl.col(status) == "ok")).height
            for value, status in pairs
        ),
    }
    served = {value: frame[value].drop_nulls().len() for value, _ in pairs}
    return dg.AssetCheckResult(passed=not any(broken.values()), metadata={"rows": frame.height, **broken, **served})


def honest(frame: "pl.DataFrame", numbers: list[str], fine: "pl.Expr") -> dg.AssetCheckResult:
    """Return whether numbers stand exactly where the status is ok (and are `fine`), and reasons elsewhere."""
    import polars as pl

    good = frame.filter(pl.col("status") == "ok")
    bad = frame.filter(pl.col("status") != "ok")
    broken = {
        "ok_without_fine_numbers": good.height - good.filter(fine).height,
        "numbers_though_insufficient": bad.filter(pl.any_horizontal(pl.col(numbers).is_not_null())).height,
        "without_reason": bad.filter(pl.col("reason") == "").height,
    }
    return dg.AssetCheckResult(
        passed=not any(broken.values()), metadata={"ok": good.height, "insufficient": bad.height, **broken}
    )
