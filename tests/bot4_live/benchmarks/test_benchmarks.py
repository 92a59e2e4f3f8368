"""The benchmarks run, on little input, and say everything BENCH.md names; figures are not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import uvloop
from click.testing import CliRunner

from bot4_live.benchmarks import hot_path, inputs, report, wire
from bot4_live.benchmarks.inputs import event_log
from bot4_live.benchmarks.places import Places, running_on
from bot4_live.benchmarks.random_model import random_model
from bot4_live.benchmarks.report import Noise, NoiseMeter, Result, best, own_time, percentiles
from bot4_live.benchmarks.session import benchmark_bundle, recorded_session
from bot4_live.cli import SUMMARIES
from bot4_live.commands.bench import command
from bot4_live.cores import Cores
from bot4_live.events import Kind
from bot4_live.features.batch import compute
from bot4_live.features.registry import N_FEATURES
from bot4_live.journal.reader import Journal
from bot4_live.simulation.generator import generate, write_capture

HOT_PATH = {
    "parse_msgs_per_s", "parse_vs_orjson", "book_updates_per_s", "features_ns", "trees_ns", "decide_us",
    "decide_us_depth", "decide_us_quote", "decide_us_trade", "batch_events_per_s_trees", "batch_events_per_s_linear",
    "tick_us", "compile_s", "warm_start_s", "features", "validate_ns",
}  # fmt: skip
WIRE = {
    "spin_us", "async_us", "async_anywhere_us", "async_halting_us", "tls_spin_us", "spin_feed_us", "websockets_us",
    "picows_us", "spin_msgs_per_s", "spin_decisions_per_s", "async_msgs_per_s",
}  # fmt: skip
RESULT = {"name", "metrics", "machine", "input", "runs", "quiet", "stolen_pct", "jitter_ratio"}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated capture of 14 s."""
    path = tmp_path_factory.mktemp("bench") / "market.gz"
    write_capture(path, generate(5, duration_s=14.0))
    return path


def check_result(result: dict[str, Any], metrics: set[str]) -> None:
    assert set(result) >= RESULT
    assert set(result["metrics"]) >= metrics
    assert result["runs"] == 1
    assert result["stolen_pct"] >= 0
    assert result["jitter_ratio"] >= 1
    assert result["machine"]["cores"] >= 1
    for name, value in result["metrics"].items():
        if value is None:
            assert result["notes"][name] if name != "warm_start_s" else result["notes"]["compile_s"]
        elif isinstance(value, dict):
            assert 0 < value["p50"] <= value["p99"] <= value["p999"], name
        else:
            assert value > 0, name


def test_hot_path_says_everything(capture: Path) -> None:
    outcome = CliRunner().invoke(
        command, ["hot-path", "--json", "--capture", str(capture), "--messages", "2000", "--runs", "1", "--no-compile"]
    )
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    check_result(result, HOT_PATH)
    assert result["metrics"]["features"] == N_FEATURES
    assert result["metrics"]["compile_s"] is None
    assert "market.gz" in result["input"]
    assert {k for k, v in result["metrics"].items() if v is None} == {"compile_s", "warm_start_s"}


def test_wire_says_everything(capture: Path) -> None:
    result = wire.run(capture, messages=800, runs=1).as_dict()
    check_result(result, WIRE)
    assert None not in result["metrics"].values()
    assert set(result["notes"]) >= WIRE - {"async_msgs_per_s"}
    assert result["metrics"]["async_msgs_per_s"] > 100


def test_the_compiled_path_decides_what_the_feed_decides(capture: Path, tmp_path: Path) -> None:
    """Event by event the same journal: the feed in Python, and the compiled path on either transport."""
    _, frames = inputs.load_frames(capture, 2500)
    log = event_log(frames)
    model = benchmark_bundle(compute(log.buffer, log.offsets, every_event=True), "lightgbm")
    with wire._sender([raw for _, raw in frames], tmp_path, 0.0) as (port, _):
        uvloop.run(wire._feed(port, frames, model, tmp_path / "async"))
        done = wire._spin(f"ws://127.0.0.1:{port}", frames, model, tmp_path / "spin")
        wire._spin_feed(port, frames, model, tmp_path / "feed")
    assert (np.diff(done) >= 0).all()
    assert done[0] > 0
    journals = [Journal(tmp_path / kind / "journal") for kind in ("feed", "async", "spin")]
    events, commands = ([list(map(bytes, read(j))) for j in journals] for read in (Journal.events, Journal.commands))
    assert len(events[0]) > 2500
    assert len(commands[0]) > 10
    assert events[0] == events[1] == events[2]
    assert commands[0] == commands[1] == commands[2]


def test_the_sender_has_a_core_of_its_own_where_it_can() -> None:
    anywhere = Cores()
    assert Places.of([3]) == Places(None, anywhere, anywhere)
    two = Cores(None, frozenset({5}))
    assert Places.of([2, 5]) == Places(frozenset({2}), two, two)
    four = Places.of([0, 1, 2, 3])
    assert four == Places(frozenset({0}), Cores(None, frozenset({1, 2, 3})), Cores(1, frozenset({2, 3})))
    before = os.sched_getaffinity(0)
    with running_on(Cores(min(before), frozenset(before))):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_the_table_is_readable(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Result(
        "wire", {"async_us": {"p50": 1.0, "p99": 2.0, "p999": 3.0}, "spin_us": None, "async_msgs_per_s": 12345},
        "a capture", [Noise(0.1, 5.0)], {"spin_us": "not there yet"},
    )  # fmt: skip
    monkeypatch.setattr(wire, "run", lambda *_, **__: made)
    outcome = CliRunner().invoke(command, ["wire"])
    assert outcome.exit_code == 0, outcome.output
    for word in ("p50 1.00", "12,345", "not there", "NOT quiet", "async_us"):
        assert word in outcome.output
    assert (command.help or "").splitlines()[0] == SUMMARIES["bench"]


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(command, ["nonsense"]).exit_code == 2
    assert runner.invoke(command, ["wire", "--capture", str(tmp_path / "none.gz")]).exit_code == 2
    short = tmp_path / "short.gz"
    write_capture(short, generate(5, duration_s=2.0))
    with pytest.raises(ValueError, match="too few messages"):
        hot_path.run(short, runs=1)


def test_the_generator_is_the_input_without_captures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT4_SHARED_DATA", str(tmp_path))
    name, frames = inputs.load_frames(None, 50)
    assert name.startswith("generator")
    assert len(frames) == 50


def test_the_random_model_is_lightgbms() -> None:
    log = event_log(generate(5, duration_s=14.0))
    table = compute(log.buffer, log.offsets, every_event=True)
    x = table.x[table.valid]
    text = random_model(x, tuple(f"f{k}" for k in range(x.shape[1])), trees=20)
    assert text == random_model(x, tuple(f"f{k}" for k in range(x.shape[1])), trees=20)
    booster = lightgbm.Booster(model_str=text)
    assert booster.num_trees() == 20
    scores = booster.predict(x, raw_score=True)
    assert len(np.unique(scores)) > 100
    bundle = benchmark_bundle(table, "lightgbm")
    assert bundle.info.kind == "lightgbm"


def test_a_recorded_session_trades() -> None:
    frames = list(generate(5, duration_s=14.0))
    log = event_log(frames)
    bundle = benchmark_bundle(compute(log.buffer, log.offsets, every_event=True), "linear")
    events, orders = recorded_session(frames, bundle)
    assert orders > 0
    assert np.count_nonzero(events.kinds == Kind.ORDER_ACCEPTED) == orders
    assert not np.isin(events.kinds, (Kind.CMD_NEW, Kind.CMD_CANCEL)).any()


def test_the_best_is_taken_metric_by_metric() -> None:
    runs = [{"a": 1.0, "b": {"p50": 3.0, "p99": 4.0}, "c": None}, {"a": 2.0, "b": {"p50": 2.0, "p99": 9.0}, "c": None}]
    assert best(runs, frozenset({"a"})) == {"a": 2.0, "b": {"p50": 2.0, "p99": 4.0}, "c": None}
    assert best(runs, frozenset())["a"] == 1.0
    assert best([{"r": v} for v in (9.0, 2.0, 1.0)], frozenset({"r"}), frozenset({"r"})) == {"r": 2.0}
    assert percentiles(np.arange(1, 1001) * 1000) == {"p50": 500.5, "p99": 990.01, "p999": 999.001}
    assert percentiles(np.zeros(0)) is None


def test_noise_decides_whether_a_result_is_quiet() -> None:
    calm, busy = Noise(0.2, 1.1), Noise(3.0, 1.0)
    assert Result("x", {}, "", [busy, calm]).as_dict()["quiet"] is True
    assert Result("x", {}, "", [busy, calm]).as_dict()["stolen_pct"] == 0.2
    assert Result("x", {}, "", [busy]).as_dict()["quiet"] is False
    assert Result("x", {}, "", [Noise(0.0, 2.5)]).as_dict()["quiet"] is False
    assert Result("x", {}, "", [Noise(0.0, 1.0, 0.9)]).as_dict()["quiet"] is False
    assert Result("x", {}, "", [Noise(0.0, 1.0, 0.9), Noise(0.9, 1.9, 0.1)]).as_dict()["others"] == 0.1


BURN = "import time\nwhile time.process_time() < 0.6: pass\nprint(flush=True)"


def test_the_time_of_children_is_the_benchmarks_own() -> None:
    before = own_time()
    subprocess.run([sys.executable, "-c", BURN], check=True, stdout=subprocess.DEVNULL)
    assert own_time() - before > 0.5


def test_the_time_of_other_processes_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was let go of: whoever adopts it, it is no child of ours."""
    let_go = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
    read, write = os.pipe()
    subprocess.run([sys.executable, "-c", let_go], check=True, stdout=write)
    before, ours = own_time(), time.process_time()
    os.close(write)
    with os.fdopen(read) as ended:
        assert ended.read() == "\n"  # when it is done
    theirs = own_time() - before - (time.process_time() - ours)  # of the 0.6 s, however busy we were meanwhile
    assert theirs < 0.1
    times = iter([(0, 0, 0), (1, int(2.0 * os.sysconf("SC_CLK_TCK")), 1000)])
    own, now = iter([1.0, 1.5]), iter([10.0, 13.0])
    monkeypatch.setattr(report, "_cpu_times", lambda: next(times))
    monkeypatch.setattr(report, "own_time", lambda: next(own))
    monkeypatch.setattr(report, "_jitter", lambda: 1.25)
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with NoiseMeter() as meter:
        pass
    assert meter.noise == Noise(0.1, 1.25, 0.5)
