"""Real servers, one of each kind a session, and a fresh database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from bot4_live.machine import postgres_folder
from bot4_platform.timescale.connection import connect
from bot4_platform.timescale.local_server import LocalServer, has_timescale
from bot4_platform.timescale.settings import PostgresSettings
from tests.bot4_platform.timescale.days import PART

_numbers = itertools.count(1)


def _server(*, timescale: bool) -> Iterator[LocalServer]:
    if postgres_folder() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if timescale and not has_timescale():
        pytest.skip("TimescaleDB is not installed for this PostgreSQL (docs/timescale.md)")
    server = LocalServer(timescale)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalServer]:
    """Plain PostgreSQL."""
    yield from _server(timescale=False)


@pytest.fixture(scope="session")
def timescale_server() -> Iterator[LocalServer]:
    """PostgreSQL with TimescaleDB."""
    yield from _server(timescale=True)


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.services),
        pytest.param("timescale", marks=pytest.mark.timescale),
    ]
)
def server(request: pytest.FixtureRequest) -> LocalServer:
    """Each of the two in turn."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, LocalServer)
    return found


@pytest.fixture
def fresh() -> Callable[[LocalServer], PostgresSettings]:
    """Return what names databases on a server that no other test has; they are not created."""

    def make(server: LocalServer) -> PostgresSettings:
        tag = f"t{next(_numbers)}"
        parts = {
            part: f"{tag}_{part}" for part in ("database", "dagster_database", "mlflow_database", "feast_database")
        }
        return server.settings.model_copy(update=parts)

    return make


@pytest.fixture
def database(server: LocalServer, fresh: Callable[[LocalServer], PostgresSettings]) -> PostgresSettings:
    """A migrated database on each kind of server."""
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(server)
    migrate(settings)
    return settings


@pytest.fixture
def query() -> Callable[..., list[tuple[object, ...]]]:
    """Return what runs one statement and gives its rows."""

    def run(settings: PostgresSettings, sql: str, *values: object) -> list[tuple[object, ...]]:
        with connect(settings) as db, db.cursor() as cursor:
            cursor.execute(sql, values or None)
            rows = cursor.fetchall() if cursor.description else []
            db.commit()
            return rows

    return run


@pytest.fixture
def clock() -> Callable[[PostgresSettings, int], None]:
    """Return what sets the market's clock of a database, which its policies go by."""

    def set_to(settings: PostgresSettings, now_ns: int) -> None:
        with connect(settings, autocommit=True) as db, db.cursor() as cursor:
            cursor.execute(f"alter database {settings.database} set bot4.now_ns = '{now_ns}'")

    return set_to


@pytest.fixture
def replayed(database: PostgresSettings, clock: Callable[[PostgresSettings, int], None]) -> PostgresSettings:
    """A migrated database whose clock is at the end of the generated day."""
    clock(database, PART.end_ns)
    return database
