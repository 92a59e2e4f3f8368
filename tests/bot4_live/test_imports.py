"""The arrow between the halves, as it is at run time: what each live process really loads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PLATFORM = {
    "bot4_platform", "dagster", "feast", "mlflow", "lightgbm", "pandas", "polars", "torch", "arch", "dbt", "duckdb",
    "great_expectations", "sklearn", "matplotlib",
}  # fmt: skip
# A guard that compiles, or that hangs in somebody's event loop, guards nothing.
COMPILED = {"numba", "llvmlite", "aiohttp", "websockets", "uvloop"}

LIST = "import json, sys\n{}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
EVERYTHING = """
import importlib, pkgutil, bot4_live
for found in pkgutil.walk_packages(bot4_live.__path__, "bot4_live."):
    if not found.name.startswith("bot4_live.benchmarks") and not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def loaded(code: str) -> set[str]:
    """Return the top-level modules that a fresh process has after `code`."""
    done = subprocess.run([sys.executable, "-c", LIST.format(code)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


# Benchmarks compile as they are imported; import-linter reads them too.
def test_no_module_of_the_live_half_loads_the_platform_or_its_libraries() -> None:
    assert loaded(EVERYTHING) & PLATFORM == set()


@pytest.mark.parametrize(
    "module", ["bot4_live.safety.watchdog", "bot4_live.safety.operator", "bot4_live.journal.writer", "bot4_live.cli"]
)
def test_small_processes_stay_small(module: str) -> None:
    assert loaded(f"import {module}") & (PLATFORM | COMPILED) == set()
