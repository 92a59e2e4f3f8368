"""Fast features of a day by the engine's own kernels, and the state the next day goes on from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_live.features.registry import FEATURES, layout_hash
from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS, market_check
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    import polars as pl

GRID_NS = 100_000_000

with beta():
    EVE = dg.MultiPartitionMapping(
        {
            "day": dg.DimensionPartitionMapping(
                "day",
                dg.TimeWindowPartitionMapping(
                    start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
                ),
            ),
            "market": dg.DimensionPartitionMapping("market", dg.IdentityPartitionMapping()),
        }
    )


@dg.multi_asset(
    name="feature_day",
    specs=[
        dg.AssetSpec(
            "features",
            deps=["raw_segments", dg.AssetDep("feature_state", partition_mapping=EVE)],
            group_name="features",
            owners=OWNERS,
            kinds={"parquet", "numba"},
            code_version=layout_hash()[:12],
            description=f"{len(FEATURES)} fast features on a grid of 100 ms of the engine clock, computed by the very "
            "kernels that trade, over the same events in the same order. Keyed by seq; `valid` once all are filled.",
        ),
        dg.AssetSpec(
            "feature_state",
            deps=["raw_segments", dg.AssetDep("feature_state", partition_mapping=EVE)],
            group_name="features",
            owners=OWNERS,
            kinds={"parquet", "numba"},
            code_version=layout_hash()[:12],
            description="Book and features after the day's last event. It depends on itself a day before: parallel "
            "over markets, sequential over days.",
        ),
    ],
    partitions_def=MARKET_DAYS,
)
def feature_day(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Run the kernels over the day's range of seqs."""
    import polars as pl

    from bot4_live.features.batch import BatchState
    from bot4_platform.feature_days import compute_day
    from bot4_platform.journal_source import seals, seals_of
    from bot4_platform.reporting import written
    from bot4_platform.tables import TABLES

    part, lake, folder = market_day(context), bot4.lake(), bot4.settings().journal_dir
    seals_of(folder, part)
    eve = part.shifted(-1)
    previous = None
    if lake.exists("feature_state", *eve):
        row = lake.read("feature_state", *eve).row(0, named=True)
        try:
            previous = (row["last_seq"], BatchState.decode(row["state"]))
        except ValueError as error:
            context.log.warning(f"{eve.key}: {error}; computing from the journal's beginning")
    day = compute_day(seals(folder, part.market), part, previous)
    state = pl.DataFrame(
        {"last_seq": [day.last_seq], "state": [day.state.encode()]}, schema=TABLES["feature_state"].schema()
    )
    yield dg.MaterializeResult(
        asset_key="feature_state",
        metadata=written(lake.write("feature_state", *part, state))
        | {"first_seq": day.first_seq, "last_seq": day.last_seq, "events_computed": day.events, "resumed": day.resumed},
    )
    result = lake.write("features", *part, day.rows)
    yield dg.MaterializeResult(asset_key="features", metadata=written(result) | describe(day.rows))


def describe(rows: "pl.DataFrame") -> dict[str, Any]:
    """Return what people look at: range, share of valid rows, statistics of each feature, a plot."""
    from bot4_platform.reporting import line_plot, table, when

    if rows.is_empty():
        return {"valid_share": 0.0}
    valid = rows.filter(rows["valid"])
    shown = []
    for feature in FEATURES:
        values = valid[feature.name]
        numbers = (values.mean(), values.std(), values.min(), values.max())
        shown.append((feature.name, feature.unit, *(f"{v:.4g}" if isinstance(v, float) else "-" for v in numbers)))
    metadata: dict[str, Any] = {
        "first": when(rows["recv_ns"][0]),
        "last": when(rows["recv_ns"][-1]),
        "valid_share": valid.height / rows.height,
        "layout": layout_hash(),
        "statistics": table(("feature", "unit", "mean", "std", "min", "max"), shown),
    }
    if valid.height > 1:
        sample = valid.gather_every(max(1, valid.height // 2000))
        seconds = (sample["recv_ns"] - sample["recv_ns"][0]).to_numpy() / 1e9
        lines = {name: sample[name].to_numpy() for name in ("imbalance_1", "imbalance_5")}
        metadata["imbalance_plot"] = line_plot(seconds, lines, "ratio", "imbalance of the book")
    return metadata


@market_check(
    asset="features",
    description="Rows lie on the 100 ms grid in the order of the log, and a valid row has no gap in it: every feature "
    "is finite and there is a mid.",
    blocking=True,
)
def features_are_whole(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the rows that break a rule."""
    import polars as pl

    frame = bot4.lake().read("features", *market_day(context))
    names = [feature.name for feature in FEATURES]
    valid = frame.filter(frame["valid"])
    holes = valid.filter(
        pl.any_horizontal(pl.col(names).is_null() | ~pl.col(names).is_finite()) | pl.col("mid").is_null()
    )
    broken = {
        "holes": holes.height,
        "off_grid": frame.filter(frame["recv_ns"] % GRID_NS != 0).height,
        "disorder": int((frame["seq"].diff().drop_nulls() <= 0).sum()),
        "clock_back": int((frame["recv_ns"].diff().drop_nulls() < 0).sum()),
    }
    return dg.AssetCheckResult(
        passed=not any(broken.values()), metadata={"rows": frame.height, "valid": valid.height} | broken
    )


@market_check(
    asset="feature_state",
    description="The state belongs to this layout of features, and the day's last row does not lie behind it.",
    blocking=True,
)
def state_is_usable(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Decode it and compare its seq with the rows."""
    from bot4_live.features.batch import BatchState

    part, lake = market_day(context), bot4.lake()
    row = lake.read("feature_state", *part).row(0, named=True)
    seqs = lake.read("features", *part, columns=["seq"])["seq"]
    try:
        inner = int(BatchState.decode(row["state"]).array["last_seq"][0])
    except ValueError as error:
        return dg.AssetCheckResult(passed=False, metadata={"problem": str(error)})
    last_row = int(seqs[-1]) if len(seqs) else 0
    return dg.AssetCheckResult(
        passed=inner == row["last_seq"] >= last_row, metadata={"last_seq": inner, "last_row": last_row}
    )
