"""A history file into the lake: checked row by row, exact, each row once, gaps reported and never filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot4_live.clock import DAY_NS
from bot4_platform.lake import Lake
from bot4_platform.own_history import reading, rules
from bot4_platform.own_history.exact import times
from bot4_platform.own_history.layout import KINDS, Kind
from bot4_platform.own_history.reading import LINE, RAW
from bot4_platform.own_history.rules import REASON, RULE
from bot4_platform.own_history.steps import Versions, by_version
from bot4_platform.reporting import when
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.validation import Rejected
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl

SHOWN = 10


@dataclass(frozen=True)
class Gap:
    """Missing candles: after the one that opens at `after`, `missing` of them, until the one at `before`."""

    after: str
    before: str
    missing: int


@dataclass
class Report:
    """What an import did. `rejected` counts rows by rule, `examples` shows the first ones by line."""

    file: str
    kind: str
    market: str
    table: str
    rows: int = 0
    new: int = 0
    already_there: int = 0
    repeated: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    first: str | None = None
    last: str | None = None
    days: int = 0
    missing: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """What to read: `columns` are the file's names of ours where they differ, `interval_s` is a candle's."""

    path: Path
    kind: str
    market: str
    columns: dict[str, str] = field(default_factory=dict)
    interval_s: int = 0
    time_format: str | None = None
    skip_lines: int = 0


Progress = Callable[[str, float], None]


def import_file(
    lake: Lake, source: Source, versions: Versions, *, now_ns: int, progress: Progress = lambda _text, _done: None
) -> Report:
    """Import one file; return what became of its rows. Doing it again adds nothing.

    Raises ValueError for a file that cannot be read as what it is said to be; rows that are wrong are quarantined.
    """
    kind = KINDS[source.kind]
    report = Report(source.path.name, source.kind, source.market, kind.table)
    good, bad = _read(source, kind, versions, now_ns, report, progress)
    if not good.is_empty():
        good, clashing = _once(_as_table(good, source, kind), TABLES[kind.table].unique, report)
        bad += clashing
        time = "open_ns" if source.interval_s else "event_ns"
        good = good.sort(time, maintain_order=True)
        report.first, report.last = (when(int(good[time][at])) for at in (0, -1))
        if source.interval_s:
            _report_gaps(good["open_ns"], source.interval_s, report)
        bad += _write(lake, source, kind, good.with_columns(day=good[time] // DAY_NS), report, progress)
    _put_aside(lake, source, sorted(bad, key=lambda found: found.line), report, now_ns)
    return report


@dataclass(frozen=True)
class _Bad:
    line: int
    rule: str
    reason: str
    raw: str


def _read(
    source: Source, kind: Kind, versions: Versions, now_ns: int, report: Report, progress: Progress
) -> tuple[pl.DataFrame, list[_Bad]]:
    """Return all good rows as integers, and the bad ones."""
    import polars as pl

    columns = {name: source.columns.get(name, name) for name in kind.columns}
    good, bad = [], []
    for chunk in reading.read_chunks(source.path, columns, kind.optional, skip_lines=source.skip_lines):
        report.rows += chunk.rows.height
        at = times(chunk.rows["time"], source.time_format)
        for instrument, rows in by_version(chunk.rows, at, versions):
            verdict = rules.judge(
                rows, kind, instrument, now_ns=now_ns, interval_ns=source.interval_s * 10**9,
                pattern=source.time_format,
            )  # fmt: skip
            good.append(verdict.good)
            bad += [_Bad(*row) for row in verdict.bad.select(LINE, RULE, REASON, RAW).iter_rows()]
        progress(f"{report.rows:,} rows read, {len(bad):,} rejected", chunk.done)
    return pl.concat(good).sort(LINE) if good else pl.DataFrame(), bad


def _as_table(good: pl.DataFrame, source: Source, kind: Kind) -> pl.DataFrame:
    """Return rows in the columns of the table, with `_line` and `_raw`."""
    import polars as pl

    ends = pl.col("time_ns") + source.interval_s * 10**9
    rows = good.with_columns(
        open_ns="time_ns", interval_s=pl.lit(source.interval_s, pl.Int64), event_ns=ends, created_ns=ends
    )
    if source.kind == "trades" and "id" not in rows.columns:
        content = ["time_ns", "price", "qty", "sell"]
        twin = pl.int_range(pl.len()).over(content)
        rows = rows.with_columns(id=pl.format("{}-{}-{}-{}-{}", *content, twin))
    return rows.select(*TABLES[kind.table].columns, LINE, RAW)


def _once(rows: pl.DataFrame, key: tuple[str, ...], report: Report) -> tuple[pl.DataFrame, list[_Bad]]:
    """Return the first row of each key, and those after it that say something else."""
    import polars as pl

    same = [name for name in rows.columns if name not in (LINE, RAW)]
    marked = rows.with_columns(
        pl.col(LINE).first().over(key).alias("_first"),
        pl.struct(same).eq_missing(pl.struct(same).first().over(key)).alias("_same"),
    )
    later = marked.filter(pl.col(LINE) != pl.col("_first"))
    report.repeated = int(later["_same"].sum())
    clashing = later.filter(~pl.col("_same"))
    bad = [
        _Bad(line, "repeated", f"line {first} has other values for the same {' and '.join(key)}", raw)
        for line, first, raw in clashing.select(LINE, "_first", RAW).iter_rows()
    ]
    return marked.filter(pl.col(LINE) == pl.col("_first")).drop("_first", "_same"), bad


def _report_gaps(opens: pl.Series, interval_s: int, report: Report) -> None:
    """Name what is missing between the first candle and the last."""
    import polars as pl

    steps = pl.DataFrame({"before": opens}).with_columns(after=pl.col("before").shift(1)).drop_nulls()
    steps = steps.with_columns(missing=(pl.col("before") - pl.col("after")) // (interval_s * 10**9) - 1)
    holes = steps.filter(pl.col("missing") > 0)
    report.gaps = [
        Gap(when(after), when(before), missing)
        for after, before, missing in holes.select("after", "before", "missing").iter_rows()
    ]
    report.missing = sum(gap.missing for gap in report.gaps)


def _write(
    lake: Lake, source: Source, kind: Kind, rows: pl.DataFrame, report: Report, progress: Progress
) -> list[_Bad]:
    """Append the rows day by day; return those that the lake has with other values."""
    import polars as pl

    spec, bad = TABLES[kind.table], list[_Bad]()
    key = list(spec.unique)
    parts = rows.partition_by("day", maintain_order=True)
    report.days = len(parts)
    for number, part in enumerate(parts, 1):
        day = when(int(part["day"][0]) * DAY_NS)[:10]
        fresh = part
        if lake.exists(kind.table, day, source.market):
            there = lake.read(kind.table, day, source.market)
            known = part.join(there, on=key, how="inner", suffix="_there", nulls_equal=True)
            others = [name for name in spec.columns if name not in key]
            differs = pl.any_horizontal(
                pl.lit(value=False), *(pl.col(name).ne_missing(pl.col(f"{name}_there")) for name in others)
            )
            changed = known.filter(differs)
            report.already_there += known.height - changed.height
            what = "the lake has other values for it; what is there stays"
            bad += [_Bad(line, "differs", what, raw) for line, raw in changed.select(LINE, RAW).iter_rows()]
            fresh = part.join(there, on=key, how="anti", nulls_equal=True)
        if not fresh.is_empty():
            report.new += lake.append(kind.table, day, source.market, fresh.select(list(spec.columns))).rows
        progress(f"{day}: {report.new:,} rows new", number / len(parts))
    return bad


def _put_aside(lake: Lake, source: Source, bad: list[_Bad], report: Report, now_ns: int) -> None:
    """Count the rejected rows, show the first ones, and keep all in the quarantine."""
    for found in bad:
        report.rejected[found.rule] = report.rejected.get(found.rule, 0) + 1
    report.examples = [f"{report.file}:{found.line}: {found.reason}" for found in bad[:SHOWN]]
    if bad:
        day = (report.first or when(now_ns))[:10]
        kept = [Rejected(found.rule, f"line {found.line}: {found.reason}", found.raw.encode()) for found in bad]
        quarantine(lake, f"import:{report.file}", day, source.market, kept, now_ns=now_ns)
