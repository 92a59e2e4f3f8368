"""Connections to the server, and its refusals in one clear line without a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from bot4_platform.timescale.settings import PostgresSettings

if TYPE_CHECKING:
    from adbc_driver_manager import dbapi
    from psycopg2.extensions import connection

APPLICATION = "bot4"
LOCKED = "55P03"  # lock_not_available: lock_timeout ran out
# Connection lost or refused, server shutting down, too many connections, disk full.
GONE = ("08", "57P", "53")


class DatabaseUnavailable(OSError):
    """The server cannot be reached, ended the connection, or is out of something; run the same again later."""


class DatabaseLocked(OSError):
    """Another session holds a lock for longer than `lock_timeout_s`."""


class DatabaseRefused(ValueError):
    """The server refused a statement; the message is its first line."""


@contextmanager
def connect(settings: PostgresSettings, database: str = "", *, autocommit: bool = False) -> Iterator[connection]:
    """Open a connection for statements (psycopg2); what was not committed is rolled back at the end.

    Raises DatabaseUnavailable, DatabaseLocked or DatabaseRefused, also for what the body does with it.
    """
    import psycopg2

    with clear_errors(settings, database):
        raw = psycopg2.connect(
            host=settings.host, port=settings.port, user=settings.user, dbname=database or settings.database,
            password=settings.password.get_secret_value() or None, sslmode=settings.sslmode,
            connect_timeout=settings.connect_timeout_s, application_name=APPLICATION, options=_options(settings),
        )  # fmt: skip
        with closing(raw):
            raw.autocommit = autocommit
            yield raw


@contextmanager
def bulk_connect(settings: PostgresSettings) -> Iterator[dbapi.Connection]:
    """Open a connection for Arrow batches (ADBC), in a transaction until `commit`.

    Raises as `connect` does.
    """
    from adbc_driver_postgresql import dbapi

    url = settings.url(options={"application_name": APPLICATION, "options": _options(settings)})
    with clear_errors(settings), dbapi.connect(url.get_secret_value()) as raw:
        yield raw


@contextmanager
def clear_errors(settings: PostgresSettings, database: str = "") -> Iterator[None]:
    """Turn what the drivers raise into this module's errors."""
    import psycopg2
    from adbc_driver_manager import Error as AdbcError

    try:
        yield
    except (psycopg2.Error, AdbcError) as error:
        _raise(settings, database or settings.database, error)


def _raise(settings: PostgresSettings, database: str, error: Any) -> NoReturn:
    import psycopg2

    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if secret := settings.password.get_secret_value():
        text = text.replace(secret, "***")
    where = f"{settings.place}, database {database}"
    if state == LOCKED:
        raise DatabaseLocked(
            f"{where}: locked by another session for {settings.lock_timeout_s} s; what was not finished is not there, "
            "run it again"
        ) from None
    lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and not state
    if lost or state.startswith(GONE) or (not state and _speaks_of_a_lost_connection(text)):
        raise DatabaseUnavailable(
            f"{where}: {text}; what was not finished is not there, run it again when the server is back"
        ) from None
    raise DatabaseRefused(f"{where}: {text}") from None


def _speaks_of_a_lost_connection(text: str) -> bool:
    """Return whether a message of libpq without a state means that there is no connection (ADBC gives only that)."""
    lower = text.lower()
    return any(word in lower for word in ("connection", "server closed", "could not receive", "no route to host"))


def _options(settings: PostgresSettings) -> str:
    return f"-c lock_timeout={settings.lock_timeout_s}s -c timezone=UTC"
