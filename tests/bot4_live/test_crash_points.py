"""Crash points: off by default, exact when asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bot4_live.crash_points import ENVIRONMENT, POINTS, reach

REACH = (
    "from bot4_live.crash_points import reach\nfor i in range(5):\n    print(i, flush=True)\n    reach('before_send')"
)


def run(value):
    environment = {k: v for k, v in os.environ.items() if k != ENVIRONMENT} | ({ENVIRONMENT: value} if value else {})
    return subprocess.run([sys.executable, "-c", REACH], env=environment, capture_output=True, text=True)


def test_without_the_variable_nothing_happens():
    assert ENVIRONMENT not in os.environ
    for name in POINTS:
        reach(name)
    assert run("").returncode == 0


@pytest.mark.parametrize(("value", "lines"), [("before_send:3", 3), ("before_send", 1)])
def test_the_process_dies_at_the_nth_time(value, lines):
    done = run(value)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.splitlines()) == lines


@pytest.mark.parametrize("value", ["nowhere:1", "before_send:x"])
def test_a_name_that_is_no_point_is_an_error(value):
    done = run(value)
    assert done.returncode == 1
    assert "names no crash point" in done.stderr
