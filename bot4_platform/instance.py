"""The account's Dagster instance: its DAGSTER_HOME is `var/<account>/dagster`, with the root dagster.yaml in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_platform.settings import dagster_home


def prepare_home(settings: Settings) -> Path:
    """Create the account's DAGSTER_HOME and put the project's dagster.yaml there; return the folder."""
    home = dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    wanted = (PROJECT_ROOT / "dagster.yaml").read_text()
    target = home / "dagster.yaml"
    if not target.exists() or target.read_text() != wanted:
        target.write_text(wanted)
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance whose runs the account's UI shows."""
    with dg.DagsterInstance.from_config(str(prepare_home(settings))) as instance:
        yield instance
