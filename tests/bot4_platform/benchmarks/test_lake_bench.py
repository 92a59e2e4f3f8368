"""`bot4 bench lake` on a small table: it is found, runs, and says what BENCH.md names; figures are not judged here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bot4_live.commands import bench
from bot4_platform.benchmarks import lake as benchmark
from bot4_platform.lake import Lake
from bot4_platform.tables import TABLES

ROOT = Path(__file__).resolve().parents[3]
METRICS = {
    "write_rows_per_s", "write_vs_pyarrow", "write_vs_pyarrow_default", "pyarrow_rows_per_s", "candles_s", "duckdb_s",
    "candles_vs_duckdb", "candles_vs_duckdb_plain", "dbt_overhead_s",
}  # fmt: skip


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Find the benchmarks that pyproject.toml declares, not those of whatever was installed last."""
    points: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        bench.GROUP
    ]
    found = [EntryPoint(name, value, bench.GROUP) for name, value in points.items()]
    monkeypatch.setattr(
        bench, "entry_points", lambda group, name=None: [one for one in found if name in (None, one.name)]
    )
    return points


def test_the_command_finds_and_runs_it(monkeypatch: pytest.MonkeyPatch, parse_dbt: Callable[[Path], None]) -> None:
    build = benchmark.dbt_candles

    def parsed(lake: Lake, folder: Path, **given: Any) -> Any:
        if not (folder / "dbt").exists():
            parse_dbt(folder / "dbt")
        return build(lake, folder, **given)

    monkeypatch.setattr(benchmark, "dbt_candles", parsed)
    done = CliRunner().invoke(bench.command, ["lake", "--rows", "20000", "--runs", "1", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert set(result["metrics"]) == METRICS
    assert all(value > 0 for value in result["metrics"].values())
    assert (result["name"], result["runs"]) == ("lake", 1)
    assert isinstance(result["quiet"], bool)
    assert "run 1 of 1" in done.stderr


def test_a_wrong_name_says_which_there_are(declared: dict[str, str]) -> None:
    done = CliRunner().invoke(bench.command, ["lak"])
    assert done.exit_code == 2
    for name in ("hot-path", "wire", *declared):
        assert name in done.output


def test_both_sides_write_the_same_table(tmp_path: Path) -> None:
    """The same rows in the same row groups and codec: what is compared is the writing alone."""
    frame, lake = benchmark.trades(300_000), Lake(tmp_path / "lake")
    assert frame.equals(TABLES["trades"].conform(frame))
    ours = lake.write("trades", *benchmark.PART, frame).path
    benchmark.by_hand(frame.to_arrow(), tmp_path / "x.parquet", dictionaries=False)
    files = [pq.ParquetFile(path) for path in (ours, tmp_path / "x.parquet")]
    groups = [[file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)] for file in files]
    assert [group.num_rows for group in groups[0]] == [group.num_rows for group in groups[1]]
    assert len(groups[0]) == 3
    assert {group.column(i).compression for both in groups for group in both for i in range(7)} == {"SNAPPY"}
    assert pl.read_parquet(ours).equals(pl.read_parquet(tmp_path / "x.parquet"))


def test_sorted_rows_stay_and_others_are_sorted() -> None:
    spec, frame = TABLES["trades"], benchmark.trades(100)
    assert spec.sorted(frame).equals(frame)
    assert spec.sorted(frame.reverse()).equals(frame)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert spec.sorted(mixed).equals(frame)
