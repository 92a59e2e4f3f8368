"""Where Dagster, MLflow and Feast keep their records: files of the account, or databases on the one PostgreSQL server.

`BOT4_PROFILE` chooses for all (`embedded`: files, `services`: databases), `BOT4_PLATFORM__STORES__DAGSTER`, `_MLFLOW`,
`_FEAST` and `_TICKS` for one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_platform.settings import platform_settings

Part = Literal["dagster", "mlflow", "feast", "ticks"]


def in_postgres(settings: Settings, part: Part) -> bool:
    """Return whether a part keeps its records in PostgreSQL."""
    chosen = getattr(platform_settings().stores, part)
    return chosen == "postgres" or (chosen == "profile" and settings.profile == "services")


def dagster_yaml(settings: Settings) -> Path:
    """Return the instance's configuration that goes to DAGSTER_HOME.

    That of PostgreSQL names variables; those that are not set are given their defaults for this process and its
    children, so that no file holds a password.
    """
    if not in_postgres(settings, "dagster"):
        return PROJECT_ROOT / "dagster.yaml"
    server = platform_settings().postgres
    for name in ("host", "port", "user", "dagster_database"):
        os.environ.setdefault(f"BOT4_PLATFORM__POSTGRES__{name.upper()}", str(getattr(server, name)))
    os.environ.setdefault("PGSSLMODE", server.sslmode)
    os.environ.setdefault("BOT4_PLATFORM__POSTGRES__PASSWORD", server.password.get_secret_value())
    return PROJECT_ROOT / "deploy" / "dagster.yaml"


def mlflow_url(settings: Settings) -> SecretStr:
    """Return MLflow's store, for tracking and registry alike."""
    if not in_postgres(settings, "mlflow"):
        return SecretStr(f"sqlite:///{settings.root / 'mlflow' / 'mlflow.db'}")
    server = platform_settings().postgres
    return server.url(server.mlflow_database, driver="+psycopg2")


def feast_registry(settings: Settings) -> str | dict[str, Any]:
    """Return Feast's `registry` configuration: a file, or the registry in SQL."""
    if not in_postgres(settings, "feast"):
        return str(settings.online_store.parent / "registry.db")
    server = platform_settings().postgres
    return {
        "registry_type": "sql",
        "path": server.url(server.feast_database, driver="+psycopg2").get_secret_value(),
        "cache_ttl_seconds": 60,
        "sqlalchemy_config_kwargs": {"echo": False, "pool_pre_ping": True},
    }
