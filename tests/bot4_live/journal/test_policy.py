"""Rotation by size and time, and what each fsync policy makes the writer process do."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot4_live.journal.client import JournalClient
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.policy import Policy
from bot4_live.journal.reader import Journal
from bot4_live.settings import load
from bot4_live.settings_errors import WrongSettings

Make = Callable[..., np.ndarray]
HOUR_NS = 3_600 * 10**9


def drained(client: JournalClient, entries: int) -> None:
    """Wait until the writer has taken `entries` from the ring, and has said so."""
    deadline = time.monotonic() + 20
    while client.counts.entries < entries or client.ring.backlog:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("fsync", "fsync_ms", "least", "most"), [("batch", 100, 20, 20), ("interval", 50, 1, 19), ("rotation", 50, 0, 0)]
)
def test_what_a_policy_makes_durable_when(
    tmp_path: Path, header: SegmentHeader, make_record: Make, fsync: str, fsync_ms: int, least: int, most: int
) -> None:
    """Twenty batches: each of them is seen to be on its way before the next is appended."""
    policy = Policy(segment_bytes=1 << 20, fsync=fsync, fsync_ms=fsync_ms)
    client = JournalClient(tmp_path / "j", header, tmp_path / "shm", ring_bytes=1 << 16, policy=policy)
    started = time.monotonic()
    for seq in range(1, 21):
        client.append(make_record(seq))
        drained(client, seq)
    elapsed = time.monotonic() - started
    if fsync == "interval":  # never more often than it says, and once the time is over it does
        most = min(most, int(elapsed / fsync_ms * 1000) + 1)
        deadline = time.monotonic() + 20
        while client.counts.syncs < least:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert least <= client.counts.syncs <= max(most, least)
    assert (client.counts.sync_us > 0) == (client.counts.syncs > 0)
    client.close()
    (seal,) = Journal(tmp_path / "j").seals()
    assert seal["records"] == 20


def test_rotation_by_time_is_by_receive_time_without_the_shift(
    tmp_path: Path, header: SegmentHeader, make_record: Make
) -> None:
    shifted = replace(header, shift_ns=HOUR_NS // 2)
    policy = Policy(segment_bytes=1 << 20, rotate_s=3_600)
    client = JournalClient(tmp_path / "j", shifted, tmp_path / "shm", ring_bytes=1 << 16, policy=policy)
    start = 480_000 * HOUR_NS + shifted.shift_ns
    times = [start, start + HOUR_NS - 1, start + HOUR_NS, start + 3 * HOUR_NS, start + 3 * HOUR_NS + 1]
    for seq, at in enumerate(times, 1):
        client.append(make_record(seq, recv_ns=at))
    drained(client, len(times))
    assert client.counts.sealed == 2
    client.close()
    assert [(s["first_seq"], s["records"]) for s in Journal(tmp_path / "j").seals()] == [(1, 2), (3, 1), (4, 2)]


def test_rotation_by_size(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    policy = Policy(segment_bytes=1 << 14)
    client = JournalClient(tmp_path / "j", header, tmp_path / "shm", ring_bytes=1 << 16, policy=policy)
    for seq in range(1, 400):
        client.append(make_record(seq))
    client.close()
    seals = Journal(tmp_path / "j").seals()
    assert len(seals) > 3
    assert all(seal["bytes"] <= 1 << 14 for seal in seals)
    assert sum(seal["records"] for seal in seals) == 399


def test_a_journal_in_process_keeps_to_days(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    with LocalJournal(tmp_path, header, segment_bytes=1 << 16) as journal:
        for seq, at in enumerate((0, 23 * HOUR_NS, 24 * HOUR_NS), 1):
            journal.append(make_record(seq, recv_ns=at))
    assert [seal["records"] for seal in Journal(tmp_path).seals()] == [2, 1]


def test_policies_that_cannot_be() -> None:
    for wrong in ({"fsync": "never"}, {"rotate_s": 7_000}, {"rotate_s": 0}, {"fsync_ms": 0}):
        with pytest.raises(ValueError, match=r"fsync|divide|at least"):
            Policy(**wrong)  # type: ignore[arg-type]


def test_the_settings_are_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT4_JOURNAL__ROTATE_S", "900")
    monkeypatch.setenv("BOT4_JOURNAL__FSYNC", "batch")
    monkeypatch.setenv("BOT4_JOURNAL__SEGMENT_MB", "32")
    assert load().journal.policy() == Policy(32 << 20, 900, "batch", 100)
    monkeypatch.setenv("BOT4_JOURNAL__ROTATE_S", "901")
    with pytest.raises(WrongSettings, match="BOT4_JOURNAL__ROTATE_S=901: does not divide a day"):
        load()
    monkeypatch.delenv("BOT4_JOURNAL__ROTATE_S")
    monkeypatch.setenv("BOT4_JOURNAL", "{")
    with pytest.raises(WrongSettings, match="BOT4_JOURNAL is not JSON"):
        load()
