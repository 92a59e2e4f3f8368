"""Versioned migrations: numbered .sql files, applied once each, in order, forward only.

`NNNN_name.sql` is for every server, `NNNN_name.timescale.sql` and `NNNN_name.postgres.sql` for one with and without the
extension. `market.schema_migrations` keeps the digest of each applied file: one that changed afterwards is refused.
Each file is one transaction with its row there; an advisory lock lets two runs at once follow each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bot4_platform.timescale.connection import DatabaseRefused, connect
from bot4_platform.timescale.settings import PostgresSettings

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Engine = Literal["timescale", "postgres"]

FILES = Path(__file__).parent / "migrations"
LOCK = 0x626F7434  # "bot4": the advisory lock of all that changes the schema
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)(?:\.(timescale|postgres))?\.sql")


class MigrationError(ValueError):
    """The database and the files do not belong together; says which and what to do."""


@dataclass(frozen=True)
class Migration:
    """One file: its number, name, statements and the digest of its bytes."""

    version: int
    name: str
    sql: str
    digest: str


@dataclass(frozen=True)
class Status:
    """What a database has: its engine and, for every migration, whether it is applied."""

    engine: Engine
    applied: tuple[Migration, ...]
    pending: tuple[Migration, ...]


def migrations(engine: Engine, folder: Path = FILES) -> list[Migration]:
    """Return the migrations of an engine in order. Raises MigrationError for a misnamed file or a number used twice."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        parts = _NAME.fullmatch(path.name)
        if parts is None:
            raise MigrationError(f"{path.name} is no migration: name it 0001_what_it_does.sql")
        if parts[3] not in (None, engine):
            continue
        version, raw = int(parts[1]), path.read_bytes()
        if version in found:
            raise MigrationError(f"two migrations have the number {version:04}: {found[version].name}, {path.name}")
        found[version] = Migration(version, path.name, raw.decode(), hashlib.sha256(raw).hexdigest())
    return list(found.values())


def migrate(
    settings: PostgresSettings, *, folder: Path = FILES, progress: Callable[[str], None] = lambda line: None
) -> Status:
    """Create the databases that are missing and apply what is pending; return the status afterwards.

    Raises MigrationError when an applied file has changed, disappeared or was overtaken, or when one fails: those
    before it stay applied, it leaves nothing. Raises what `connection.connect` does.
    """
    create_databases(settings, progress)
    with connect(settings) as db, _alone(db):
        status = _status(db, settings, folder)
        for item in status.pending:
            progress(f"applying {item.name}")
            with db.cursor() as cursor:
                try:
                    cursor.execute(item.sql)
                except db.Error as error:
                    why = str(error).splitlines()[0]
                    raise MigrationError(f"{item.name} failed and left nothing: {why}") from None
                cursor.execute(
                    "insert into market.schema_migrations (version, name, engine, digest) values (%s, %s, %s, %s)",
                    (item.version, item.name, status.engine, item.digest),
                )
            db.commit()
        return _status(db, settings, folder)


def read_status(settings: PostgresSettings, *, folder: Path = FILES) -> Status:
    """Return what the database has. Raises MigrationError as `migrate` does; changes nothing."""
    with connect(settings) as db:
        return _status(db, settings, folder)


def require_current(db: connection, settings: PostgresSettings) -> Engine:
    """Return the engine of a database that has every migration; raise MigrationError for one that lacks some."""
    status = _status(db, settings, FILES)
    if status.pending:
        names = ", ".join(item.name for item in status.pending)
        raise MigrationError(f"database {settings.database} lacks {names}: run `bot4 db migrate`")
    return status.engine


def create_databases(settings: PostgresSettings, progress: Callable[[str], None] = lambda line: None) -> None:
    """Create each database of `settings` that the server lacks.

    Raises DatabaseRefused with the statement to run when the role may not.
    """
    with connect(settings, "postgres", autocommit=True) as db, db.cursor() as cursor:
        cursor.execute("select datname from pg_database")
        there = {name for (name,) in cursor.fetchall()}
        for name in settings.databases:
            if name in there:
                continue
            try:
                cursor.execute(f'create database "{name}"')
                progress(f"created database {name}")
            except db.Error as error:
                if error.pgcode in ("42P04", "23505"):  # somebody else was faster
                    continue
                raise DatabaseRefused(
                    f"database {name} is missing and {settings.user} may not create it; as a superuser: "
                    f'create database "{name}" owner "{settings.user}"'
                ) from None


@contextmanager
def _alone(db: connection) -> Iterator[None]:
    """Hold the advisory lock of schema changes, and have the table of migrations."""
    with db.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s)", (LOCK,))
        cursor.execute(
            "create schema if not exists market;"
            "create table if not exists market.schema_migrations (version int primary key, name text not null,"
            " engine text not null, digest text not null, applied_at timestamptz not null default now())"
        )
    db.commit()
    yield  # the lock goes with the session


def _status(db: connection, settings: PostgresSettings, folder: Path) -> Status:
    with db.cursor() as cursor:
        cursor.execute("select to_regclass('market.schema_migrations') is not null")
        rows: list[tuple[int, str, str, str]] = []
        if cursor.fetchone() == (True,):
            cursor.execute("select version, name, engine, digest from market.schema_migrations order by version")
            rows = cursor.fetchall()
        engine = _engine(cursor, settings, rows)
    db.rollback()
    files = migrations(engine, folder)
    return Status(engine, *_compare(settings, rows, files))


def _compare(
    settings: PostgresSettings, rows: Sequence[tuple[int, str, str, str]], files: Sequence[Migration]
) -> tuple[tuple[Migration, ...], tuple[Migration, ...]]:
    """Return what is applied and what is pending; raise MigrationError where rows and files disagree."""
    known = {item.version: item for item in files}
    for version, name, _, digest in rows:
        if version not in known:
            raise MigrationError(f"database {settings.database} has {name}, which this version of bot4 does not know")
        if known[version].digest != digest:
            raise MigrationError(
                f"{known[version].name} was changed after it was applied to database {settings.database}: put it "
                "back as it was and make the change in a new migration"
            )
    done = {version for version, *_ in rows}
    pending = tuple(item for item in files if item.version not in done)
    if pending and done and pending[0].version < max(done):
        raise MigrationError(
            f"{pending[0].name} comes before {max(done):04}, which is applied already: give it a later number"
        )
    return tuple(item for item in files if item.version in done), pending


def _engine(cursor: object, settings: PostgresSettings, rows: Sequence[tuple[int, str, str, str]]) -> Engine:
    """Return the engine a database began with, else the one it is going to have."""
    cursor.execute(  # type: ignore[attr-defined]
        "select exists (select from pg_available_extensions where name = 'timescaledb')"
        " and current_setting('shared_preload_libraries') like '%timescaledb%'"
    )
    loaded = cursor.fetchone() == (True,)  # type: ignore[attr-defined]
    if not loaded and (settings.engine == "timescale" or any(row[2] == "timescale" for row in rows)):
        raise MigrationError(
            f"{settings.place} does not load TimescaleDB: install it and set shared_preload_libraries = 'timescaledb' "
            "(docs/timescale.md)"
        )
    wanted: Engine = "timescale" if loaded and settings.engine != "postgres" else "postgres"
    began = {row[2] for row in rows}
    if not began:
        return wanted
    if settings.engine != "auto" and wanted not in began:
        raise MigrationError(
            f"database {settings.database} began as {began.pop()}: load the days anew into a fresh database for "
            f"{wanted}, or set BOT4_PLATFORM__POSTGRES__ENGINE=auto"
        )
    return "timescale" if "timescale" in began else "postgres"
