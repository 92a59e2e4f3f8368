"""The lake as SQL views of DuckDB: one a table, and one in quote currency where a table counts in ticks and lots.

`<table>` has the columns of the table as they lie, integers as integers, and `day` (a date) and `market`
(`venue:SYMBOL`), by both of which files are left out. `<table>_quoted` has prices in quote currency and quantities in
base currency (or contracts) as doubles, by the instrument that held at the row's time (or by the tick and lot that the
row itself states, as those of venues' history do), and that time as `time`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bot4_platform import parts
from bot4_platform.instruments import TABLE as INSTRUMENTS
from bot4_platform.lake import MARKET_FOLDER, Lake
from bot4_platform.schemas import read_schema
from bot4_platform.tables import TABLES, Table

# A row's exchange time is the first of these that its table has; what counts ticks, and what counts lots.
TIMES = ("exch_ns", "open_ns", "minute_ns", "bucket_ns", "event_ns")
PRICES = ("price", "open", "high", "low", "close", "bid_px", "ask_px")
QUANTITIES = ("qty", "volume", "bid_qty", "ask_qty", "lots")
_MARKET = rf"regexp_replace(market, '^{MARKET_FOLDER}$', '\1:\2')"


Partitions = Sequence[tuple[str, str]]  # (day, market)


def statements(lake: Lake, pins: ExitStack, fetch: Mapping[str, Partitions]) -> dict[str, str]:
    """Return the query of each view by its name, over what is local and the archived partitions to `fetch` by table.

    Files of open and of fetched partitions are pinned for as long as `pins` lives.
    """
    found = {}
    for table in lake.tables():
        files = _files(lake, table, pins, fetch.get(table, ()))
        if files:
            found[table] = _of_files(lake, table, files)
    known = INSTRUMENTS in found
    quotes = {f"{table}_quoted": quoted(table) for table in found if known or states_units(table)}
    return found | {name: text for name, text in quotes.items() if text is not None}


def states_units(table: str) -> bool:
    """Return whether the rows of a table say themselves what they are counted in."""
    spec = TABLES.get(table)
    return spec is not None and {"tick_e8", "lot_e8"} <= set(spec.columns)


def quoted(table: str) -> str | None:
    """Return the query of a table in quote currency, None where nothing in it is counted in ticks or lots."""
    spec = TABLES.get(table)
    time = next((name for name in TIMES if spec and name in spec.columns), None)
    if spec is None or time is None:
        return None
    whole = {name for name, kind in spec.columns.items() if kind == "Int64"}
    prices = [name for name in PRICES if name in whole]
    if not prices:
        return None
    by = "t" if states_units(table) else "i"
    scaled = [f"t.{name}::HUGEINT * {by}.tick_e8 / 1e8 AS {name}" for name in prices]
    scaled += [f"t.{name}::HUGEINT * {by}.lot_e8 / 1e8 AS {name}" for name in QUANTITIES if name in whole]
    ratio = f"t.vwap_num / t.vwap_den * {by}.tick_e8 / 1e8 AS vwap, " if {"vwap_num", "vwap_den"} <= whole else ""
    plain = (
        f"SELECT make_timestamp_ns(t.{time}) AS time, {ratio}t.* REPLACE ({', '.join(scaled)}) FROM {_name(table)} t"
    )
    if by == "t":
        return plain
    return (
        f"{plain} LEFT JOIN {INSTRUMENTS} i ON i.market = t.market AND t.{time} >= i.valid_from_ns "
        f"AND (i.valid_to_ns IS NULL OR t.{time} < i.valid_to_ns)"
    )


def _files(lake: Lake, table: str, pins: ExitStack, fetch: Partitions) -> list[Path]:
    """Return the files of a table; as links those of partitions in parts, since a compaction may replace them, and
    those fetched, since the cache is bounded.
    """
    spec = TABLES.get(table)
    keys = [("", "")] if spec is not None and not spec.partitioned else lake.partitions(table)
    found = []
    for day, market in sorted({*keys, *fetch}):
        if (day, market) not in fetch and not parts.numbered(lake.folder(table, day, market)):
            found.append(lake.path(table, day, market))
        else:
            pin = pins.enter_context(lake.pinned(day, market, [table]))
            found += sorted(Lake(pin).folder(table, day, market).glob("part*.parquet"))
    return [path for path in found if path.is_file()]


def _of_files(lake: Lake, table: str, files: Sequence[Path]) -> str:
    spec = TABLES.get(table)
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in files:
        groups.setdefault(_missing(path, spec), []).append(path)
    texts = [_select(paths, spec, missing) for missing, paths in groups.items()]
    return " UNION ALL BY NAME ".join(texts)


def _missing(path: Path, spec: Table | None) -> tuple[str, ...]:
    """Return the columns that a file of an earlier schema lacks; files of tables that never grew are not opened."""
    if spec is None or not spec.since:
        return ()
    have = read_schema(path)
    return tuple(name for name in spec.columns if name not in have)


def _select(paths: Sequence[Path], spec: Table | None, missing: Sequence[str]) -> str:
    hive = "hive_types = {'day': DATE, 'market': VARCHAR}, " if spec is None or spec.partitioned else ""
    read = (
        f"read_parquet([{', '.join(map(_text, paths))}], {hive}hive_partitioning = {'true' if hive else 'false'}, "
        "union_by_name = false)"
    )
    market = f" REPLACE ({_MARKET} AS market)" if hive else ""
    if spec is None:
        return f"SELECT *{market} FROM {read}"
    added = "".join(f", {_value(spec.defaults.get(name))}::{_type(spec, name)} AS {_name(name)}" for name in missing)
    rows = f"SELECT *{market}{added} FROM {read}"
    keys = [name for name in ("day", "market") if hive and name not in spec.columns]
    return f"SELECT {', '.join([*keys, *map(_name, spec.columns)])} FROM ({rows})"


def _type(spec: Table, name: str) -> str:
    kinds = {"Int64": "BIGINT", "Float64": "DOUBLE", "String": "VARCHAR", "Boolean": "BOOLEAN", "Binary": "BLOB"}
    return kinds[spec.columns[name]]


def _value(value: object) -> str:
    return "NULL" if value is None else _text(value) if isinstance(value, str) else str(value)


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
