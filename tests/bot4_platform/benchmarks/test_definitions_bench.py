"""`bot4 bench definitions` loads them in fresh processes and says what that took."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from bot4_live.commands import bench


def test_the_command_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("definitions", "bot4_platform.benchmarks.definitions:run", bench.GROUP)
    monkeypatch.setattr(bench, "entry_points", lambda group, name=None: [point])
    done = CliRunner().invoke(bench.command, ["definitions", "--runs", "1", "--json"], catch_exceptions=False)
    metrics = json.loads(done.stdout)["metrics"]
    assert set(metrics) == {"build_s", "dagster_s", "fresh_s", "fresh_vs_dagster"}
    assert 0 < metrics["dagster_s"] < metrics["fresh_s"]
    assert metrics["build_s"] > 0
