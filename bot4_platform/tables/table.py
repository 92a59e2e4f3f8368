"""What a table of the lake is: columns, types, order of rows, what is unique, and how its schema has grown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Table:
    """A table: what a row is, its columns with polars' names of types, the order of rows, and what is unique.

    A schema only grows: a new column goes to the end, with the version it came with in `since` (what is not named
    there is of version 1) and, where null is not meant, with what older rows have there in `defaults`.
    A table that is not `partitioned` is one file; all others lie by day and market.
    """

    title: str
    columns: dict[str, str]
    order: tuple[str, ...]
    unique: tuple[str, ...]
    since: dict[str, int] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    partitioned: bool = True

    @property
    def version(self) -> int:
        """Return the version of the schema, from 1."""
        return max(self.since.values(), default=1)

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
        return self.sorted(frame.select(list(self.columns)))

    def sorted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` in the table's order; what is equal in it stays as it came."""
        if len(self.order) == 1 and frame[self.order[0]].is_sorted():
            return frame  # mostly: a sort is a quarter of the time that writing takes
        return frame.sort(self.order, maintain_order=True)

    def known(self, columns: Iterable[str]) -> list[str]:
        """Return `columns` as a list. Raises ValueError when one is none of this table's."""
        asked = list(columns)
        unknown = [name for name in asked if name not in self.columns]
        if unknown:
            raise ValueError(f"{self.title}: no column {', '.join(unknown)}; there are {', '.join(self.columns)}")
        return asked


# What every row of the journal carries.
EVENT = {"seq": "Int64", "recv_ns": "Int64", "exch_ns": "Int64"}
