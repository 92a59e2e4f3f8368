"""An account with some of everything, and children that are killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.lake import Lake

ROOT = Path(__file__).resolve().parents[3]
DAY, MARKET = "2024-08-08", "binance_usdm:BTCUSDT"
DAY_START = 1_723_075_200 * 10**9


@pytest.fixture
def account(settings: Settings, maker: Any) -> Settings:
    """Settings of an account with a sealed journal, a lake, a model, databases, state, and keys that must stay."""
    maker.session(DAY_START, 3)
    lake = Lake(settings.lake_dir)
    for day in range(8, 11):
        lake.write("numbers", f"2024-08-{day:02d}", MARKET, pl.DataFrame({"a": range(day * 1000)}))
    (settings.lake_dir / ".staging" / "numbers.parquet").write_bytes(b"half")
    (settings.models_dir / "sha256" / "ab").mkdir(parents=True)
    (settings.models_dir / "sha256" / "ab" / "model.txt").write_text("tree")
    (settings.models_dir / "current.json").write_text("{}")
    settings.state_dir.mkdir()
    (settings.state_dir / "order_epoch").write_text("3\n")
    (settings.root / "feast").mkdir()
    with closing(sqlite3.connect(settings.online_store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (a INTEGER)")
        connection.execute("INSERT INTO numbers VALUES (1)")
        connection.commit()
    (settings.var / "accounts.json").write_text('{"key": {"secret": "of an exchange"}}')
    return settings


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Read what lies in a folder, without locks, staging and SQLite's side files."""

    def read(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
            and not path.name.endswith(("lock", "-wal", "-shm"))
            and not {".staging", ".locks"} & set(path.parts)
        }

    return read


@pytest.fixture
def kill_at() -> Callable[..., int]:
    """Run Python code that prints as it goes, and kill it (-9) after so many lines; return how many it printed."""

    def run(code: str, arguments: list[str], lines: int) -> int:
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, cwd=ROOT,
                                 env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        assert child.stdout is not None
        seen = 0
        while seen < lines and child.stdout.readline():
            seen += 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        return seen

    return run
