"""`bot4 bench timescale` on a small day: it starts its own server and says what BENCH.md names."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot4_live.commands import bench
from bot4_live.machine import postgres_folder
from bot4_platform.benchmarks import timescale as benchmark
from bot4_platform.timescale import local_server

METRICS = {"rows_per_s", "copy_rows_per_s", "upsert_rows_per_s", "vs_copy", "upsert_vs_copy", "engine"}


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the benchmark whatever was installed last."""
    point = EntryPoint("timescale", "bot4_platform.benchmarks.timescale:run", bench.GROUP)
    monkeypatch.setattr(bench, "entry_points", lambda group, name=None: [point])


@pytest.mark.services
@pytest.mark.parametrize("timescale", [False, pytest.param(True, marks=pytest.mark.timescale)])
def test_the_command_runs_it_on_either_engine(timescale: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if postgres_folder() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if timescale and not local_server.has_timescale():
        pytest.skip("TimescaleDB is not installed for this PostgreSQL (docs/timescale.md)")
    monkeypatch.setattr(benchmark, "has_timescale", lambda: timescale)
    arguments = ["timescale", "--rows", "4000", "--runs", "1"]
    done = CliRunner().invoke(bench.command, [*arguments, "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert set(result["metrics"]) == METRICS
    assert result["metrics"].pop("engine") == ("timescale" if timescale else "postgres")
    assert all(value > 0 for value in result["metrics"].values())


def test_without_postgres_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setattr(local_server, "postgres_folder", lambda: None)
    monkeypatch.setattr(local_server.tempfile, "mkdtemp", lambda prefix: str(folder))
    with pytest.raises(OSError, match="PostgreSQL is not installed here"):
        benchmark.run(rows=10, runs=1)
    assert not folder.exists()
