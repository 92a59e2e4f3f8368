"""Migrations on real servers: applied once, in order, whole or not at all, by one at a time."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bot4_platform.timescale import migrate as module
from bot4_platform.timescale.connection import DatabaseUnavailable
from bot4_platform.timescale.local_server import PASSWORD, LocalServer
from bot4_platform.timescale.migrate import FILES, MigrationError, migrate, migrations, read_status
from bot4_platform.timescale.settings import PostgresSettings

Fresh = Callable[[LocalServer], PostgresSettings]
Query = Callable[..., list[tuple[object, ...]]]
VIEWS = ["candles_15m", "candles_1d", "candles_1h", "candles_1m", "candles_4h", "candles_5m"]


def test_each_engine_has_its_files() -> None:
    names = {engine: [item.name for item in migrations(engine)] for engine in ("postgres", "timescale")}
    assert names["timescale"][0] == names["postgres"][0] == "0001_market_ticks.sql"
    assert all(not name.endswith(".postgres.sql") for name in names["timescale"])
    assert all(not name.endswith(".timescale.sql") for name in names["postgres"])


@pytest.mark.parametrize(
    ("files", "why"),
    [({"1_x.sql": ""}, "1_x.sql is no migration"), ({"0001_a.sql": "", "0001_b.sql": ""}, "number 0001")],
)
def test_files_that_are_no_sequence_are_refused(tmp_path: Path, files: dict[str, str], why: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(MigrationError, match=why):
        migrations("postgres", tmp_path)


def test_a_database_is_created_migrated_once_and_then_left_alone(
    server: LocalServer, fresh: Fresh, query: Query
) -> None:
    settings = fresh(server)
    told: list[str] = []
    first = migrate(settings, progress=told.append)
    assert first.engine == ("timescale" if server.timescale else "postgres")
    assert not first.pending
    assert [line for line in told if line.startswith("created")] == [
        f"created database {n}" for n in settings.databases
    ]
    views = query(settings, "select table_name from information_schema.views where table_schema = 'market' order by 1")
    assert [name for (name,) in views] == VIEWS
    before = query(settings, "select * from market.schema_migrations order by version")
    told.clear()
    assert migrate(settings, progress=told.append) == first
    assert told == []
    assert query(settings, "select * from market.schema_migrations order by version") == before


@pytest.mark.services
def test_a_changed_an_unknown_and_an_overtaken_file_are_refused(
    postgres_server: LocalServer, fresh: Fresh, tmp_path: Path
) -> None:
    settings, folder = fresh(postgres_server), tmp_path / "files"
    folder.mkdir()
    (folder / "0001_a.sql").write_text("create table market.a (x int);")
    (folder / "0003_c.sql").write_text("create table market.c (x int);")
    assert len(migrate(settings, folder=folder).applied) == 2
    (folder / "0002_b.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match=r"0002_b.sql comes before 0003"):
        migrate(settings, folder=folder)
    (folder / "0002_b.sql").unlink()
    (folder / "0001_a.sql").write_text("create table market.a (x bigint);")
    with pytest.raises(MigrationError, match=r"0001_a.sql was changed after it was applied"):
        read_status(settings, folder=folder)
    (folder / "0001_a.sql").unlink()
    with pytest.raises(MigrationError, match=r"has 0001_a.sql, which this version of bot4 does not know"):
        read_status(settings, folder=folder)


@pytest.mark.services
def test_a_migration_that_fails_leaves_nothing_and_is_run_again(
    postgres_server: LocalServer, fresh: Fresh, tmp_path: Path, query: Query
) -> None:
    settings, folder = fresh(postgres_server), tmp_path / "files"
    folder.mkdir()
    (folder / "0001_a.sql").write_text("create table market.a (x int);")
    (folder / "0002_b.sql").write_text("create table market.b (x int); select 1/0;")
    with pytest.raises(MigrationError, match=r"0002_b.sql failed and left nothing: division by zero"):
        migrate(settings, folder=folder)
    assert query(settings, "select to_regclass('market.a') is null, to_regclass('market.b') is null") == [(False, True)]
    (folder / "0002_b.sql").write_text("create table market.b (x int);")
    assert [item.version for item in migrate(settings, folder=folder).applied] == [1, 2]


def test_two_at_once_apply_each_file_once(server: LocalServer, fresh: Fresh, query: Query) -> None:
    settings = fresh(server)
    both, errors = threading.Barrier(3), []

    def run() -> None:
        both.wait()
        try:
            migrate(settings)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    expected = len(read_status(settings).applied)
    assert query(settings, "select count(*) from market.schema_migrations") == [(expected,)]


@pytest.mark.services
def test_timescale_can_be_insisted_on(postgres_server: LocalServer, fresh: Fresh) -> None:
    settings = fresh(postgres_server).model_copy(update={"engine": "timescale"})
    with pytest.raises(MigrationError, match="does not load TimescaleDB"):
        migrate(settings)


@pytest.mark.timescale
def test_an_engine_is_not_changed_under_a_database(timescale_server: LocalServer, fresh: Fresh) -> None:
    plain = fresh(timescale_server).model_copy(update={"engine": "postgres"})
    assert migrate(plain).engine == "postgres"
    assert migrate(plain.model_copy(update={"engine": "auto"})).engine == "postgres"
    with pytest.raises(MigrationError, match="began as postgres"):
        migrate(plain.model_copy(update={"engine": "timescale"}))


@pytest.mark.timescale
def test_no_refresh_is_open_or_reaches_past_the_raw_retention(
    timescale_server: LocalServer, fresh: Fresh, query: Query
) -> None:
    settings = fresh(timescale_server)
    migrate(settings)
    jobs = query(
        settings,
        "select proc_name, hypertable_name, config, initial_start from timescaledb_information.jobs"
        " where proc_name like 'policy%' and proc_name <> 'policy_telemetry'",
    )
    raw = [job[2] for job in jobs if job[:2] == ("policy_retention", "market_ticks")]
    assert [config["drop_after"] for config in raw] == [30 * 86_400 * 10**9]  # type: ignore[index]
    refreshes = [job for job in jobs if job[0] == "policy_refresh_continuous_aggregate"]
    assert sorted(str(job[1]) for job in refreshes) == VIEWS
    for _, _, config, _ in refreshes:
        assert 0 < config["end_offset"] < config["start_offset"] < 30 * 86_400 * 10**9  # type: ignore[index]
    assert len({job[3] for job in refreshes}) == len(VIEWS)  # staggered
    kept = {str(job[1]): job[2]["drop_after"] for job in jobs if job[0] == "policy_retention"}  # type: ignore[index]
    assert kept == dict.fromkeys(VIEWS, 365 * 86_400 * 10**9) | {"market_ticks": 30 * 86_400 * 10**9}
    compressed = [job[2]["compress_after"] for job in jobs if job[0] == "policy_compression"]  # type: ignore[index]
    assert compressed == [86_400 * 10**9]
    shape = query(
        settings,
        "select segmentby, orderby from timescaledb_information.hypertable_columnstore_settings"
        " where segmentby is not null",
    )
    assert shape == [("symbol,exchange", "exch_ns,trade_id")]


def test_no_message_shows_the_password(tmp_path: Path) -> None:
    settings = LocalServer(False, tmp_path).settings
    with pytest.raises(DatabaseUnavailable, match=r"PostgreSQL at 127.0.0.1") as caught:
        read_status(settings)
    for text in (str(caught.value), repr(caught.value), repr(settings), str(settings.model_dump_json())):
        assert PASSWORD not in text
    assert caught.value.__cause__ is None


@pytest.mark.services
def test_a_wrong_password_is_one_clear_line(postgres_server: LocalServer) -> None:
    from pydantic import SecretStr

    settings = postgres_server.settings.model_copy(update={"password": SecretStr("hunter2-no")})
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
        read_status(settings)
    assert "hunter2-no" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.services
def test_the_command_migrates_and_reports(
    postgres_server: LocalServer, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from click.testing import CliRunner

    from bot4_platform import settings as platform
    from bot4_platform.commands.db import command

    found = SimpleNamespace(postgres=fresh(postgres_server))
    monkeypatch.setattr(platform, "platform_settings", lambda: found)
    runner = CliRunner()
    module.create_databases(found.postgres)
    before = runner.invoke(command, ["status"])
    assert "pending  0001_market_ticks.sql" in before.output
    done = runner.invoke(command, ["migrate", "--json"], catch_exceptions=False)
    assert '"pending": []' in done.stdout
    assert PASSWORD not in done.output + before.output


def test_the_files_are_shipped(tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path / "files")
    assert [item.digest for item in migrations("timescale", tmp_path / "files")] == [
        item.digest for item in migrations("timescale")
    ]
