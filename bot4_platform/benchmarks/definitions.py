"""`bot4 bench definitions`: what loading the definitions costs a fresh process, against `import dagster` alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from bot4_live.benchmarks.report import NoiseMeter, Result, best

RATIOS = frozenset({"fresh_vs_dagster"})
FRESH = """
import time, json
started = time.perf_counter()
import {before}
began = time.perf_counter()
from bot4_platform.definitions import defs
defs.get_repository_def()
print(json.dumps([began - started, time.perf_counter() - began]))
"""
NOTES = {
    "build_s": "definitions and repository, after `import dagster, dagster_dbt`; < 1",
    "dagster_s": "`import dagster` in a fresh process",
    "fresh_s": "definitions and repository in a fresh process, dagster's import included; < 5",
    "fresh_vs_dagster": "times slower than `import dagster` alone",
}


def run(*, rows: int | None = None, runs: int = 3, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Load the definitions in fresh processes, `runs` times; there are no `rows` here."""
    load("dagster, dagster_dbt")  # bytecode and the disk's cache are there
    found: list[dict[str, Any]] = []
    noises = []
    for number in range(runs):
        progress(f"run {number + 1} of {runs}")
        with NoiseMeter() as meter:
            _, build_s = load("dagster, dagster_dbt")
            dagster_s, rest_s = load("dagster")
        seconds = {"build_s": build_s, "dagster_s": dagster_s, "fresh_s": dagster_s + rest_s}
        found.append({name: round(value, 3) for name, value in seconds.items()})
        found[-1]["fresh_vs_dagster"] = round((dagster_s + rest_s) / dagster_s, 3)
        noises.append(meter.noise)
    return Result("definitions", best(found, frozenset(), RATIOS), "the definitions as configured", noises, NOTES)


def load(before: str) -> tuple[float, float]:
    """Return the seconds that importing `before`, then the definitions, take in a fresh process."""
    code = FRESH.format(before=before)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    first, second = json.loads(out.splitlines()[-1])
    return first, second
