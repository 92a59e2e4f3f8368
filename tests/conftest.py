"""Shared by all tests: the captures beside the project, golden files, warm compiled code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot4_live.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute tests by tests/schedule.py."""
    import sys

    sys.path.insert(0, str(ROOT))
    from tests.schedule import UnitScheduling

    return UnitScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_shared_memory_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove the folders in shared memory of accounts that lie under this session's temporary folder."""
    yield
    named = {path.name.split("-")[2] for path in Path("/dev/shm").glob(f"bot4-{os.getuid()}-*-*")}
    for root, folders, _ in os.walk(tmp_path_factory.getbasetemp()) if named else ():
        for account in named.intersection(folders):
            shutil.rmtree(Settings(var=Path(root), account=account).shm_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded captures; a test that needs them says so when they are absent."""
    path = Path(os.environ.get("BOT4_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"the recorded captures are not at {path} (set BOT4_SHARED_DATA)")
    return path


@pytest.fixture(scope="session")
def usdm_capture(shared_data: Path) -> Path:
    """The real BTCUSDT USD-M capture: 93,954 messages."""
    return shared_data / "captures" / "binance_usdm" / "btcusdt_20240808.gz"


@pytest.fixture(scope="session")
def golden() -> Callable[[str, Any], None]:
    """Compare a value with a golden file; `RENEW_GOLDEN=1 pytest ...` writes it anew, to be read in the diff."""

    def compare(name: str, value: Any) -> None:
        path = GOLDEN / name
        text = json.dumps(value, indent=1, sort_keys=True) + "\n"
        if os.environ.get("RENEW_GOLDEN"):
            path.write_text(text)
        assert path.exists(), f"{path} is missing: RENEW_GOLDEN=1 writes it"
        assert json.loads(text) == json.loads(path.read_text()), f"{name} has changed: a contract moved"

    return compare
