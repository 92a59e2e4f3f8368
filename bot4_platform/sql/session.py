"""A session of questions: DuckDB in memory over the lake's files, which can read them and do nothing else.

DuckDB keeps no file of its own: one process that reads such a file keeps all others from writing it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bot4_platform.lake import Lake
from bot4_platform.sql import views

ALLOWED = ("SELECT", "EXPLAIN", "MULTI")  # MULTI is what PIVOT becomes
FETCH = 10_000


class QueryError(ValueError):
    """A question that cannot be answered; says why and where."""


@dataclass(frozen=True)
class Answer:
    """The columns of a result and its rows, which are fetched as they are read."""

    columns: list[str]
    _cursor: Any = field(repr=False)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows."""
        while batch := self._cursor.fetchmany(FETCH):
            yield from batch


@dataclass(frozen=True)
class Session:
    """An open session; `tables` are the names of its views, sorted, `left_out` the archived days by table."""

    lake: Lake
    tables: list[str]
    left_out: dict[str, list[str]]
    _connection: Any = field(repr=False)

    def ask(self, text: str) -> Iterator[Answer]:
        """Yield the answer of each statement in `text`, asked as the one before was read. Raises QueryError."""
        import duckdb

        try:
            found = self._connection.extract_statements(text)
        except duckdb.Error as error:
            raise QueryError(_first_lines(error)) from None
        for statement in found:
            self._check(statement)
        for statement in found:
            try:
                cursor = self._connection.execute(statement)
                if cursor.description:
                    yield Answer([str(column[0]) for column in cursor.description], cursor)
            except duckdb.CatalogException as error:
                raise self._no_such(error) from None
            except duckdb.Error as error:
                raise QueryError(_first_lines(error)) from None

    def interrupt(self) -> None:
        """Stop what is being computed."""
        self._connection.interrupt()

    def _check(self, statement: Any) -> None:
        """Raise QueryError for a statement that does more than read."""
        kind = statement.type.name
        if kind == "EXPLAIN":  # ANALYZE would run what it explains
            inner = re.sub(r"^\s*explain\s*(analyze\b)?\s*(\([^)]*\))?\s*", "", statement.query, flags=re.I)
            kind = "/".join(found.type.name for found in self._connection.extract_statements(inner)) or kind
        if kind not in ALLOWED:
            raise QueryError(f"{kind.lower()} is not allowed: `bot4 sql` only reads; write a select")

    def _no_such(self, error: Exception) -> QueryError:
        found = re.search(r"Table with name (\S+) does not exist", str(error))
        if not found:
            return QueryError(_first_lines(error))
        known = ", ".join(self.tables) or "none yet: materialize an asset first (`bot4 platform`)"
        hint = "; the instruments are not there yet: materialize that asset" if found[1].endswith("_quoted") else ""
        hint = hint if "instruments" not in self.tables else ""
        return QueryError(f"the lake {self.lake.root} has no table {found[1]}; there are: {known}{hint}")


def named(text: str, tables: Iterable[str]) -> set[str]:
    """Return the tables that a text names, by themselves or as `<table>_quoted`."""
    words = {word.removesuffix("_quoted") for word in re.findall(r"\w+", text)}
    return words & set(tables)


@contextmanager
def open_session(lake: Lake, *, memory_mb: int = 2048, since: str = "", of: str = "") -> Iterator[Session]:
    """Open a session over `lake` as it is now. Raises FileNotFoundError when there is no lake.

    Archived days from `since` on (YYYY-MM-DD) are fetched, of the tables that the question `of` names. Raises
    ValueError when there is no archive, ArchiveError when it does not answer.
    """
    import duckdb

    if not lake.root.is_dir():
        raise FileNotFoundError(f"there is no lake at {lake.root}: materialize an asset first (`bot4 platform`)")
    with ExitStack() as stack:
        spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="bot4-sql-"))
        connection = stack.enter_context(duckdb.connect(":memory:"))
        archived = {table: _archived(lake, table) for table in lake.tables()}
        fetch = {
            table: [(day, market) for day, market in archived[table] if since and day >= since]
            for table in named(of, archived)
        }
        queries = views.statements(lake, stack, fetch)
        for name, query in queries.items():
            connection.execute(f'CREATE VIEW "{name}" AS {query}')
        connection.execute(f"SET memory_limit = '{memory_mb}MB'")
        connection.execute(f"SET temp_directory = '{spill}'")
        connection.execute("SET TimeZone = 'UTC'")
        root = str(lake.root.resolve()).replace("'", "''")
        given = str(lake.root).replace("'", "''")
        connection.execute(f"SET allowed_directories = ['{root}', '{given}', '{spill}']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        left_out = {
            table: sorted({day for day, market in there if (day, market) not in fetch.get(table, ())})
            for table, there in archived.items()
        }
        yield Session(lake, sorted(queries), {table: days for table, days in left_out.items() if days}, connection)


def _archived(lake: Lake, table: str) -> list[tuple[str, str]]:
    """Return the partitions of a table that are in the archive only."""
    return sorted({*lake.partitions(table, archived=True)} - {*lake.partitions(table)})


def _first_lines(error: Exception) -> str:
    """Return DuckDB's message with the place in the query, without the candidates after it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines[:8])
