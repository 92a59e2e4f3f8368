"""Pass rates, drift and cross-venue agreement of a market day, with their checks. None of them stops anything."""

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS, market_check
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.resources import Bot4Resource

with beta():
    ALL_MARKETS = dg.MultiPartitionMapping(
        {
            "day": dg.DimensionPartitionMapping("day", dg.IdentityPartitionMapping()),
            "market": dg.DimensionPartitionMapping("market", dg.AllPartitionMapping()),
        }
    )


@dg.asset(
    deps=["trades", "quotes", "depth", "funding", "liquidations", "tickers", "quarantine"],
    partitions_def=MARKET_DAYS,
    group_name="quality",
    owners=OWNERS,
    kinds={"parquet", "polars"},
    code_version="1",
    description="Frames that passed validation and frames that were refused, by table and rule. The target is 99.9 %.",
)
def pass_rates(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Count one market day."""
    from bot4_platform.quality.pass_rates import count, share
    from bot4_platform.reporting import table, written

    part, lake = market_day(context), bot4.lake()
    frame = count(lake, part)
    rate = share(frame)
    shown = table(("table", "rule", "frames"), [(t, r or "passed", f"{n:,}") for t, r, n in frame.iter_rows()])
    return dg.MaterializeResult(
        metadata=written(lake.write("pass_rates", *part, frame))
        | {"pass_rate": 1.0 if rate is None else rate, "counts": shown}
    )


@market_check(
    asset="pass_rates",
    description="At least 99.9 % of the day's frames passed validation (D12); below 100,000 frames it is not judged.",
)
def pass_rate_meets_the_target(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Warn below the target."""
    from bot4_platform.quality.pass_rates import FEWEST, TARGET, share

    frame = bot4.lake().read("pass_rates", *market_day(context))
    rate, frames = share(frame), int(frame["frames"].sum())
    return dg.AssetCheckResult(
        passed=rate is None or rate >= TARGET or frames < FEWEST,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"pass_rate": 1.0 if rate is None else rate, "target": TARGET, "frames": frames},
    )


@dg.asset(
    deps=["features"],
    partitions_def=MARKET_DAYS,
    group_name="quality",
    owners=OWNERS,
    kinds={"parquet", "numpy"},
    code_version="1",
    description="Population stability index and Kolmogorov-Smirnov distance of each fast feature against up to 7 "
    "earlier days of the market.",
)
def feature_drift(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Compare one market day with those before it."""
    from bot4_platform.quality.drift import drift
    from bot4_platform.reporting import table, written

    part, lake = market_day(context), bot4.lake()
    frame = drift(lake, part)
    worst = frame.sort("psi", descending=True).head(12).select("feature", "psi", "ks", "verdict")
    rows = [(name, f"{psi:.3f}", f"{ks:.3f}", verdict) for name, psi, ks, verdict in worst.iter_rows()]
    return dg.MaterializeResult(
        metadata=written(lake.write("feature_drift", *part, frame))
        | {"reference": frame["reference"][0], "worst": table(("feature", "PSI", "KS", "verdict"), rows)}
    )


@market_check(
    asset="feature_drift",
    description="At most a fifth of the features drifted (PSI of 0.25 or more) against earlier days; a first day has "
    "none to be judged by.",
)
def drift_is_small(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Warn when the market is another one than the models know."""
    from bot4_platform.quality.drift import DRIFTED_SHARE, EARLIER

    frame = bot4.lake().read("feature_drift", *market_day(context))
    judged = frame.filter((frame["verdict"] != "few") & (frame["reference"] == EARLIER))
    drifted = judged.filter(judged["verdict"] == "drifted")["feature"].to_list()
    return dg.AssetCheckResult(
        passed=len(drifted) <= DRIFTED_SHARE * max(judged.height, 1),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"judged": judged.height, "drifted": len(drifted), "features": ", ".join(drifted)},
    )


@dg.asset(
    deps=[dg.AssetDep("features", partition_mapping=ALL_MARKETS)],
    partitions_def=MARKET_DAYS,
    group_name="quality",
    owners=OWNERS,
    kinds={"parquet", "polars"},
    code_version="1",
    description="The mid against every other recorded market of the same asset, on the same seconds of exchange time.",
)
def venue_agreement(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Compare one market day with other venues."""
    from bot4_platform.quality.agreement import agreement
    from bot4_platform.reporting import table, written

    part, lake = market_day(context), bot4.lake()
    frame = agreement(lake, part)
    rows = [
        (other, seconds, f"{median:+.2f}", f"{p99:.2f}", f"{within:.1%}")
        for other, seconds, median, p99, within, _ in frame.iter_rows()
    ]
    head = ("other market", "seconds", "median, bp", "p99, bp", "within the bound")
    return dg.MaterializeResult(
        metadata=written(lake.write("venue_agreement", *part, frame)) | {"pairs": table(head, rows)}
    )


@market_check(
    asset="venue_agreement",
    description="99 % of the seconds that two venues share have mids within 100 bp of each other.",
)
def venues_agree(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Fail for a pair that is out of bounds."""
    from bot4_platform.quality.agreement import disagreeing

    frame = bot4.lake().read("venue_agreement", *market_day(context))
    found = disagreeing(frame)
    return dg.AssetCheckResult(passed=not found, metadata={"pairs": frame.height, "problems": "; ".join(found)})
