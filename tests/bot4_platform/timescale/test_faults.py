"""Loaders killed, sessions ended, servers gone: nothing half, nothing twice, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot4_platform.candle_reference import INTERVALS, reference_candles
from bot4_platform.timescale.connection import DatabaseLocked, DatabaseUnavailable, connect
from bot4_platform.timescale.equality import compare
from bot4_platform.timescale.load import load_day
from bot4_platform.timescale.local_server import PASSWORD, LocalServer
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import of_trades
from tests.bot4_platform.timescale.days import PART, trades_of_a_day

ROWS = 150_000
WAIT_S = 60.0
LOADER = """
import os, sys
from bot4_platform.timescale.load import load_day
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import of_trades
from tests.bot4_platform.timescale.days import PART, trades_of_a_day
settings = PostgresSettings.model_validate_json(sys.argv[1]).model_copy(
    update={"password": PostgresSettings(password=os.environ["SECRET"]).password})
print(load_day(settings, of_trades(trades_of_a_day(int(sys.argv[2]), 11), PART.market), PART).how)
"""
Query = Callable[..., list[tuple[object, ...]]]


@contextmanager
def loader(settings: PostgresSettings, rows: int = ROWS) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that loads the generated day."""
    root = Path(__file__).resolve().parents[3]
    public = settings.model_dump_json(exclude={"password"})
    child = subprocess.Popen(
        [sys.executable, "-c", LOADER, public, str(rows)], cwd=root, text=True,
        env={"SECRET": PASSWORD, "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def until(settings: PostgresSettings, sql: str, child: subprocess.Popen[str]) -> int:
    """Wait for a session that `sql` finds; return its process id."""
    deadline = time.monotonic() + WAIT_S
    with connect(settings, autocommit=True) as db, db.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(sql)
            found = cursor.fetchone()
            if found:
                return int(found[0])
            assert child.poll() is None, child.communicate()[1]
            time.sleep(0.005)
    raise AssertionError(f"nothing within {WAIT_S} s: {sql}")


# TimescaleDB's COPY does not report to pg_stat_progress_copy.
COPYING = (
    "select pid from pg_stat_activity where datname = current_database() and state = 'active'"
    " and query ilike 'copy%market_ticks%' and query_start < clock_timestamp() - interval '20 ms'"
)
REFRESHING = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and query like 'call refresh_continuous_aggregate(''market.candles_15m''%'"
)


def complete(query: Query, settings: PostgresSettings, rows: int = ROWS) -> None:
    """Assert that the day is there once, with its candles and its ledger."""
    trades = trades_of_a_day(rows, 11)
    assert query(settings, "select count(*), count(distinct trade_id) from market.market_ticks") == [(rows, rows)]
    assert query(settings, "select rows, refreshed_at is not null from market.loads") == [(rows, True)]
    assert compare(settings, PART, trades, reference_candles(trades, "1m")) == {name: [] for name in INTERVALS}


def nothing(query: Query, settings: PostgresSettings) -> None:
    """Assert that neither rows nor ledger are there."""
    assert query(settings, "select count(*) from market.market_ticks") == [(0,)]
    assert query(settings, "select count(*) from market.loads") == [(0,)]


def test_a_loader_killed_in_the_copy_leaves_nothing_and_the_next_loads_once(
    replayed: PostgresSettings, query: Query
) -> None:
    with loader(replayed) as child:
        pid = until(replayed, COPYING, child)
        child.send_signal(signal.SIGKILL)
        child.wait()
    deadline = time.monotonic() + WAIT_S
    while query(replayed, "select from pg_stat_activity where pid = %s", pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    nothing(query, replayed)
    assert load_day(replayed, of_trades(trades_of_a_day(ROWS, 11), PART.market), PART).how == "appended"
    complete(query, replayed)


@pytest.mark.slow
def test_a_session_ended_by_the_server_is_one_line_and_is_made_good(replayed: PostgresSettings, query: Query) -> None:
    with loader(replayed) as child:
        pid = until(replayed, COPYING, child)
        query(replayed, "select pg_terminate_backend(%s)", pid)
        _, err = child.communicate(timeout=WAIT_S)
    last = err.strip().splitlines()[-1]
    assert "DatabaseUnavailable" in last
    assert "run it again" in last
    assert PASSWORD not in err
    nothing(query, replayed)
    rows = of_trades(trades_of_a_day(ROWS, 11), PART.market)
    assert load_day(replayed, rows, PART).how == "appended"
    complete(query, replayed)


@pytest.mark.timescale
def test_a_loader_killed_between_the_commit_and_the_refresh_is_finished_by_the_next(
    timescale_server: LocalServer,
    fresh: Callable[[LocalServer], PostgresSettings],
    clock: Callable[[PostgresSettings, int], None],
    query: Query,
) -> None:
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(timescale_server)
    migrate(settings)
    clock(settings, PART.end_ns)
    rows = 3_000
    name = "select format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)" \
           " from timescaledb_information.continuous_aggregates where view_name = 'candles_15m'"  # fmt: skip
    ((hypertable,),) = query(settings, name)
    patient = settings.model_copy(update={"lock_timeout_s": 120})
    with connect(settings) as holder, holder.cursor() as cursor:
        cursor.execute(f"lock table {hypertable} in access exclusive mode")
        with loader(patient, rows) as child:
            until(settings, REFRESHING, child)
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert query(settings, "select rows, refreshed_at from market.loads") == [(rows, None)]
    assert load_day(settings, of_trades(trades_of_a_day(rows, 11), PART.market), PART).how == "unchanged"
    complete(query, settings, rows)


@pytest.mark.slow
def test_two_loaders_at_once_load_once(replayed: PostgresSettings, query: Query) -> None:
    with loader(replayed, 20_000) as one, loader(replayed, 20_000) as two:
        said = {child.communicate(timeout=WAIT_S) for child in (one, two)}
    assert {err for _, err in said} == {""}
    assert sorted(out.strip() for out, _ in said) == ["appended", "unchanged"]
    complete(query, replayed, 20_000)


def test_a_locked_table_is_waited_for_and_then_said(replayed: PostgresSettings, query: Query) -> None:
    quick = replayed.model_copy(update={"lock_timeout_s": 1})
    rows = of_trades(trades_of_a_day(500, 11), PART.market)
    with connect(replayed) as holder, holder.cursor() as cursor:
        cursor.execute("lock table market.market_ticks in access exclusive mode")
        with pytest.raises(DatabaseLocked, match="locked by another session for 1 s"):
            load_day(quick, rows, PART)
    nothing(query, replayed)
    load_day(quick, rows, PART)
    complete(query, replayed, 500)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(False, marks=pytest.mark.services), pytest.param(True, marks=pytest.mark.timescale)]
)
def test_a_server_that_crashes_and_comes_back(kind: bool, request: pytest.FixtureRequest, query: Query) -> None:
    from bot4_platform.timescale.migrate import migrate

    request.getfixturevalue("timescale_server" if kind else "postgres_server")  # or skip
    server = LocalServer(kind)
    try:
        server.create()
        server.start()
        settings = server.settings
        migrate(settings)
        query(settings, f"alter database {settings.database} set bot4.now_ns = '{PART.end_ns}'")
        with loader(settings) as child:
            until(settings, COPYING, child)
            server.stop(signal.SIGQUIT)
            _, err = child.communicate(timeout=WAIT_S)
        assert "DatabaseUnavailable" in err.strip().splitlines()[-1]
        rows = of_trades(trades_of_a_day(ROWS, 11), PART.market)
        with pytest.raises(DatabaseUnavailable, match="refused"):
            load_day(settings, rows, PART)
        server.start()
        nothing(query, settings)
        load_day(settings, rows, PART)
        complete(query, settings)
    finally:
        server.remove()
