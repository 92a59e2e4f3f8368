"""The demo's small parts: fresh folders, divided markets, charts of depth."""

from __future__ import annotations

import stat
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Kind, Reason, header_of, new_record, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_platform.demo.depth import read_depth
from bot4_platform.demo.job import Job
from bot4_platform.demo.plan import SECOND, make_plan

START = 1_723_161_255_000_000_000


def job(folder: Path) -> Job:
    return Job(folder, None, 1, 125.0)


def test_the_last_run_is_kept_aside_and_the_one_before_it_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for name in ("first", "second", "third"):
        job(folder)._prepare()
        assert not (folder / "mark").exists(), "each run begins in an empty folder"
        (folder / "mark").write_text(name)
    assert (folder / "mark").read_text() == "third"
    assert (tmp_path / "demo-previous" / "mark").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "demo-previous"]


def test_a_run_has_keys_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    runs = [job(tmp_path / name) for name in ("a", "b")]
    texts = []
    for run in runs:
        keys = run._prepare()
        path = run.folder / "accounts.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert keys.runner[0] != keys.watchdog[0]
        texts.append(path.read_text())
    assert texts[0] != texts[1]


def test_the_bad_frames_to_be_sent_are_listed_with_their_reasons(tmp_path: Path) -> None:
    run = job(tmp_path / "demo")
    run._prepare()
    listed = run.facts["bad_frames"]
    assert sum(listed.values()) >= 16
    assert set(listed) <= {reason.name for reason in Reason}


@pytest.mark.parametrize("seconds", [60, 125, 240, 345, 4000])
def test_a_plan_learns_first_and_trades_later_at_speeds_that_fit(seconds: float) -> None:
    plan = make_plan(START, START + int(seconds * SECOND))
    moments = (plan.begin_ns, plan.live_from_ns, plan.real_time_from_ns, plan.kill_ns, plan.end_ns)
    assert all(a < b for a, b in pairwise(moments))
    assert plan.end_ns <= START + int(seconds * SECOND)
    assert plan.captured_s / plan.capture_speed <= 30
    assert (plan.real_time_from_ns - plan.live_from_ns) / SECOND / plan.live_speed <= 30


def test_a_market_too_short_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 60 s"):
        make_plan(START, START + 59 * SECOND)


def depth_event(kind: Kind, seq: int, at_s: float, levels: list[tuple[int, int]], bids: int) -> np.ndarray:
    record = new_record(kind, 1 + len(levels) if levels else 0)
    head = header_of(record)
    head["seq"], head["recv_ns"] = seq, START + round(at_s * 1e9)
    if levels:
        slots_of(record)[:] = [(0, bids), *levels]
    return record


def test_depth_is_what_snapshot_and_diffs_left(tmp_path: Path) -> None:
    header = SegmentHeader(
        account="t", session="s", first_seq=1, market="m", shift_ns=0, speed_milli=1000, start_market_ns=0,
        start_mono_ns=0, order_epoch=1, source_hash="", lock_hash="", cpu="", schema=1,
    )  # fmt: skip
    with LocalJournal(tmp_path, header, segment_bytes=1 << 16) as journal:
        journal.append(depth_event(Kind.SESSION, 1, 0.0, [], 0))
        journal.append(depth_event(Kind.DEPTH_SNAPSHOT, 2, 1.5, [(600_005, 1000), (600_015, 2000)], 1))
        journal.append(depth_event(Kind.DEPTH_DIFF, 3, 2.5, [(600_005, 0), (600_006, 500)], 2))
        journal.append(depth_event(Kind.BOOK_STALE, 4, 3.5, [], 0))
        journal.append(depth_event(Kind.SESSION, 5, 4.5, [], 0))
    depth = read_depth(tmp_path, BTCUSDT_USDM, START, (0.0, 5.0), (60_000.0, 60_002.0), (2, 5))
    assert depth.seconds.tolist() == [0, 1, 2, 3, 4, 5]
    # One lot is 0.001: moments are the right edges 1 to 5 s.
    np.testing.assert_allclose(depth.resting[0], [np.nan, 1.0, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(depth.resting[1], [np.nan, 2.0, 2.0, np.nan, np.nan])


def test_screenshots_alone_are_no_run_and_stay(tmp_path: Path) -> None:
    shot = tmp_path / "demo" / "screens" / "report.png"
    shot.parent.mkdir(parents=True)
    shot.write_bytes(b"png")
    job(tmp_path / "demo")._prepare()
    assert shot.exists()
    assert not (tmp_path / "demo-previous").exists()
