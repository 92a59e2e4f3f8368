"""A burst as fast as a socket gives it: the engine runs behind and catches up, and the backlog is on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Kind
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay

pytestmark = pytest.mark.system

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[3]
RSS_MB = 500
IN_MEMORY = 75_000  # more frames than a backlog keeps there


def burst(folder, frames, mode, timeout_s):
    """Push `frames` into a client; return (its report, the truth)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "client.err").open("w+") as errors, subprocess.Popen(
        [sys.executable, str(HERE / "burst_server.py"), str(frames), str(folder)],
        stdout=subprocess.PIPE, env=environment, text=True,
    ) as server:  # fmt: skip
        try:
            port = server.stdout.readline().strip()
            done = subprocess.run(
                [sys.executable, str(HERE / "burst_client.py"), port, str(folder), str(frames), mode],
                stdout=subprocess.PIPE, stderr=errors, env=environment, text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
            errors.seek(0)
            assert done.returncode == 0, errors.read()[-3000:]
        finally:
            server.kill()
    return json.loads(done.stdout), json.loads((folder / "truth.json").read_text())


def check(report, truth, folder):
    """Nothing lost, the book right, the engine level with the log, memory bounded, replay identical."""
    kinds = {Kind(int(kind)): count for kind, count in report["kinds"].items()}
    frames = truth["frames"]
    assert (report["frames"], report["quarantined"]) == (frames, 0)
    assert report["declined"] < 0.01 * frames
    assert kinds[Kind.BOOK_TICKER] == truth["counts"]["quotes"]
    assert kinds[Kind.TRADE] == truth["counts"]["trades"]
    assert kinds[Kind.DEPTH_DIFF] == truth["counts"]["diffs"]
    assert report["live"]
    assert report["update_id"] == truth["update_id"]
    for side in ("bids", "asks"):
        assert report[side] == truth[side]
    assert report["engine_seq"] == report["last_seq"]
    assert report["rss_mb"] < RSS_MB
    events, market = 0, 0
    for segment in Journal(folder / "journal").segments(sealed_only=True):
        seqs = segment.event_seqs
        assert np.array_equal(seqs, np.arange(events + 1, events + seqs.size + 1))
        events += seqs.size
        market += int(np.isin(segment.headers["kind"], (Kind.BOOK_TICKER, Kind.TRADE, Kind.DEPTH_DIFF)).sum())
    assert market == frames
    assert events >= report["last_seq"]
    assert replay(folder / "journal").identical


@pytest.mark.parametrize(
    ("frames", "mode"),
    [
        (80_000, "held"),
        pytest.param(200_000, "free", marks=pytest.mark.slow),
        pytest.param(10_000_000, "held", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
        pytest.param(10_000_000, "free", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_a_burst(tmp_path, frames, mode):
    try:
        report, truth = burst(tmp_path, frames, mode, 120 + frames / 4000)
        figures = {key: value for key, value in report.items() if key not in ("bids", "asks", "kinds")}
        print(json.dumps(figures, indent=1))
        check(report, truth, tmp_path)
        assert report["times_ahead"] > 0
        if mode == "held":
            assert report["most_waiting"] >= 0.99 * frames
            assert report["on_disk"] > frames - IN_MEMORY
            assert report["from_disk"] > frames - IN_MEMORY
            assert report["lag_s"] > 0.5
    finally:
        shutil.rmtree(tmp_path / "journal", ignore_errors=True)  # gigabytes
