"""What a table of the lake is: columns, types, order of rows, and what is unique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Table:
    """A table: what a row is, its columns with polars' names of types, the order of rows, and what is unique."""

    title: str
    columns: dict[str, str]
    order: tuple[str, ...]
    unique: tuple[str, ...]

    def schema(self) -> pl.Schema:
        """Return the columns as a polars schema."""
        import polars as pl

        return pl.Schema({name: getattr(pl, kind) for name, kind in self.columns.items()})

    def empty(self) -> pl.DataFrame:
        """Return the table without rows."""
        import polars as pl

        return pl.DataFrame(schema=self.schema())

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` sorted. Raises ValueError when its columns or types are not this table's."""
        if dict(frame.schema) != dict(self.schema()):
            have = {name: str(kind) for name, kind in frame.schema.items()}
            wrong = sorted(name for name in self.columns | have if str(have.get(name)) != str(self.columns.get(name)))
            raise ValueError(f"{self.title}: wrong columns or types: {', '.join(wrong)}")
        return frame.select(list(self.columns)).sort(self.order)


# What every row of the journal carries.
EVENT = {"seq": "Int64", "recv_ns": "Int64", "exch_ns": "Int64"}
