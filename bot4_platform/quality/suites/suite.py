"""What a suite is: a table of the lake, what is taken of it to be judged, and expectations as plain data.

Per-event rules belong to the feed, keys and nulls to dbt; here are distributions, samples and slow sources. Every
expectation says why it is there; the text shows in Data Docs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.lake import Lake

SAMPLE = 5_000
MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Expectation:
    """One of Great Expectations' expectations (`kind` without `Expect`), its arguments, and why it holds.

    An argument that is a function is asked when the expectation is built: what it needs is imported then, not with the
    definitions.
    """

    kind: str
    why: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """Return it as the library's object. The library is imported here."""
        from great_expectations import expectations

        meta = {"notes": {"format": "markdown", "content": [self.why]}}
        known = {name: value() if callable(value) else value for name, value in self.arguments.items()}
        return getattr(expectations, f"Expect{self.kind}")(**known, meta=meta)


def between(
    column: str, low: float | None, high: float | Callable[[], float] | None, why: str, **more: Any
) -> Expectation:
    """Expect a column's values in [low, high]; `mostly` is the share that must be."""
    return Expectation("ColumnValuesToBeBetween", why, {"column": column, "min_value": low, "max_value": high} | more)


def at_least(more: str, less: str, why: str) -> Expectation:
    """Expect column `more` to be at least column `less` in every row."""
    arguments = {
        "column_A": more,
        "column_B": less,
        "or_equal": True,
        "ignore_row_if": "either_value_is_missing",
    }
    return Expectation("ColumnPairValuesAToBeGreaterThanB", why, arguments)


def one_of(column: str, values: Iterable[str] | Callable[[], list[str]], why: str) -> Expectation:
    """Expect a column's values in a set."""
    known = values if callable(values) else sorted(values)
    return Expectation("ColumnValuesToBeInSet", why, {"column": column, "value_set": known})


def like(column: str, pattern: str | Callable[[], str], why: str) -> Expectation:
    """Expect a column's values to match a regular expression."""
    return Expectation("ColumnValuesToMatchRegex", why, {"column": column, "regex": pattern})


@dataclass(frozen=True)
class Suite:
    """A suite over `table`. `take` makes of one partition's rows what is judged; what it needs are `columns`.

    `days`: how many of the newest days Data Docs show (0: all). `by_day`: the table is partitioned by day alone, so a
    day's sources are judged together.
    """

    name: str
    table: str
    about: str
    expectations: tuple[Expectation, ...]
    take: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    columns: tuple[str, ...] = ()
    days: int = 2
    by_day: bool = False

    def frame(self, lake: Lake, partitions: Iterable[tuple[str, str]]) -> pl.DataFrame:
        """Return what is judged of these (day, market) partitions, with `market` and `day` beside; it may be empty."""
        import polars as pl

        taken = []
        for day, market in partitions:
            rows = lake.read(self.table, day, market, columns=list(self.columns) or None)
            rows = self.take(rows) if self.take is not None and rows.height else rows
            if rows.height:
                taken.append(
                    rows.drop("market", "day", strict=False).with_columns(market=pl.lit(market), day=pl.lit(day))
                )
        return pl.concat(taken, how="vertical_relaxed") if taken else pl.DataFrame()

    def newest(self, lake: Lake) -> list[tuple[str, str]]:
        """Return the partitions that Data Docs show."""
        known = lake.partitions(self.table)
        days = sorted({day for day, _ in known})[-self.days :]
        return [part for part in known if part[0] in days]


def sample(rows: pl.DataFrame) -> pl.DataFrame:
    """Return SAMPLE rows, the same ones of the same table each time, in their order."""
    if rows.height <= SAMPLE:
        return rows
    return rows.with_row_index("_row").sample(SAMPLE, seed=rows.height).sort("_row").drop("_row")


def minute(column: str = "exch_ns") -> pl.Expr:
    """Return the minute of a time as `minute_ns`."""
    import polars as pl

    return (pl.col(column) // MINUTE_NS * MINUTE_NS).alias("minute_ns")
