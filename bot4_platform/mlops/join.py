"""Labels from the feature grid, and features for labels: as of each label's time, through Feast."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from bot4_live.features.registry import NAMES
from bot4_platform.mlops.labels import forward_return

if TYPE_CHECKING:
    import polars as pl
    from feast import FeatureStore

    from bot4_platform.lake import Lake

GRID_NS = 100_000_000
VIEW = "fast_features"


def label_table(
    lake: Lake, horizon_ns: int, on_days: int, until_ns: int | None = None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the labels of every market over the newest `on_days` days of features, and what is known about them.

    Columns: `dataset.LABEL_COLUMNS`. The facts hold `until_ns`, the last recv_ns of anything that was read (no later
    than a given `until_ns`), and how many rows were unfinished or broken. Raises FileNotFoundError without features.
    """
    import polars as pl

    found = lake.partitions("features")
    if not found:
        lake.read("features")  # says what to materialize
    first = (date.fromisoformat(found[-1][0]) - timedelta(on_days - 1)).isoformat()
    frames, last = [], 0
    counts = {"grid_rows": 0, "valid_rows": 0, "unfinished": 0, "broken": 0}
    for market in sorted({market for _, market in found}):
        days = [day for day, name in found if name == market and day >= first]
        grid = lake.read("features", days, market, columns=["seq", "recv_ns", "valid", "mid"])
        # The row at a midnight may stand in both days.
        grid = grid.sort("seq").unique("recv_ns", keep="last", maintain_order=True).sort("recv_ns")
        if until_ns is not None:
            grid = grid.filter(pl.col("recv_ns") <= until_ns)
        if grid.is_empty():
            continue
        time = grid["recv_ns"].to_numpy()
        mid = grid["mid"].fill_null(float("nan")).to_numpy()
        labels = forward_return(time, mid, grid["valid"].to_numpy(), horizon_ns, GRID_NS, until_ns)
        last = max(last, int(time[-1]))
        counts["grid_rows"] += grid.height
        counts["valid_rows"] += int(grid["valid"].sum())
        counts["unfinished"] += labels.unfinished
        counts["broken"] += labels.broken
        frames.append(
            pl.DataFrame(
                {
                    "market": [market] * labels.row.size,
                    "seq": grid["seq"].to_numpy()[labels.row],
                    "recv_ns": labels.start_ns,
                    "end_ns": labels.end_ns,
                    "label": labels.value,
                    "weight": labels.weight,
                }
            )
        )
    if not frames or not sum(frame.height for frame in frames):
        raise ValueError(
            f"no label can be made of {counts['grid_rows']} rows ({counts['valid_rows']} of them valid): "
            "record more of the market, or choose a later cut"
        )
    table = pl.concat(frames).sort("recv_ns", "market")
    return table, counts | {"until_ns": last, "horizon_ns": horizon_ns, "first_day": first}


def with_features(store: FeatureStore, labels: pl.DataFrame) -> pl.DataFrame:
    """Return `labels` with one column a fast feature, as of each label's recv_ns, created times honoured.

    Raises ValueError when Feast returns other rows than were asked for.
    """
    import pandas as pd
    import polars as pl

    entities = pd.DataFrame(
        {
            "market": labels["market"].to_list(),
            "seq": labels["seq"].to_numpy(),
            "event_timestamp": pd.to_datetime(labels["recv_ns"].to_numpy(), unit="ns", utc=True),
        }
    )
    job = store.get_historical_features(
        entities, features=[f"{VIEW}:{name}" for name in NAMES], filter_by_created_timestamp=True
    )
    joined = pl.from_arrow(job.to_arrow())
    assert isinstance(joined, pl.DataFrame)
    if not joined["seq"].equals(labels["seq"]):
        raise ValueError("Feast returned other rows than were asked for: run `bot4 doctor` and apply the views again")
    return pl.concat([labels, joined.select(NAMES)], how="horizontal")
