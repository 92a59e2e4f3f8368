"""A mart's way into the lake, and what its page in Dagster shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.partitions import MarketDay

if TYPE_CHECKING:
    from bot4_platform.lake import Lake

SHOWN = 15  # rows


def publish(lake: "Lake", built: Path, name: str, part: MarketDay) -> dict[str, Any]:
    """Publish what dbt built as the partition of a mart, and return its metadata.

    Raises ValueError when a column is not of its declared type: an integer that became a double on the way.
    """
    import polars as pl

    from bot4_platform.reporting import table, when, written

    frame = pl.read_parquet(built)
    result = lake.write(name, *part, frame)
    head = frame.head(SHOWN)
    times = {column for column in head.columns if column.endswith("_ns") and any(map(_is_time, head[column]))}
    rows = [
        tuple(when(value)[:16] if column in times and value is not None else _cell(value) for column, value in row)
        for row in (zip(head.columns, values, strict=True) for values in head.iter_rows())
    ]
    titles = [f"{column.removesuffix('_ns')} (UTC)" if column in times else column for column in head.columns]
    types = "\n".join(f"- `{column}` {kind}" for column, kind in frame.schema.items())
    metadata: dict[str, Any] = written(result) | {
        "rows": table(titles, rows),
        "columns": dg.MetadataValue.md(types),
    }
    for column in ("trades", "quotes", "samples", "statements", "liquidations", "messages"):
        if column in frame.columns:
            metadata[column] = int(frame[column].sum())
    return metadata


def _is_time(value: Any) -> bool:
    """Return whether a number of ns is a time of this century and no duration."""
    return isinstance(value, int) and value > 946_684_800 * 10**9


def _cell(value: Any) -> Any:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else value
