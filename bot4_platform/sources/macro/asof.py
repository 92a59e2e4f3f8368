"""What was known of a series at a time: of each period the newest value published until then, never a later one."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from bot4_live.clock import day_of
from bot4_platform.lake import Lake
from bot4_platform.sources.macro.day import OBSERVATIONS, scope

if TYPE_CHECKING:
    import polars as pl


def known_at(lake: Lake, series: str, at_ns: int) -> pl.DataFrame:
    """Return the values of a series known at `at_ns`, one row a period, in order of periods.

    Columns as `macro_observations`. What was read into the lake bounds it: a period whose release day was never
    materialized is not in it.
    """
    import polars as pl

    from bot4_platform.tables import TABLES

    last = day_of(at_ns)
    days = [
        day
        for day, _ in lake.partitions(OBSERVATIONS, scope(series))
        if date.fromisoformat(day) <= date.fromisoformat(last)
    ]
    if not days:
        return TABLES[OBSERVATIONS].empty()
    frame = lake.read(OBSERVATIONS, days, scope(series)).filter(pl.col("created_ns") <= at_ns)
    return frame.sort("created_ns", "period").unique("period", keep="last", maintain_order=True).sort("period")
