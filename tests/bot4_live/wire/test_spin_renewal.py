"""A polled connection is renewed before its venue cuts it: the book stays live, and each event is there once."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from websockets.exceptions import ConnectionClosed

from bot4_live.benchmarks.session import open_session
from bot4_live.events import Kind, Source, StaleCause, header_of
from bot4_live.hot_loop import HotLoop
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.journal.reader import Journal
from bot4_live.kernels import address
from bot4_live.market.import_capture import segment_header
from bot4_live.market.stream import StreamTimes
from bot4_live.replay import replay
from bot4_live.wire.path import PathFeed, WirePath
from bot4_live.wire.spin_stream import SpinStream
from bot4_live.wire.spsc import SpscRing

BASE_NS = 1_723_161_256_000_000_000
QUICK = StreamTimes(
    first_backoff_s=0.01, longest_backoff_s=0.05, silence_s=5.0, snapshot_retry_s=0.01, lifetime_s=0.4, linger_s=0.1
)
STEP_S = 0.004


class Venue:
    """Writes the same market to all who listen. With `paired` two diffs come as one, from each second one on for every
    second client: what two neighbours get never meets."""

    def __init__(self, *, paired=False):
        self.paired, self.steps, self.served, self.snapshots = paired, 0, 0, 0
        self.clients, self.held = {}, {}
        self.lock = threading.Lock()
        self.began = time.monotonic_ns()
        self.at_ms = 0

    @property
    def last_id(self):
        return 1_000 + 10 * self.steps

    def now_ns(self):
        return BASE_NS + time.monotonic_ns() - self.began

    def handle(self, connection):
        with self.lock:
            self.clients[connection] = self.served
            self.served += 1
        with suppress(ConnectionClosed):
            connection.recv()
        with self.lock:
            del self.clients[connection]

    def step(self):
        """Let one level and one trade happen."""
        with self.lock:
            self.steps += 1
            self.at_ms = self.now_ns() // 1_000_000  # of the event: to whomever it is told
            level, clients = [f"{900 + self.steps % 997 / 10:.1f}", "1.000"], list(self.clients.items())
        for connection, number in clients:
            with suppress(ConnectionClosed):
                self.tell(connection, number, level)

    def tell(self, connection, number, level):
        first, levels = self.last_id - 9, [level]
        if self.paired and self.steps % 2 == number % 2:
            self.held[connection] = first, level
        elif not self.paired or connection in self.held:
            if self.paired:
                first, earlier = self.held.pop(connection)
                levels = [earlier, level]
            self.send(
                connection, "depth@0ms", e="depthUpdate", U=first, u=self.last_id, pu=first - 1, b=levels,
                a=[["2000.0", "1.000"]],
            )  # fmt: skip
        self.send(connection, "trade", e="trade", t=self.steps, p="1000.0", q="0.001", X="MARKET", m=False)

    def send(self, connection, stream, **data):
        data |= {"E": self.at_ms, "T": self.at_ms, "s": "BTCUSDT"}
        connection.send(json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":")))

    def snapshot(self):
        with self.lock:
            self.snapshots += 1
            levels = [[f"{900 + n % 997 / 10:.1f}", "1.000"] for n in range(max(self.steps, 1))]
            answer = {"lastUpdateId": self.last_id, "E": BASE_NS // 10**6, "T": BASE_NS // 10**6, "bids": levels[:997]}
            return json.dumps(answer | {"asks": [["2000.0", "1.000"]]}).encode()


class Session:
    """A trading session, its journal on disk, whose frames take the compiled path."""

    def __init__(self, folder, venue, port, times):
        self.venue, self.folder, now = venue, folder, venue.now_ns()
        header = segment_header(BTCUSDT_USDM, 1, now)
        self.client = JournalClient(folder / "journal", header, folder / "shm", ring_bytes=16 << 20)
        self.session = open_session(now, None, self.client, PathFeed, raw_log=self.client)
        self.core = self.session.core
        loop = HotLoop(self.core, self.session.sequencer, self.session.engine, None)
        self.ring = SpscRing(self.client.ring)
        self.path = WirePath(
            loop, self.core, self.ring, self.client, lambda *_: None, self.session.commands.extend, self.session.answer
        )
        self.core.front = self.path.take_frame
        self.now = np.zeros(1, np.int64)
        self.pool = ThreadPoolExecutor(1)
        self.stream = SpinStream(
            self.core, f"ws://127.0.0.1:{port}/", lambda: self.pool.submit(venue.snapshot), venue.now_ns,
            take=self.take, times=times, seed=3,
        )  # fmt: skip

    def take(self, wire, count):
        self.now[0] = self.venue.now_ns()
        self.path.take(wire, count, address(self.now), 0)

    def poll_until(self, condition, *, stepping=True, seconds=20.0):
        began = stepped = time.monotonic()
        while not condition():
            now = time.monotonic()
            assert now - began < seconds, (self.stream.counts, self.stream.last_error, self.core.counts)
            if stepping and now - stepped >= STEP_S:
                stepped = now
                self.venue.step()
            if self.stream.poll() == 0:
                time.sleep(0.0002)  # the server runs in this process: let it
            self.session.answer()

    def settle(self):
        """Take in all that was said; the half of a pair is not."""
        self.poll_until(lambda: self.core.live)
        said = self.venue.last_id - 10 * self.venue.paired
        self.poll_until(lambda: self.core.live and self.core.last_update_id >= said, stepping=False)

    def close(self):
        """Hang up, and return the journal's market by kind: (first, last) ids, and the causes of stale books."""
        self.stream.close()
        self.session.answer()
        self.pool.shutdown()
        self.ring.unmap()
        self.client.close()
        heads = [header_of(record) for record in Journal(self.folder / "journal").events()]
        market = [head for head in heads if head["source"] in (Source.MARKET_STREAM, Source.MARKET_REST)]
        ids = {kind: [(int(h["a"]), int(h["b"])) for h in market if h["kind"] == kind] for kind in {*map(int, Kind)}}
        assert not ids[Kind.QUARANTINE]
        assert replay(self.folder / "journal").identical
        return ids[Kind.DEPTH_DIFF], [a for a, _ in ids[Kind.TRADE]], [StaleCause(a) for a, _ in ids[Kind.BOOK_STALE]]


def trades_are_whole(trades):
    assert trades == list(range(trades[0], trades[-1] + 1))


def test_nobody_notices(serving, tmp_path):
    venue = Venue()
    with serving(venue.handle) as port:
        session = Session(tmp_path, venue, port, QUICK)
        session.poll_until(lambda: session.stream.counts.renewals >= 2)
        session.settle()
        counts = session.stream.counts
        diffs, trades, stale = session.close()
    assert stale == [StaleCause.START, StaleCause.DISCONNECT]
    assert diffs == [(last - 9, last) for last in range(diffs[0][1], venue.last_id + 1, 10)]
    trades_are_whole(trades)
    assert venue.snapshots == counts.snapshots == 1
    assert counts.renewals + 1 <= counts.connects <= venue.served  # one may be on its way
    assert 0 < session.path.declined < len(diffs)  # no frame needs Python but those of the beginning


def test_books_whose_diffs_do_not_meet_go_over_by_a_snapshot(serving, tmp_path):
    venue = Venue(paired=True)
    with serving(venue.handle) as port:
        session = Session(tmp_path, venue, port, dataclasses.replace(QUICK, handover_s=0.05))
        session.poll_until(lambda: session.stream.counts.renewals >= 1)
        session.settle()
        diffs, trades, stale = session.close()
    assert stale == [StaleCause.START, StaleCause.DISCONNECT]
    assert len(diffs) == len(set(diffs))
    trades_are_whole(trades)
    assert venue.snapshots >= 2


def cut_in_its_renewal(venue, session, which):
    """Let the venue end one connection once both are there and the book went over."""
    session.poll_until(lambda: session.stream.counts.connects == len(venue.clients) == 2)
    enough = venue.steps + 5
    session.poll_until(lambda: venue.steps >= enough)
    with venue.lock:
        sorted(venue.clients, key=venue.clients.get)[which].socket.shutdown(socket.SHUT_RDWR)
    session.poll_until(lambda: session.stream.counts.renewals >= 1)
    session.settle()


def test_an_old_connection_that_ends_in_its_renewal_leaves_its_book_to_the_new_one(serving, tmp_path):
    venue = Venue()
    with serving(venue.handle) as port:
        session = Session(tmp_path, venue, port, dataclasses.replace(QUICK, linger_s=30.0))
        cut_in_its_renewal(venue, session, 0)
        diffs, trades, stale = session.close()
    assert stale == [StaleCause.START, StaleCause.DISCONNECT]
    assert diffs == [(last - 9, last) for last in range(diffs[0][1], venue.last_id + 1, 10)]
    trades_are_whole(trades)


def test_a_new_connection_that_ends_in_the_renewal_is_opened_again(serving, tmp_path):
    venue = Venue()
    with serving(venue.handle) as port:
        session = Session(tmp_path, venue, port, dataclasses.replace(QUICK, linger_s=2.0))
        cut_in_its_renewal(venue, session, 1)
        diffs, trades, stale = session.close()
    assert stale == [StaleCause.START, StaleCause.DISCONNECT, StaleCause.DISCONNECT]  # it had the book
    assert len(diffs) == len(set(diffs))
    trades_are_whole(trades)
    assert venue.served >= 3
