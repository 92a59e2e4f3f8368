"""A disk that is full from the start, or becomes so: said in one line, nothing lost, nothing half-written."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bot4_live.journal.client import settle
from bot4_live.journal.reader import Journal
from bot4_live.simulation.generator import generate, write_capture

from .conftest import fill, json_line

pytestmark = pytest.mark.system

BOT4 = [sys.executable, "-m", "bot4_live"]
SEGMENT_MIB = 256
ROOM_MIB = 0.25  # beside the segment


@pytest.fixture(scope="session")
def long_market(tmp_path_factory):
    """A capture whose frames, compressed, take more than ROOM_MIB."""
    path = tmp_path_factory.mktemp("long") / "market.gz"
    write_capture(path, generate(12, duration_s=60))
    return path


def test_an_import_where_no_segment_fits(account, market, small_disk):
    account.environment["BOT4_VAR"] = str(small_disk(8))
    said = account.run("record", "--capture", market[0])
    said.refused("No space left on device", f"a segment takes {SEGMENT_MIB} MiB", "set BOT4_VAR")
    assert left(account) == []


def test_an_import_that_fills_the_disk_is_taken_back(account, market, long_market, small_disk):
    account.environment["BOT4_VAR"] = str(small_disk(SEGMENT_MIB + ROOM_MIB))
    account.run("record", "--capture", long_market).refused("No space left on device", "the import was taken back")
    assert left(account) == []
    assert account.run("record", "--capture", market[0]).code == 0, "what fits can still be imported"


def test_files_that_may_not_grow(account, market):
    """The same refusal without a disk of its own: the limit on the size of a file."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, resource.RLIM_INFINITY))

    account.run("record", "--capture", market[0], before=limit).refused("File too large", "the journal cannot be begun")
    assert account.files() == []


def test_recording_where_no_segment_fits(trader, small_disk):
    trader.environment["BOT4_VAR"] = str(small_disk(8))
    began = time.monotonic()
    trader.run("record", "--seconds", 30).refused("No space left on device", "the journal cannot be begun")
    assert time.monotonic() - began < 15, "said at once, not when the memory is full too"
    assert left(trader) == []


@pytest.mark.slow  # trading until the disk is full goes the same way
def test_recording_until_the_disk_is_full_and_after_room_was_made(trader, small_disk, tmp_path):
    disk = small_disk(SEGMENT_MIB + ROOM_MIB)
    trader.environment["BOT4_VAR"] = str(disk)
    settings = trader.settings.model_copy(update={"var": disk})
    ballast = disk / "ballast"
    with open(tmp_path / "err", "wb") as errors, recording(trader, errors) as process:
        journal = settings.journal_dir
        wait(lambda: journal.is_dir() and any(path.stat().st_size > 1024 for path in journal.glob("raw-*")))
        fill(ballast)
        assert process.wait(40) == 1
    said = (tmp_path / "err").read_text().strip().splitlines()
    assert len(said) == 1, said
    assert "the journal cannot be written (No space left on device)" in said[0]
    assert "wait in memory and are written as soon as there is room" in said[0]
    ballast.unlink()
    settle(journal, settings.shm_dir)
    seqs = events(journal)
    assert np.array_equal(seqs, np.arange(1, seqs.size + 1)), "every event that was received is there, once"
    assert sum(1 for _ in Journal(journal)._raw) > 0
    assert not (settings.shm_dir / "journal.ring").exists()


def test_trading_until_the_disk_is_full_and_after_room_was_made(trader, small_disk, tmp_path):
    disk = small_disk(SEGMENT_MIB + 4)
    trader.environment["BOT4_VAR"] = str(disk)
    settings = trader.settings.model_copy(update={"var": disk})
    ballast = disk / "ballast"
    log = tmp_path / "live.err"
    with (
        trader.running("watchdog", log=tmp_path / "watchdog.err") as (watchdog, ready),
        trader.running("live", "--no-model", "--seconds", 90, log=log) as (process, prepared),
    ):
        assert ready, (tmp_path / "watchdog.err").read_text()
        assert prepared, log.read_text()
        assert json_line(process)["state"] == "trading", log.read_text()
        time.sleep(1.0)
        fill(ballast)
        code = process.wait(60)
        said = log.read_text()
        assert watchdog.poll() is None
    print(said)
    assert code == 1, said
    assert "Traceback" not in said, said
    assert said.strip().splitlines()[-1].startswith("bot4: "), said
    assert "No space left on device" in said.strip().splitlines()[-1]
    ballast.unlink()
    settle(settings.journal_dir, settings.shm_dir)
    seqs = events(settings.journal_dir)
    assert np.array_equal(seqs, np.arange(1, seqs.size + 1)), "every event is there, once"


def events(journal_dir):
    """Return the seqs of all events, in log order; every segment must be sealed."""
    segments = list(Journal(journal_dir).segments())
    assert all(segment.sealed for segment in segments)
    return np.concatenate([segment.headers["seq"][~segment.is_command] for segment in segments])


@contextlib.contextmanager
def recording(trader, errors):
    process = subprocess.Popen([*BOT4, "record"], env=trader.environment, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def left(account):
    """Return the files on the account's disk, locks aside."""
    root = account.environment["BOT4_VAR"]
    return [
        os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names if not name.endswith("lock")
    ]
