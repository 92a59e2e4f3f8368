"""`bot4 record`: from a capture, and from the simulated exchange in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest
from click.testing import CliRunner

from bot4_live.commands.feeds import command as feeds_command
from bot4_live.commands.record import command
from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.journal.reader import Journal, read_segment
from bot4_live.market.public import is_loopback


def bot4(*args, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("BOT4_") or k == "BOT4_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "-m", "bot4_live", *args],
        env=env | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextlib.contextmanager
def exchange(*options):
    """Run the simulated exchange; give what it says of itself when it listens."""
    process = bot4("exchange", "--port", "0", "--seed", "5", *options, BOT4_EXCHANGE_TOKEN="t")
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=15)


def post(at, path, body):
    """Change the exchange while it runs."""
    headers = {"X-Bot4-Token": "t", "Content-Type": "application/json"}
    request = urllib.request.Request(at["rest"] + path, json.dumps(body).encode(), headers)
    urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture
def account(tmp_path):
    """Settings of an account under the test's folder."""
    return {"BOT4_VAR": str(tmp_path), "BOT4_ACCOUNT": f"rec{os.getpid()}"}


def test_recording_an_exchange_until_a_signal_stops_it(account, tmp_path):
    with exchange("--speed", "8") as at:
        recorder = bot4("record", "--json", **account, BOT4_REST_URL=at["rest"], BOT4_WS_URL=at["ws"])
        journal_dir = tmp_path / account["BOT4_ACCOUNT"] / "journal"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(path.stat().st_size > 100_000 for path in journal_dir.glob("raw-*")):
                break
            time.sleep(0.1)
        recorder.send_signal(signal.SIGTERM)
        out, err = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, err
    said = json.loads(out)
    assert said["stopped"] is True
    assert said["source"] == "generator:5"
    assert said["shift_ns"] == at["shift_ns"]
    journal = Journal(journal_dir)
    (segment,) = journal.segments()
    assert segment.sealed
    assert (segment.header.shift_ns, segment.header.speed_milli) == (at["shift_ns"], 8000)
    got = Counter(Kind(int(header_of(record)["kind"])) for record in journal.events())
    assert got[Kind.DEPTH_SNAPSHOT] == 1
    assert got[Kind.QUARANTINE] == 0
    assert got[Kind.BOOK_STALE] == 2  # start and end
    assert min(got[Kind.DEPTH_DIFF], got[Kind.BOOK_TICKER], got[Kind.TRADE], got[Kind.TICK]) > 10
    assert sum(got.values()) == said["last_seq"]
    # The engine's clock is the exchange's market time: events are received about when they happened.
    market = segment.headers[(segment.headers["exch_ns"] > 0) & (segment.headers["kind"] == Kind.TRADE)]
    lag_ms = (market["recv_ns"] - market["exch_ns"]) / 1e6
    assert -100 < float(lag_ms[lag_ms.size // 2]) < 4_000


@pytest.mark.slow
def test_nothing_compiles_while_it_records(account, tmp_path):
    """With an empty cache it takes longer to begin, and records all the same for as long as it was told."""
    with exchange() as at:
        recorder = bot4(
            "record", "--seconds", "3", "--json", **account, BOT4_REST_URL=at["rest"], BOT4_WS_URL=at["ws"],
            NUMBA_CACHE_DIR=str(tmp_path / "empty"),
        )  # fmt: skip
        out, err = recorder.communicate(timeout=120)
    assert recorder.returncode == 0, err
    assert json.loads(out)["counts"]["events"]["depth_diff"] > 20


def test_recording_for_some_seconds_of_a_paused_market(account, tmp_path):
    with exchange("--paused") as at:
        recorder = bot4(
            "record", "--seconds", "1.5", "--json", **account, BOT4_REST_URL=at["rest"], BOT4_WS_URL=at["ws"]
        )
        out, err = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, err
    said = json.loads(out)
    assert said["counts"]["events"] == {}
    assert said["first_ns"] == said["last_ns"]
    assert said["reconnects"] == 0


def test_until_a_market_time_of_a_market_that_begins_to_run(account, tmp_path):
    """The recorder is there first; then the market runs for 8 s of its time, 1 s of ours."""
    with exchange("--speed", "8", "--paused") as at:
        start = at["market_ns"] - at["shift_ns"]
        until = start + 8_000_000_000
        recorder = bot4(
            "record", "--until", str(until), "--json", **account, BOT4_REST_URL=at["rest"], BOT4_WS_URL=at["ws"]
        )
        deadline = time.monotonic() + 60
        while not list((tmp_path / account["BOT4_ACCOUNT"] / "journal").glob("seg-*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)
        post(at, "/bot4/clock", {"paused": False})
        out, err = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, err
    said = json.loads(out)
    assert said["first_ns"] - at["shift_ns"] == start
    assert until - 200_000_000 <= said["last_ns"] - at["shift_ns"] <= until + 5_000_000_000
    (segment,) = Journal(tmp_path / account["BOT4_ACCOUNT"] / "journal").segments()
    kinds = Counter(segment.headers["kind"].tolist())
    assert kinds[Kind.CLOCK_OFFSET] >= 1
    assert kinds[Kind.TRADE] > 10
    assert kinds[Kind.TICK] >= 780


def test_another_tick_and_another_filter_in_the_middle_of_a_recording(account, tmp_path):
    with exchange() as at:
        post(at, "/bot4/instrument", {"min_notional": "50"})  # which it is told before it begins
        recorder = bot4(
            "record", "--json", **account, BOT4_REST_URL=at["rest"], BOT4_WS_URL=at["ws"], BOT4_INSTRUMENT_CHECK_S="0.3"
        )

        def seen(kind):
            """The instrument's version in each event of a kind so far."""
            paths = (tmp_path / account["BOT4_ACCOUNT"] / "journal").glob("seg-*")
            found = [read_segment(path).headers for path in paths]
            return [int(version) for one in found for version in one["inst_version"][one["kind"] == kind]]

        def told():
            return seen(Kind.INSTRUMENT)

        def wait_for(condition):
            deadline = time.monotonic() + 180  # a changed kernel is compiled first
            while not condition():
                assert time.monotonic() < deadline
                assert recorder.poll() is None
                time.sleep(0.1)

        try:
            wait_for(lambda: seen(Kind.DEPTH_SNAPSHOT) == [1])
            post(at, "/bot4/instrument", {"tick": "0.01"})
            wait_for(lambda: told() == [1, 2])
            post(at, "/bot4/instrument", {"min_notional": "20"})
            wait_for(lambda: told() == [1, 2, 3])
            wait_for(lambda: seen(Kind.DEPTH_SNAPSHOT)[-1] >= 2)
        finally:
            recorder.send_signal(signal.SIGTERM)
            _, err = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, err
    journal = Journal(tmp_path / account["BOT4_ACCOUNT"] / "journal")
    heads = [header_of(record) for record in journal.events()]
    snapshots = [int(head["inst_version"]) for head in heads if head["kind"] == Kind.DEPTH_SNAPSHOT]
    assert (snapshots[0], snapshots[-1] >= 2) == (1, True)
    stale = [int(head["a"]) for head in heads if head["kind"] == Kind.BOOK_STALE]
    assert stale == [StaleCause.START, StaleCause.INSTRUMENT, StaleCause.DISCONNECT]
    instruments = [slots_of(record) for record in journal.events() if header_of(record)["kind"] == Kind.INSTRUMENT]
    assert [int(slots[0, 0]) for slots in instruments] == [10_000_000, 1_000_000, 1_000_000]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8411", True),
        ("http://127.9.9.9", True),
        ("ws://localhost:1", True),
        ("ws://[::1]:1", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("https://user@127.0.0.1@example.com/", False),
        ("127.0.0.1:80", False),
        ("", False),
    ],
)
def test_what_loopback_is(url, local):
    assert is_loopback(url) is local


def test_importing_a_capture(tmp_path, monkeypatch, frames, base_ns):
    monkeypatch.setenv("BOT4_VAR", str(tmp_path))
    path = tmp_path / "capture"
    raws = [frames.diff(1, 10, 0), frames.snapshot(8, [["1", "1"]], [["2", "1"]]), frames.trade(1, "1.5", "1")]
    path.write_bytes(b"".join(b"%d %s\n" % (base_ns + i, raw) for i, raw in enumerate(raws)) + b"17 {")
    broken = CliRunner().invoke(command, ["--capture", str(path), "--journal", str(tmp_path / "j0")])
    assert isinstance(broken.exception, ValueError)
    assert "line 4: the line is cut" in str(broken.exception)
    result = CliRunner().invoke(
        command, ["--capture", str(path), "--keep-whole", "--journal", str(tmp_path / "j"), "--json"]
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["frames"] == 3
    assert "line 4" in said["damage"]
    assert "line 4" in result.stderr
    plain = CliRunner().invoke(command, ["--capture", str(path), "--keep-whole", "--until", "2030-01-01"])
    assert plain.exit_code == 0
    assert "3 frames from capture:capture" in plain.stdout
    for wrong in (["--until", "soon"], ["--seconds", "1"]):
        assert CliRunner().invoke(command, ["--capture", str(path), *wrong]).exit_code == 2


def until(condition, process, seconds=60):
    """Wait for `condition()`; say what the process said when it ends before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def feeds(account):
    """Return what `bot4 feeds --json` says of the account's process, None when there is none."""
    found = json.loads(CliRunner().invoke(feeds_command, ["--json"], env=account).stdout)["processes"]
    return found[0] if found else None


def test_kill_9_loses_nothing_that_was_appended_and_a_restart_goes_on(account, tmp_path):
    """And `bot4 feeds` tells the three states: running, dead, gone."""
    journal_dir = tmp_path / account["BOT4_ACCOUNT"] / "journal"
    small = {"BOT4_JOURNAL__SEGMENT_MB": "1", "BOT4_JOURNAL__ROTATE_S": "10"}
    with exchange("--speed", "8") as at:
        where = account | {"BOT4_REST_URL": at["rest"], "BOT4_WS_URL": at["ws"]}
        first = bot4("record", "--json", **where, **small)
        said = until(lambda: (one := feeds(account)) and one["written"]["sealed"] > 1 and one, first)
        assert (said["state"], said["role"], said["pid"]) == ("running", "record", first.pid)
        (connection,) = said["pools"][0]["connections"]
        assert connection["state"] == "open"
        names = {channel["name"]: channel for channel in connection["channels"]}
        assert set(names) == {"depth btcusdt", "bookTicker btcusdt", "trade btcusdt"}
        assert all(channel["rate"] > 1 for channel in names.values())
        assert said["books"][0]["live"]
        assert said["clock"]["error_ns"] > 0
        assert said["written"]["syncs"] > 0
        first.kill()
        first.communicate()
        dead = feeds(account)
        assert dead["state"] == "dead"
        second = bot4("record", "--seconds", "2", "--json", **where, **small)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 0, err
    assert feeds(account) is None
    segments = list(Journal(journal_dir).segments(sealed_only=True))
    assert len(segments) == len(Journal(journal_dir).paths())
    seqs = [int(seq) for segment in segments for seq in segment.headers["seq"]]
    assert seqs == list(range(1, len(seqs) + 1)), "an event is missing or doubled"
    # What the recorder had published before it was killed is all there, and so is every frame the records refer to.
    assert len(seqs) > dead["written"]["last_seq"]
    restarts = [i for i, segment in enumerate(segments) if (segment.headers["kind"] == Kind.SESSION).any()]
    assert restarts[0] == 0
    assert len(restarts) == 2
    journal = Journal(journal_dir)
    for segment in segments:
        trades = segment.headers[segment.headers["kind"] == Kind.TRADE]
        assert all(b"@trade" in journal.raw(int(ref)).raw for ref in trades["c"][:5])
        periods = (segment.headers["recv_ns"] - at["shift_ns"]) // 10_000_000_000
        assert periods.min() == periods.max(), "a segment holds two periods"


def test_a_full_disk_ends_a_recording_with_one_line(account, tmp_path):
    """Files may not grow beyond a segment: as on a full disk."""
    with exchange("--speed", "8") as at:
        where = account | {"BOT4_REST_URL": at["rest"], "BOT4_WS_URL": at["ws"], "BOT4_JOURNAL__SEGMENT_MB": "2"}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BOT4_")} | where
        limited = f"ulimit -f 1024; exec {sys.executable} -m bot4_live record --seconds 20"  # blocks of 1 KiB
        done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "the journal cannot be begun (File too large): a segment takes 2 MiB" in done.stderr
