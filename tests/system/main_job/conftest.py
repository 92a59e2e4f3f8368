"""The whole run, once: `bot4 demo` as a user would call it, and what it left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot4_live.settings import Settings

BOT4 = [sys.executable, "-m", "bot4_live"]
# The shortest market that trains everything: 62 % of it are learnt from, and GARCH wants 300 returns of 250 ms.
MARKET_S = 125
LONGEST_S = 420


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of an account."""
    keep = {"BOT4_CACHE_DIR"}
    return {name: value for name, value in os.environ.items() if not name.startswith("BOT4_") or name in keep}


@dataclass(frozen=True)
class MainJob:
    """A finished run."""

    folder: Path
    summary: dict[str, Any]
    stdout: str
    stderr: str
    seconds: float

    @property
    def settings(self) -> Settings:
        """Return the settings of the run's account."""
        return Settings(var=self.folder, account=self.summary["account"])

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment in which commands speak of the run's account."""
        return clean_environment() | {"BOT4_VAR": str(self.folder), "BOT4_ACCOUNT": self.summary["account"]}

    @property
    def report(self) -> str:
        """Return report.html."""
        return (self.folder / "report.html").read_text()


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainJob]:
    """Run the main job on a generated market; every test of this folder looks at the same run."""
    folder = tmp_path_factory.mktemp("main_job") / "demo"
    command = [*BOT4, "demo", "--generated", "--market-seconds", str(MARKET_S), "--folder", str(folder), "--json"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        stdout, stderr = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        _, stderr = process.communicate()
        pytest.fail(f"bot4 demo did not end within {LONGEST_S} s:\n{stderr[-4000:]}")
    if process.returncode != 0:
        pytest.fail(f"bot4 demo failed:\n{stderr[-4000:]}", pytrace=False)
    job = MainJob(folder, json.loads((folder / "summary.json").read_text()), stdout, stderr, time.monotonic() - began)
    yield job
    shutil.rmtree(job.settings.shm_dir, ignore_errors=True)
