"""Which tests share a worker: what shares an expensive fixture, and what starts many processes, is kept together.

pytest-xdist's own groups (`--dist loadgroup`) rely on an attribute that pytest 9 no longer has and silently do nothing
there; so the rule is by path.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

# What begins alike is one unit, and so is each file under PER_FILE.
TOGETHER = {
    "tests/system/main_job/": "main job",
    "tests/system/live/": "live",
    # MLflow and Feast take seconds to import.
    "tests/bot4_platform/mlops/": "models",
    "tests/bot4_platform/training/": "models",
    "tests/bot4_platform/feature_store/": "models",
    # dbt takes seconds to import and to parse the project.
    "tests/bot4_platform/defs/test_candles.py": "dbt",
    "tests/bot4_platform/defs/test_marts.py": "dbt",
    "tests/bot4_platform/quality/test_suites.py": "dbt",
    "tests/bot4_platform/quarantine/": "dbt",
    "tests/bot4_platform/test_capture_days.py": "dbt",
    "tests/bot4_platform/test_dbt_command.py": "dbt",
    "tests/bot4_platform/test_late_ticks.py": "dbt",
    "tests/bot4_platform/benchmarks/test_lake_bench.py": "dbt",
    "tests/bot4_platform/timescale/test_dbt_engines.py": "dbt",
}
PER_FILE = ("tests/bot4_platform", "tests/system", "tests/bot4_live/benchmarks")


def unit_of(nodeid: str) -> str:
    """Return the unit of a test: tests of one unit run on one worker, in order."""
    for beginning, unit in TOGETHER.items():
        if nodeid.startswith(beginning):
            return unit
    path = nodeid.split("::", 1)[0]
    return path if path.startswith(PER_FILE) else nodeid


class UnitScheduling(LoadScopeScheduling):
    """Large units first, so that none is left for the end."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
