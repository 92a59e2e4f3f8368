"""Which tests share a worker: what shares an expensive fixture, and what starts many processes, is kept together.

pytest-xdist's own groups (`--dist loadgroup`) rely on an attribute that pytest 9 no longer has and silently do nothing
there; so the rule is by path.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

# Longest first: a folder named here is one unit, and so is each file under PER_FILE.
FOLDERS = ("tests/system/main_job", "tests/system/live")
PER_FILE = ("tests/bot4_platform", "tests/system", "tests/bot4_live/benchmarks")


def unit_of(nodeid: str) -> str:
    """Return the unit of a test: tests of one unit run on one worker, in order."""
    for folder in FOLDERS:
        if nodeid.startswith(f"{folder}/"):
            return folder
    path = nodeid.split("::", 1)[0]
    return path if path.startswith(PER_FILE) else nodeid


class UnitScheduling(LoadScopeScheduling):
    """Large units first, so that none is left for the end."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
