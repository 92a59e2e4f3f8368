"""The backlog on disk: what waits is read back from the segments of a real writer, in order, in bounded memory."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot4_live.events import Kind, header_of
from bot4_live.journal.backlog import Backlog
from bot4_live.journal.client import JournalClient
from bot4_live.journal.follow import Follower
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.reader import Journal

Make = Callable[..., np.ndarray]


def seqs_of(data: np.ndarray, offsets: np.ndarray) -> list[int]:
    return [int(data[at + 16 : at + 24].view("<u8")[0]) for at in offsets.tolist()]


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def client(tmp_path: Path, header: SegmentHeader) -> JournalClient:
    return JournalClient(tmp_path / "journal", header, tmp_path / "shm", segment_bytes=1 << 18, ring_bytes=1 << 16)


def test_a_follower_gets_each_event_once_across_segments_and_dead_writers(
    client: JournalClient, make_record: Make
) -> None:
    follower, seen, chance = Follower(client.directory, 1), [], random.Random(4)
    for seq in range(1, 20_001):
        client.append(make_record(seq, slots=chance.randrange(6)))
        if seq % 3 == 0:
            client.append(make_record(seq - 2, kind=Kind.CMD_NEW))  # late, and none of the follower's
        if seq % 5000 == 2500:
            os.kill(client._process.pid, signal.SIGKILL)
        if seq % 700 == 0:
            seen += seqs_of(*follower.read(chance.randrange(1, 2000)))
    until(lambda: seen.extend(seqs_of(*follower.read(5000))) or len(seen) >= 20_000)
    assert seen == list(range(1, 20_001))
    assert follower.read(10)[1].size == 0
    client.close()
    assert len(Journal(client.directory).paths()) > 3
    again = Follower(client.directory, 777)
    assert seqs_of(*again.read(2))[0] == 777 or seqs_of(*again.read(5000))[0] == 777


def test_a_follower_says_when_the_log_lacks_an_event(client: JournalClient, make_record: Make) -> None:
    for seq in (1, 2, 4):
        client.append(make_record(seq))
    client.close()
    follower = Follower(client.directory, 1)
    with pytest.raises(ValueError, match="lacks event 3"):
        follower.read(10)


@pytest.mark.parametrize("memory_bytes", [1000, 20_000, 1 << 30])
def test_a_backlog_is_a_queue_in_bounded_memory(client: JournalClient, make_record: Make, memory_bytes: int) -> None:
    backlog, chance, seq, taken = (
        Backlog(client.directory, lambda: client.written, memory_bytes),
        random.Random(2),
        0,
        [],
    )
    kept = 0
    for turn in range(60):
        for _ in range(chance.randrange(400) if turn != 30 else 9000):
            seq += 1
            record = make_record(seq, slots=chance.randrange(6))
            client.append(record)
            backlog.add(seq, record.tobytes())
        kept = max(kept, backlog._front_bytes + backlog._back_bytes)
        data, offsets = backlog.take(chance.randrange(1, 500))
        taken += seqs_of(data, offsets)
        assert len(backlog) == seq - len(taken)
    until(lambda: taken.extend(seqs_of(*backlog.take(2000))) or len(taken) == seq)
    assert taken == list(range(1, seq + 1))
    assert kept <= 2 * memory_bytes
    assert (backlog.from_disk > 5000) == (memory_bytes < 1 << 30)
    assert (len(backlog), backlog.on_disk) == (0, 0)
    client.close()


def test_late_commands_leave_the_seals_of_segments_true(client: JournalClient, make_record: Make) -> None:
    """A command may open a segment long after its cause; names and seals are those of events."""
    for seq in range(1, 4001):
        client.append(make_record(seq))
    for _ in range(4000):
        client.append(make_record(5, kind=Kind.CMD_NEW))
    for seq in range(4001, 6001):
        client.append(make_record(seq))
    client.close()
    seals = Journal(client.directory).seals()
    assert [seal["first_seq"] for seal in seals][1:] == [seal["last_seq"] + 1 for seal in seals][:-1]
    assert (seals[0]["first_seq"], seals[-1]["last_seq"]) == (1, 6000)
    assert [int(header_of(r)["seq"]) for r in Journal(client.directory).events()] == list(range(1, 6001))
    assert Journal(client.directory).last_seq == 6000
