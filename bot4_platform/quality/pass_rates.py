"""How much of what came passed validation: counted by table and rule from the lake, so that nothing has to be kept.

The target is 99.9 % of events (SPEC D12). What a person released later still counts as refused: the rate is the feed's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_live.events import Kind
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl

TARGET = 0.999
FEWEST = 100_000  # frames of a day that can tell 99.9 % from 99.8 %: 100 refused ones, give or take 10
UNKNOWN = "unknown"
# What a refused frame's stream code (a Kind) would have become.
TABLE_OF = {
    Kind.TRADE: "trades", Kind.BOOK_TICKER: "quotes", Kind.DEPTH_DIFF: "depth", Kind.DEPTH_SNAPSHOT: "depth",
    Kind.FUNDING: "funding", Kind.LIQUIDATION: "liquidations", Kind.TICKER: "tickers",
}  # fmt: skip


def count(lake: Lake, part: MarketDay) -> pl.DataFrame:
    """Return the table `pass_rates` of a partition: events that passed, and refused frames by rule."""
    import polars as pl

    refused = lake.read("quarantine", *part, columns=["seq", "rule", "stream"])
    rows = []
    for name in sorted(set(TABLE_OF.values())):
        if lake.exists(name, *part):
            seqs = lake.read(name, *part, columns=["seq"])["seq"]  # a ticker is several rows of one event
            rows.append((name, "", seqs.filter(~seqs.is_in(refused["seq"].implode())).n_unique()))
    codes = {str(int(kind)): table for kind, table in TABLE_OF.items()}
    named = refused.with_columns(table=pl.col("stream").replace_strict(codes, default=UNKNOWN))
    rows += named.group_by("table", "rule").len().rows()
    spec = TABLES["pass_rates"]
    return spec.conform(pl.DataFrame(rows, schema=spec.schema(), orient="row"))


def share(rates: pl.DataFrame) -> float | None:
    """Return the share of frames that passed, None when there were none."""
    total = int(rates["frames"].sum())
    return int(rates.filter(rates["rule"] == "")["frames"].sum()) / total if total else None
