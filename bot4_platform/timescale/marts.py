"""dbt's marts on PostgreSQL: the same models as in `embedded`, compared with what they left in the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bot4_platform import dbt_runner
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES
from bot4_platform.timescale.connection import bulk_connect
from bot4_platform.timescale.settings import PostgresSettings

if TYPE_CHECKING:
    import polars as pl

SHARE = 1e-9  # how far means of doubles may differ: they are summed in another order


def build_marts(settings: PostgresSettings, part: MarketDay, target_path: Path, names: list[str]) -> None:
    """Run models of dbt, and all that they are made of, with their tests on a partition of the database.

    The sources are market.market_ticks and the schema `lake`. Raises ValueError naming what did not pass.
    """
    outcomes = dbt_runner.build(Path(), Path(), *part, target_path=target_path, server=settings, select=names)
    broken = [f"{found.unique_id} {found.status}: {found.message}" for found in outcomes if not found.ok]
    if broken or not outcomes:
        raise ValueError(f"dbt on {settings.place}: {'; '.join(broken) or 'nothing was selected'}")


def read_mart(settings: PostgresSettings, name: str, part: MarketDay) -> pl.DataFrame:
    """Return a mart's rows of a partition, in the lake's columns and order; types are what the database has."""
    import polars as pl

    spec = TABLES[name]
    columns = ", ".join(f'"{column}"' for column in spec.columns)
    with bulk_connect(settings) as bulk, bulk.cursor() as cursor:
        cursor.execute(f"select {columns} from marts.{name} where day = cast($1 as text)::date and market = $2", part)
        frame = pl.from_arrow(cursor.fetch_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return spec.sorted(frame)


def mart_differences(found: pl.DataFrame, wanted: pl.DataFrame) -> list[str]:
    """Return in which columns a mart of the database is not the lake's: integers exactly, means within SHARE."""
    import polars as pl

    if found.height != wanted.height:
        return [f"{found.height} rows, the lake has {wanted.height}"]
    lines = []
    for name in wanted.columns:
        have, want = found[name], wanted[name]
        if have.dtype != want.dtype:
            lines.append(f"{name} is {have.dtype}, in the lake {want.dtype}")
        elif want.dtype == pl.Float64:
            near = ((have - want).abs() <= want.abs() * SHARE) | (have.is_null() & want.is_null())
            if not near.fill_null(False).all():
                lines.append(f"{name} differs by more than {SHARE:g} of itself")
        elif not have.equals(want, null_equal=True):
            lines.append(f"{name} differs in {(have.ne_missing(want)).sum()} rows")
    return lines
