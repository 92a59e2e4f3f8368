"""What a process shows of its feeds: counted from records, published as a whole, and seen to be dead when it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot4_live.commands.feeds import command
from bot4_live.events import Kind, Reason, StaleCause, header_of, new_record
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.feed_status import HUNG_S, STATUS_FILE, Publisher, Tally, read
from bot4_live.market.feed_table import lines
from bot4_live.market.live.status import ChannelStatus, ConnectionStatus, PoolStatus, State
from bot4_live.market.stream_gauge import StreamGauge
from bot4_live.settings import Settings
from bot4_live.wire.spin_stream import SpinStream

MARKET = BTCUSDT_USDM.market


def record(kind, instrument=0, **fields):
    made = new_record(kind, 1)
    head = header_of(made)
    head["instrument"] = instrument
    for name, value in fields.items():
        head[name] = value
    return made


class OnePool:
    """A pool that says what it was given."""

    def __init__(self, *connections: ConnectionStatus) -> None:
        self.connections = connections

    def status(self) -> PoolStatus:
        return PoolStatus("kraken", "half_open", self.connections)


def connection(**changes):
    channel = ChannelStatus("book:BTC/USD", 1_234, 56.7, 2.5, 0.02, 0.5, silent=True, gaps=3, stale=True)
    plain = {
        "name": "kraken-0", "venue": "kraken", "url": "wss://localhost/v2", "state": State.OPEN, "connects": 3,
        "failures": 2, "silences": 1, "renewals": 1, "frames": 9_999, "bytes": 4_500_000, "last_frame_ns": 1,
        "last_error": "kraken cut the line", "open_s": 3_725.0, "stale_books": ("BTC/USD",), "channels": (channel,),
    }  # fmt: skip
    return ConnectionStatus(**plain | changes)


@pytest.fixture
def shm(tmp_path):
    folder = tmp_path / "shm"
    folder.mkdir()
    return folder


def publisher(shm):
    return Publisher(shm, role="record", account="rec", journal=Path("/j"))


def test_records_tell_of_books_verdicts_and_the_clock():
    tally = Tally([BTCUSDT_USDM])

    def emit(made):
        tally.see(int(header_of(made)["kind"]), made)

    for made in (
        record(Kind.BOOK_STALE, a=StaleCause.START),
        record(Kind.DEPTH_SNAPSHOT),
        record(Kind.TRADE),
        record(Kind.BOOK_STALE, a=StaleCause.GAP),
        record(Kind.BOOK_STALE, instrument=7, a=99),
        record(Kind.QUARANTINE, a=Reason.LOST_DIGITS),
        record(Kind.QUARANTINE, a=Reason.LOST_DIGITS),
        record(Kind.QUARANTINE, instrument=7, a=Reason.OUTLIER),
        record(Kind.CLOCK_OFFSET, a=-5, b=2),
        record(Kind.VENUE_OFFSET, a=7, b=3, c=9),
    ):
        emit(made)
    said = tally.as_dict()
    ours, other = said["books"]
    assert (ours["market"], ours["live"], ours["cause"]) == (MARKET, False, "gap")
    assert (ours["gaps"], ours["snapshots"], ours["stale"]) == (1, 1, {"start": 1, "gap": 1})
    assert (other["market"], other["stale"]) == ("7", {"99": 1})
    assert said["quarantined"] == {MARKET: {"lost_digits": 2}, "7": {"outlier": 1}}
    assert said["clock"] == {"offset_ns": -5, "error_ns": 2}
    assert said["venue_clock"] == {"offset_ns": 7, "error_ns": 3, "rtt_ns": 9}
    emit(record(Kind.DEPTH_SNAPSHOT))
    assert tally.as_dict()["books"][0]["live"] is True


def test_a_process_that_runs_that_hangs_and_that_ended(shm):
    assert read(shm) is None
    shown = publisher(shm)
    shown.publish(Tally(), [OnePool(connection())], engine_ns=0)
    found = read(shm)
    assert (found.state, found.content["pid"]) == ("running", os.getpid())
    assert found.content["pools"][0]["connections"][0]["channels"][0]["rate"] == 56.7
    path = shm / STATUS_FILE
    content = json.loads(path.read_text())
    content["published_mono_ns"] -= int(HUNG_S * 1e9) + 1
    path.write_text(json.dumps(content))
    assert read(shm).state == "hung"
    # The pid of one that ended, and a process of today that has it but began at another time.
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    for change in ({"pid": gone.pid}, {"start_ticks": content["start_ticks"] - 1}):
        path.write_text(json.dumps(content | change))
        assert read(shm).state == "dead"
    path.write_text('{"pid": 1}')
    with pytest.raises(ValueError, match="does not say which process wrote it"):
        read(shm)
    shown.close()
    shown.close()
    assert read(shm) is None


def test_a_folder_that_cannot_be_written_does_not_stop_the_feed(tmp_path):
    publisher(tmp_path / "missing").publish(Tally(), [])


def test_the_table_names_what_is_wrong(shm):
    tally = Tally([BTCUSDT_USDM])
    tally.take(record(Kind.BOOK_STALE, a=StaleCause.GAP))
    tally.take(record(Kind.QUARANTINE, a=Reason.OUTLIER))
    tally.take(record(Kind.CLOCK_OFFSET, a=1_500_000_000, b=250_000))
    tally.take(record(Kind.VENUE_OFFSET, a=-1_270_000_000, b=300_000, c=550_000))
    written = {
        "last_seq": 17, "healthy": False, "errno": 28, "backlog": 4_096, "entries": 1, "syncs": 5,
        "longest_sync_us": 1_500, "sealed": 2,
    }  # fmt: skip
    closed = connection(name="kraken-1", state=State.BREAKER_OPEN, open_s=0.0, channels=())
    publisher(shm).publish(tally, [OnePool(connection(), closed)], engine_ns=1_723_161_256_000_000_000, written=written)
    text = "\n".join(lines([read(shm)]))
    for part in (
        "record rec (process", "2024-08-08 23:54:16", "CLOCK_MONOTONIC +1.500000 s, at most 0.250 ms off",
        "venue's clock: -1,270.000 ms from ours, within 0.300 ms (round trip 0.550 ms)",
        "seq 17, REFUSED (errno 28), 4,096 bytes wait, 2 sealed, 5 syncs, longest 1.5 ms",
        "1:02:05", "half_open", "breaker_open", "kraken cut the line", "book:BTC/USD", "56.7", "2.5 s", "20 ms",
        "500 ms", "SILENT", f"{MARKET}", "STALE (gap)", "gap 1", f"quarantined of {MARKET}: outlier 1",
    ):  # fmt: skip
        assert part in text, f"{part}\n{text}"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_gauge_of_a_stream(frames, base_ns):
    gauge = StreamGauge()
    assert gauge.status().connections == ()
    seen = []
    core = FeedCore(BTCUSDT_USDM, gauge.through(seen.append))

    workers = ThreadPoolExecutor(1)
    url = "ws://user:secret@127.0.0.1:1/stream?streams=x"
    gauge.watch(SpinStream(core, url, lambda: workers.submit(bytes), lambda: base_ns, workers=workers))
    (before,) = gauge.status().connections
    assert (before.state, before.url, before.frames) == (State.CONNECTING, "ws://127.0.0.1:1/stream", 0)
    core.on_connect(base_ns)
    core.on_frame(base_ns, frames.diff(1, 10, 0))
    core.on_snapshot(base_ns, frames.snapshot(8, [["1", "1"]], [["2", "1"]]))
    for i in range(5):
        core.on_frame(base_ns, frames.trade(i + 1, "1.5", "1"))
    (live,) = gauge.status().connections
    depth, trade = live.channels
    assert (depth.name, depth.frames, depth.stale) == ("depth btcusdt", 1, False)
    assert (trade.name, trade.frames, trade.gap_p999_s is None) == ("trade btcusdt", 5, False)
    assert live.bytes > 600
    assert live.stale_books == ()
    core.on_disconnect(base_ns)
    (after,) = gauge.status().connections
    assert after.stale_books == ("BTCUSDT",)
    assert after.channels[0].stale
    assert len(seen) == 9


def test_the_command_says_when_nothing_runs_and_shows_what_does(tmp_path, monkeypatch):
    monkeypatch.setenv("BOT4_VAR", str(tmp_path))
    monkeypatch.setenv("BOT4_ACCOUNT", f"feeds{os.getpid()}")
    nothing = CliRunner().invoke(command, ["--once"])
    assert nothing.exit_code == 1
    assert (
        f"nothing takes market data for account feeds{os.getpid()}: start `bot4 record` or `bot4 live`"
        in nothing.output
    )
    empty = CliRunner().invoke(command, ["--json"])
    assert (empty.exit_code, json.loads(empty.stdout)) == (1, {"processes": []})
    folder = Settings(var=tmp_path, account=f"feeds{os.getpid()}").shm_dir
    folder.mkdir(mode=0o700)
    try:
        publisher(folder).publish(Tally(), [OnePool(connection())], engine_ns=time.time_ns())
        for arguments in (["--once"], [], ["--all"]):
            found = CliRunner().invoke(command, arguments)
            assert found.exit_code == 0, found.output
            assert "record rec (process" in found.stdout
        said = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
        assert [one["state"] for one in said["processes"]] == ["running"]
    finally:
        (folder / STATUS_FILE).unlink(missing_ok=True)
        folder.rmdir()
