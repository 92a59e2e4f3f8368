"""The account's Dagster instance: its DAGSTER_HOME is `var/<account>/dagster`, with the dagster.yaml of its profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from bot4_live.safety.durable import write_bytes
from bot4_live.settings import Settings
from bot4_platform.operations.steps import POOLS
from bot4_platform.settings import dagster_home
from bot4_platform.stores import dagster_yaml


def prepare_home(settings: Settings) -> Path:
    """Create the account's DAGSTER_HOME and put the project's dagster.yaml there; return the folder."""
    home = dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    wanted = dagster_yaml(settings).read_text()
    target = home / "dagster.yaml"
    if not target.exists() or target.read_text() != wanted:
        write_bytes(target, wanted.encode())  # another process may be reading it
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance whose runs the account's UI shows; the limits of its pools are those of the code."""
    with dg.DagsterInstance.from_config(str(prepare_home(settings))) as instance:
        limit_pools(instance)
        yield instance


def limit_pools(instance: dg.DagsterInstance) -> None:
    """Set the limits of `operations.steps.POOLS`; a pool that is no longer named there keeps what it has."""
    storage = instance.event_log_storage
    have = {found.name: found.limit for found in storage.get_pool_limits()}
    for name, limit in POOLS.items():
        if have.get(name) != limit:
            storage.set_concurrency_slots(name, limit)
