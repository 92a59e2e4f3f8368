"""The writer as a real process: drained after the producer's death, killed itself, refused by the disk."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.reader import Journal

Make = Callable[..., np.ndarray]

PRODUCER = """
import sys
from pathlib import Path
from bot4_live.events import Kind, header_of, new_record
from bot4_live.journal.client import JournalClient
from bot4_live.journal.layout import SegmentHeader
journal_dir, shm = Path(sys.argv[1]), Path(sys.argv[2])
header, _ = SegmentHeader.decode(Path(sys.argv[3]).read_bytes())
client = JournalClient(journal_dir, header, shm, segment_bytes=1 << 18, ring_bytes=1 << 16)
record = new_record(Kind.TRADE, 2)
for seq in range(1, 10_000_000):
    header_of(record)["seq"] = seq
    header_of(record)["a"] = client.append_raw(seq, b"frame %d" % seq, 0, 1)
    client.append(record)
    if seq % 100 == 0:
        print(seq, flush=True)
"""


def check_whole(directory: Path, at_least: int) -> None:
    journal = Journal(directory)
    seqs = np.concatenate([segment.headers["seq"] for segment in journal.segments(sealed_only=True)])
    assert np.array_equal(seqs, np.arange(1, seqs.size + 1)), "an event is missing or doubled"
    assert seqs.size >= at_least
    for record in list(journal.events())[:: max(1, seqs.size // 50)]:
        seq, ref = int(record[16:24].view(np.uint64)[0]), int(record[40:48].view(np.int64)[0])
        assert journal.raw(ref).raw == b"frame %d" % seq


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kill_9_of_the_producer_and_of_the_writer(tmp_path: Path, header: SegmentHeader, seed: int) -> None:
    shm, journal_dir = tmp_path / "shm", tmp_path / "journal"
    (tmp_path / "header").write_bytes(header.encode())
    rng = random.Random(seed)
    pid = 0
    producer = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(journal_dir), str(shm), str(tmp_path / "header")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert producer.stdout is not None
    try:
        last = int(producer.stdout.readline())
        for round_ in range(2):
            lock = journal_dir / ".writer.lock"
            while not lock.exists() or (named := lock.read_text().strip()) in ("", str(pid)):
                time.sleep(0.01)
            time.sleep(rng.random() * 0.15)
            pid = int(named)
            os.kill(pid, signal.SIGKILL)  # the producer notices only when the ring is full, and starts another
            deadline = time.monotonic() + 20
            while last < 2000 * (round_ + 1) and time.monotonic() < deadline:
                last = int(producer.stdout.readline())
        producer.kill()
        last = int(([line for line in producer.stdout.read().split("\n") if line.isdigit()] or [last])[-1])
    finally:
        producer.kill()
        producer.wait()
        producer.stdout.close()
    settle(journal_dir, shm)
    check_whole(journal_dir, last)


def test_close_drains_and_seals(tmp_path: Path, header: SegmentHeader, make_record: Make) -> None:
    client = JournalClient(tmp_path / "j", header, tmp_path / "shm", segment_bytes=1 << 20, ring_bytes=1 << 20)
    with pytest.raises(BlockingIOError, match="already writes"):
        JournalClient(tmp_path / "j", header, tmp_path / "shm")
    for seq in range(1, 500):
        client.append(make_record(seq))
    client.close()
    assert Journal(tmp_path / "j").seals()[0]["records"] == 499
    assert not (tmp_path / "shm" / "journal.ring").exists()


def test_a_disk_that_refuses_is_reported_and_nothing_is_lost(
    tmp_path: Path, header: SegmentHeader, make_record: Make
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # The writer inherits the limit: its files cannot grow, as on a full disk.
        client = JournalClient(tmp_path / "j", header, tmp_path / "shm", segment_bytes=1 << 20, ring_bytes=1 << 17)
        client._process.kill()
        client._process.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
        assert client.ensure_writer()
        for seq in range(1, 200):
            client.append(make_record(seq))
        deadline = time.monotonic() + 20
        while client.ring.status[0] != 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not client.healthy
        rest = (make_record(seq) for seq in range(200, 5000))
        with pytest.raises(OSError, match=r"cannot be written \(File too large\); .* wait in memory"):
            deque(map(client.append, rest))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    client._process.kill()
    client._process.wait()
    client.ensure_writer()
    client.close()
    seqs = np.concatenate([s.headers["seq"] for s in Journal(tmp_path / "j").segments()])
    assert seqs.size > 199
    assert np.array_equal(seqs, np.arange(1, seqs.size + 1))
