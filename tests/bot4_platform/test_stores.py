"""The services profile on a real server: what Dagster, MLflow and Feast record is in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from bot4_live.machine import postgres_folder
from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_platform import stores
from bot4_platform.instance import open_instance, prepare_home
from bot4_platform.settings import platform_settings
from bot4_platform.timescale.local_server import PASSWORD, LocalServer

VARIABLES = ("HOST", "PORT", "USER", "PASSWORD", "DAGSTER_DATABASE")


@pytest.fixture
def services(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path / "var", account="test", profile="services")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    from bot4_platform.timescale.migrate import migrate

    if postgres_folder() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    found = LocalServer(False)
    try:
        found.create()
        found.start()
        migrate(found.settings)
        yield found
    finally:
        found.remove()


@pytest.fixture
def reached(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The server, named by the environment as a user would."""
    for name in VARIABLES:
        value = (
            server.settings.password.get_secret_value()
            if name == "PASSWORD"
            else getattr(server.settings, name.lower())
        )
        monkeypatch.setenv(f"BOT4_PLATFORM__POSTGRES__{name}", str(value))
    platform_settings.cache_clear()
    yield server
    platform_settings.cache_clear()


@pytest.fixture
def rows(server: LocalServer) -> Callable[[str, str], list[tuple[object, ...]]]:
    from bot4_platform.timescale.connection import connect

    def read(database: str, sql: str) -> list[tuple[object, ...]]:
        with connect(server.settings, database) as db, db.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return read


def test_the_profile_chooses_and_each_part_can_be_overridden(
    settings: Settings, services: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not stores.in_postgres(settings, "mlflow")
    assert stores.in_postgres(services, "mlflow")
    monkeypatch.setenv("BOT4_PLATFORM__STORES__MLFLOW", "files")
    monkeypatch.setenv("BOT4_PLATFORM__STORES__FEAST", "postgres")
    platform_settings.cache_clear()
    try:
        assert not stores.in_postgres(services, "mlflow")
        assert stores.in_postgres(settings, "feast")
        assert stores.mlflow_url(services).get_secret_value().startswith("sqlite:///")
    finally:
        monkeypatch.undo()
        platform_settings.cache_clear()


def test_the_two_instances_differ_in_their_storage_alone() -> None:
    plain = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    deployed = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.yaml").read_text())
    assert set(deployed) - set(plain) == {"storage"}
    assert {key: value for key, value in deployed.items() if key != "storage"} == plain


@pytest.mark.services
def test_a_run_of_dagster_is_recorded_in_postgres(
    services: Settings, reached: LocalServer, rows: Callable[[str, str], list[tuple[object, ...]]]
) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def recorded() -> None:
        nothing()

    with open_instance(services) as instance:
        assert type(instance.run_storage).__module__.startswith("dagster_postgres")
        result = recorded.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        )
        assert instance.get_run_by_id(result.run_id) is not None
    database = reached.settings.dagster_database
    assert rows(database, "select run_id, status from runs") == [(result.run_id, "SUCCESS")]
    ((events,),) = rows(database, "select count(*) from event_logs")
    assert int(str(events)) > 5
    home = prepare_home(services)
    assert not list(home.rglob("*.db"))
    assert all(PASSWORD not in path.read_text(errors="replace") for path in home.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.services
def test_a_model_version_and_its_alias_are_in_postgres(
    services: Settings, reached: LocalServer, rows: Callable[[str, str], list[tuple[object, ...]]]
) -> None:
    from bot4_platform.mlops import registry

    client = registry.client(services)
    run = client.create_run(registry.experiment(client, services))
    client.create_registered_model("mid")
    version = client.create_model_version("mid", "bundle", run.info.run_id)
    client.set_registered_model_alias("mid", registry.CHAMPION, version.version)
    found = registry.aliased(client, "mid", registry.CHAMPION)
    assert found is not None
    assert found.number == 1
    database = reached.settings.mlflow_database
    assert rows(database, "select name, version from model_versions") == [("mid", 1)]
    assert rows(database, "select alias, version from registered_model_aliases") == [("champion", 1)]
    assert not (services.root / "mlflow" / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.services
def test_feast_applies_its_views_to_the_registry_in_postgres(
    services: Settings, reached: LocalServer, rows: Callable[[str, str], list[tuple[object, ...]]]
) -> None:
    from bot4_platform.feature_store.store import open_store

    store = open_store(services)
    names = sorted(view.name for view in store.list_feature_views())
    assert names
    database = reached.settings.feast_database
    assert [name for (name,) in rows(database, "select feature_view_name from feature_views order by 1")] == names
    assert sorted(view.name for view in open_store(services).list_feature_views()) == names
