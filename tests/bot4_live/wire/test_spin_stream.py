"""The polled stream against a real server in a thread that loses diffs, hangs up, falls silent and ignores pings."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from bot4_live.events import Kind, Reason, StaleCause, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.patience import BreakerState
from bot4_live.market.stream import StreamTimes
from bot4_live.wire.spin_stream import SpinStream

BASE_MS = 1_723_161_256_000
QUICK = StreamTimes(
    first_backoff_s=0.01,
    longest_backoff_s=0.05,
    silence_s=0.4,
    snapshot_retry_s=0.01,
    open_timeout_s=2.0,
    breaker_failures=1000,
)
DIFFS = 100


class Venue:
    """Sends diffs of one level each; diff n takes the book from update id 10 n to 10 n + 10."""

    def __init__(self, faults=None):
        self.faults = dict(faults or {})
        self.sent = 0
        self.failing_snapshots = 0
        self.snapshots = 0
        self.lock = threading.Lock()
        self.live = threading.Event()  # the client's book is in use
        self.done = threading.Event()

    def diff(self):
        n = self.sent
        at = BASE_MS + n
        data = {"e": "depthUpdate", "E": at, "T": at, "s": "BTCUSDT", "U": 10 * n + 1, "u": 10 * n + 10, "pu": 10 * n}
        data |= {"b": [[f"{1000 + n / 10:.1f}", "1.000"]], "a": [["2000.0", "1.000"]]}
        return json.dumps({"stream": "btcusdt@depth@0ms", "data": data}, separators=(",", ":"))

    def fetch_snapshot(self):
        with self.lock:
            self.snapshots += 1
            if self.failing_snapshots:
                self.failing_snapshots -= 1
                raise ConnectionError("busy")
            bids = [[f"{1000 + n / 10:.1f}", "1.000"] for n in range(max(self.sent, 1))]
            answer = {"lastUpdateId": 10 * self.sent, "E": BASE_MS, "T": BASE_MS, "bids": bids}
            return json.dumps(answer | {"asks": [["2000.0", "1.000"]]}).encode()

    def handle(self, connection):
        try:
            while self.sent < DIFFS:
                if self.sent + 1 in self.faults:
                    self.live.wait(10.0)  # what befalls a book that is not yet in use leaves no row
                with self.lock:
                    raw = self.diff()
                    self.sent += 1
                    fault = self.faults.pop(self.sent, None)
                if fault == "drop":
                    continue
                if fault == "close":
                    connection.close()
                    return
                if fault == "abort":
                    connection.socket.shutdown(socket.SHUT_RDWR)
                    return
                if fault == "silence":
                    connection.recv()
                    return
                if fault == "garbage":
                    connection.send("{")
                connection.send(raw)
                time.sleep(0.002)
            self.done.set()
            connection.recv()
        except ConnectionClosed:
            pass


class Session:
    def __init__(self, venue, port, *, times=QUICK, scheme="ws", **options):
        self.venue, self.out = venue, []
        self.pool = ThreadPoolExecutor(1)
        self.core = FeedCore(BTCUSDT_USDM, self.out.append)
        began = time.monotonic_ns()
        self.stream = SpinStream(
            self.core,
            f"{scheme}://127.0.0.1:{port}/",
            lambda: self.pool.submit(venue.fetch_snapshot),
            lambda: BASE_MS * 1_000_000 + time.monotonic_ns() - began,
            times=times,
            seed=7,
            **options,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.pool.shutdown()

    def poll_until(self, condition, seconds=15.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.stream.counts, self.stream.last_error, self.core.counts)
            if self.core.live:
                self.venue.live.set()
            if self.stream.poll() == 0:
                time.sleep(0.0002)  # the server runs in this process: let it

    def settle(self):
        self.poll_until(lambda: self.venue.done.is_set() and self.core.live and self.core.last_update_id >= 10 * DIFFS)

    def stale(self):
        return [StaleCause(int(header_of(r)["a"])).name for r in self.out if header_of(r)["kind"] == Kind.BOOK_STALE]


@pytest.mark.parametrize(
    ("faults", "stale"),
    [
        ({}, ["START"]),
        ({50: "drop"}, ["START", "GAP"]),
        ({50: "close"}, ["START", "DISCONNECT"]),
        ({50: "abort"}, ["START", "DISCONNECT"]),
        ({50: "silence"}, ["START", "SILENCE"]),
        ({50: "garbage"}, ["START"]),
        ({20: "drop", 40: "close", 60: "silence", 80: "abort"}, None),
    ],
    ids=["none", "drop", "close", "abort", "silence", "garbage", "all"],
)
def test_the_book_is_right_again_after(serving, faults, stale):
    venue = Venue(faults)
    with serving(venue.handle) as port:
        with Session(venue, port) as session:
            session.settle()
            if stale is not None:
                assert session.stale() == stale
            lost = sum(fault != "garbage" for fault in faults.values())
            diffs = [int(header_of(r)["b"]) for r in session.out if header_of(r)["kind"] == Kind.DEPTH_DIFF]
            assert diffs == sorted(set(diffs))
            assert len(diffs) == DIFFS - lost
            reconnects = sum(fault in ("close", "abort", "silence") for fault in faults.values())
            assert session.stream.counts.connects == 1 + reconnects
            expected = {Reason.NOT_JSON: 1} if "garbage" in faults.values() else {}
            assert session.core.counts.quarantined == expected
        assert session.stale()[-1] == "DISCONNECT"


def test_over_tls(serving, tls):
    server, client = tls
    venue = Venue({50: "close"})
    with serving(venue.handle, ssl=server) as port, Session(venue, port, scheme="wss", context=client) as session:
        session.settle()
        assert session.stream.counts.connects == 2


def test_a_snapshot_that_fails_is_asked_for_again(serving):
    venue = Venue()
    venue.failing_snapshots = 3
    with serving(venue.handle) as port, Session(venue, port) as session:
        session.settle()
        assert session.stream.counts.snapshot_failures == 3


def test_expected_silence_does_not_reconnect(serving):
    venue = Venue()
    with serving(venue.handle) as port, Session(venue, port, quiet=lambda: True) as session:
        session.settle()
        until = time.monotonic() + 0.8
        session.poll_until(lambda: time.monotonic() > until)
        assert session.stream.counts.connects == 1
        assert session.stream.counts.silences == 0


def test_while_nobody_polls_nobody_is_silent(serving):
    """A process that stood still has not heard what there was: silence counts while it listens."""
    venue, times = Venue(), dataclasses.replace(QUICK, silence_s=1.0)
    with serving(venue.handle) as port, Session(venue, port, times=times) as session:
        session.settle()
        time.sleep(1.2)
        session.stream.poll()
        assert session.stream.connected
        session.poll_until(lambda: session.stream.counts.silences == 1)


def test_an_unreachable_venue_is_tried_again_until_it_is_there(serving):
    venue = Venue()
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.close()
    with Session(venue, port) as session:
        began = time.monotonic()
        session.poll_until(lambda: session.stream.counts.failures >= 20)
        assert time.monotonic() - began > 0.15  # jittered, up to 50 ms each: neither none nor seconds
        assert "cannot be reached" in session.stream.last_error
        assert session.out == []


def test_after_too_many_failures_nobody_tries_for_a_while(serving):
    """The breaker opens, lets one attempt through when its time is over, and closes once a connection lasted."""
    venue = Venue()
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.close()
    times = dataclasses.replace(QUICK, breaker_failures=3, breaker_open_s=0.6, stable_s=0.05, silence_s=10.0)
    # The server outlives the session: it would wait for its goodbye.
    with serving(venue.handle) as other, Session(venue, port, times=times) as session:
        breaker = session.stream.breaker
        session.poll_until(lambda: breaker.state is BreakerState.OPEN)
        assert session.stream.counts.failures == 3
        opened = time.monotonic()
        session.poll_until(lambda: session.stream.counts.failures == 4)
        assert time.monotonic() - opened > 0.3  # 0.45 s at the least, less what its opening took to be seen
        assert breaker.opened == 2
        session.stream._link._url = f"ws://127.0.0.1:{other}/"
        session.poll_until(lambda: breaker.state is BreakerState.CLOSED)
        assert session.stream.counts.connects == 1


def shake_hands(connection):
    protocol = ServerProtocol()
    protocol.receive_data(connection.recv(4096))
    (asked,) = protocol.events_received()
    protocol.send_response(protocol.accept(asked))
    connection.sendall(b"".join(protocol.data_to_send()))


def test_who_opens_and_says_nothing_is_no_good_venue_however_long_it_lasts(serving, script):
    """Each connection outlives `stable_s` and is dropped as silent: for the breaker these are failures."""

    def play(connection):
        shake_hands(connection)
        connection.recv(1)

    times = dataclasses.replace(QUICK, silence_s=0.1, stable_s=0.02, breaker_failures=3, breaker_open_s=30.0)
    with Session(Venue(), script(play), times=times) as session:
        session.poll_until(lambda: session.stream.breaker.state is BreakerState.OPEN)
        assert session.stream.counts.silences == session.stream.counts.connects == 3
        assert session.stream.counts.failures == 0


def test_a_half_open_peer_is_found_out_by_its_pings(serving, script):
    """The peer took the connection and is gone: no data is expected (`quiet`), and no pong comes."""
    release = threading.Event()

    def play(connection):
        shake_hands(connection)
        release.wait(10)

    times = StreamTimes(first_backoff_s=5.0, ping_s=0.1, ping_timeout_s=0.2)
    with Session(Venue(), script(play), times=times, quiet=lambda: True) as session:
        session.poll_until(lambda: session.stream.counts.connects == 1)
        began = time.monotonic()
        session.poll_until(lambda: not session.stream.connected)
        assert 0.2 < time.monotonic() - began < 5
        assert "ping was not answered" in session.stream.last_error
        assert session.stale() == ["START"]  # it was never anything else: one entry says so
    release.set()


def test_a_peer_whose_data_come_owes_no_pong_in_time(serving, script):
    """In a burst a pong waits behind the data: here it never comes, and the connection stays for as long as they do."""
    venue, release, frames = Venue(), threading.Event(), 400

    def play(connection):
        shake_hands(connection)
        for _ in range(frames):
            connection.sendall(Frame(Opcode.TEXT, venue.diff().encode()).serialize(mask=False))
            venue.sent += 1
            time.sleep(0.005)
        release.wait(10)

    times = dataclasses.replace(QUICK, silence_s=30.0, ping_s=0.05, ping_timeout_s=1.0)
    with Session(venue, script(play), times=times) as session:
        session.poll_until(lambda: session.core.counts.frames == frames)  # 2 s at least
        assert session.stream.counts.connects == 1
    release.set()


def test_polling_never_waits(serving, script):
    """Not while it connects to a peer that says nothing, and not while a snapshot takes its time."""
    release = threading.Event()
    with Session(Venue(), script(lambda _: release.wait(10))) as session:
        taken = np.zeros(300)
        for i in range(len(taken)):
            before = time.perf_counter()
            session.stream.poll()
            taken[i] = time.perf_counter() - before
            time.sleep(0.0005)
        assert np.median(taken) < 0.002
        assert not session.stream.connected
        release.set()


def test_a_journal_that_cannot_be_written_is_heard_of(serving):
    venue = Venue()
    with serving(venue.handle) as port, Session(venue, port) as session:
        emit = session.core._emit

        def full_disk(record):
            if header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT:
                raise OSError(28, "No space left on device")
            emit(record)

        session.core._emit = full_disk
        with pytest.raises(OSError, match="No space left"):
            session.settle()
