"""dbt's project parsed once for all tests that build it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bot4_live.settings import Settings

PARSED = "partial_parse.msgpack"


@pytest.fixture(scope="session")
def parsed_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file in which dbt keeps what it parsed."""
    from bot4_platform import dbt_runner

    folder = tmp_path_factory.mktemp("dbt")
    dbt_runner.parse(folder)
    return folder / PARSED


@pytest.fixture
def quick_dbt(settings: Settings, tmp_path: Path, parsed_project: Path) -> None:
    """Spare the account, and the test's own folder `dbt`, a second of parsing."""
    for folder in (settings.root / "dbt", tmp_path / "dbt"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(parsed_project, folder / PARSED)
