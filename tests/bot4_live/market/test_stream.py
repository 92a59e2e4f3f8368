"""The stream against a real WebSocket server on loopback that drops, repeats, reorders, hangs up and falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from bot4_live.events import Kind, Reason, StaleCause, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.stream import MarketStream, StreamTimes

QUICK = StreamTimes(
    first_backoff_s=0.01, longest_backoff_s=0.05, silence_s=0.4, snapshot_retry_s=0.01, open_timeout_s=2.0,
    breaker_failures=1000,
)  # fmt: skip


class Venue:
    """A market with a true book; each client gets its diffs, some of them mistreated."""

    def __init__(self, frames, *, seed=1, faults=None):
        self.frames = frames
        self.random = random.Random(seed)
        self.faults = dict(faults or {})  # number of diff -> what happens to it
        self.bids = {10_000 - i: 5 for i in range(30)}
        self.asks = {10_001 + i: 5 for i in range(30)}
        self.last_id = 1_000
        self.sent = 0
        self.clients = 0
        self.snapshots = 0
        self.failing_snapshots = 0
        self.done = asyncio.Event()
        self.limit = 120

    def _text(self, levels):
        return [[f"{p / 10:.1f}", f"{q / 1000:.3f}"] for p, q in levels]

    def next_diff(self):
        changes = ([], [])
        for _ in range(self.random.randint(1, 4)):
            row = self.random.randrange(2)
            book = (self.bids, self.asks)[row]
            # Best levels stay, so that the true book is never empty or crossed.
            price = 9_999 - self.random.randrange(40) if row == 0 else 10_002 + self.random.randrange(40)
            qty = self.random.choice([0, 1, 2, 3])
            changes[row].append((price, qty))
            if qty:
                book[price] = qty
            else:
                book.pop(price, None)
        first, previous = self.last_id + 3, self.last_id
        self.last_id += 7
        return self.frames.diff(first, self.last_id, previous, *map(self._text, changes))

    async def fetch_snapshot(self):
        self.snapshots += 1
        if self.failing_snapshots:
            self.failing_snapshots -= 1
            raise ConnectionError("busy")
        return self.frames.snapshot(
            self.last_id,
            self._text(sorted(self.bids.items(), reverse=True)),
            self._text(sorted(self.asks.items())),
        )

    async def handle(self, socket):
        self.clients += 1
        held = None
        while self.sent < self.limit:
            self.sent += 1
            raw = self.next_diff()
            fault = self.faults.pop(self.sent, None)
            if fault == "drop":
                continue
            if fault == "reorder":
                held = raw
                continue
            if fault == "disconnect":
                await socket.close()
                return
            if fault == "abort":
                socket.transport.abort()
                return
            if fault == "silence":
                await socket.wait_closed()
                return
            if fault == "garbage":
                await socket.send('{"stream":"btcusdt@trade","data":{"e":"tra')
                await socket.send(b"\xff\xfe")
            await socket.send(raw)
            if held is not None:
                await socket.send(held)
                held = None
            if fault == "repeat":
                await socket.send(raw)
            await asyncio.sleep(0.002)
        self.done.set()
        await socket.wait_closed()


class Session:
    """A stream on a venue; records also go to a book as the engine would keep it."""

    def __init__(self, venue, book, base_ns, port, **options):
        self.book = book
        self.venue = venue
        self.out = []
        started = time.monotonic_ns()
        self.core = FeedCore(BTCUSDT_USDM, self.emit)
        self.stream = MarketStream(
            self.core,
            f"ws://127.0.0.1:{port}/stream?streams=btcusdt@depth@0ms",
            venue.fetch_snapshot,
            lambda: base_ns + time.monotonic_ns() - started,
            seed=7,
            **({"times": QUICK} | options),
        )

    def emit(self, record):
        self.out.append(record)
        self.book.apply(record)

    def stale(self):
        return [StaleCause(int(header_of(r)["a"])).name for r in self.out if header_of(r)["kind"] == Kind.BOOK_STALE]

    def diffs(self):
        return [int(header_of(r)["b"]) for r in self.out if header_of(r)["kind"] == Kind.DEPTH_DIFF]

    def book_is_true(self):
        assert self.core.live
        assert self.book["valid"] == 1
        assert self.book["update_id"] == self.venue.last_id
        assert self.book.depth(1, 100) == sorted(self.venue.bids.items(), reverse=True)
        assert self.book.depth(-1, 100) == sorted(self.venue.asks.items())


@contextlib.asynccontextmanager
async def running(venue, book, base_ns, **options):
    async with serve(venue.handle, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        session = Session(venue, book, base_ns, port, **options)
        task = asyncio.create_task(session.stream.run())
        try:
            yield session
        finally:
            session.stream.stop()
            await asyncio.wait_for(task, 5)


async def settled(session):
    """Wait until the venue has sent all and the client has it."""
    await asyncio.wait_for(session.venue.done.wait(), 20)
    async with asyncio.timeout(5):
        while session.core.last_update_id < session.venue.last_id or not session.core.live:
            await asyncio.sleep(0.01)


async def test_a_quiet_day(frames, make_book, base_ns):
    async with running(Venue(frames), make_book(), base_ns) as session:
        await settled(session)
        session.book_is_true()
        assert session.stale() == ["START"]
        assert len(session.diffs()) == 120
        assert session.core.counts.quarantined == {}
        assert session.stream.counts.connects == 1
    assert session.stale() == ["START", "DISCONNECT"]


@pytest.mark.parametrize(
    ("faults", "stale"),
    [
        ({60: "drop"}, ["START", "GAP"]),
        ({60: "reorder"}, ["START", "GAP"]),
        ({60: "repeat"}, ["START"]),
        ({60: "disconnect"}, ["START", "DISCONNECT"]),
        ({60: "abort"}, ["START", "DISCONNECT"]),
        ({60: "silence"}, ["START", "SILENCE"]),
        ({60: "garbage"}, ["START"]),
        ({2: "drop"}, None),
        ({30: "drop", 50: "repeat", 55: "disconnect", 70: "drop", 80: "reorder", 100: "silence"}, None),
    ],
    ids=["drop", "reorder", "repeat", "disconnect", "abort", "silence", "garbage", "early-drop", "all"],
)
async def test_the_book_is_right_again_after(frames, make_book, base_ns, faults, stale):
    async with running(Venue(frames, faults=faults), make_book(), base_ns) as session:
        await settled(session)
        session.book_is_true()
        if stale is not None:
            assert session.stale() == stale
        assert not session.venue.faults
        diffs = session.diffs()
        assert len(diffs) == len(set(diffs))
        if "repeat" in faults.values():
            assert session.core.counts.quarantined[Reason.DUPLICATE] == 1
        if "garbage" in faults.values():
            assert session.core.counts.quarantined == {Reason.NOT_JSON: 1, Reason.NOT_UTF8: 1}
        lost = sum(fault in ("drop", "disconnect", "abort", "silence") for fault in faults.values())
        assert len(diffs) == 120 - lost


async def test_a_snapshot_that_fails_is_asked_for_again(frames, make_book, base_ns):
    venue = Venue(frames)
    venue.failing_snapshots = 3
    async with running(venue, make_book(), base_ns) as session:
        await settled(session)
        session.book_is_true()
        assert session.stream.counts.snapshot_failures == 3


async def test_expected_silence_does_not_reconnect(frames, make_book, base_ns):
    async with running(Venue(frames), make_book(), base_ns, quiet=lambda: True) as session:
        await settled(session)
        await asyncio.sleep(0.8)
        assert session.stream.counts.connects == 1
        assert session.stream.counts.silences == 0


async def test_an_unreachable_venue_is_tried_again_until_it_is_there(frames, make_book, base_ns):
    venue, book = Venue(frames), make_book()
    async with serve(venue.handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    session = Session(venue, book, base_ns, port)
    task = asyncio.create_task(session.stream.run())
    async with asyncio.timeout(5):
        while session.stream.counts.failures < 3:
            await asyncio.sleep(0.01)
    assert "cannot be reached" in session.stream.last_error
    assert session.out == []
    async with serve(venue.handle, "127.0.0.1", port, compression=None):
        await settled(session)
        session.book_is_true()
        session.stream.stop()
        await asyncio.wait_for(task, 5)


async def test_a_proxy_of_the_environment_is_not_used(frames, make_book, base_ns, monkeypatch):
    """The proxy counts who asks it, and answers nobody."""
    asked = []

    async def proxy(_reader, writer):
        asked.append(1)
        writer.close()

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listener:
        where = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "socks_proxy", "all_proxy", "ws_proxy"):
            monkeypatch.setenv(name, where)
            monkeypatch.setenv(name.upper(), where)
        async with running(Venue(frames), make_book(), base_ns) as session:
            await settled(session)
            session.book_is_true()
            assert session.stream.counts.connects == 1
    assert asked == []


async def test_backoff_doubles_to_its_limit_with_jitter(frames, make_book, base_ns):
    """Nobody listens: about 0.05 s between attempts at most, so 20 attempts take under 2 s and not no time."""
    async with serve(Venue(frames).handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    session = Session(Venue(frames), make_book(), base_ns, port)
    began = time.monotonic()
    task = asyncio.create_task(session.stream.run())
    async with asyncio.timeout(10):
        while session.stream.counts.failures < 20:
            await asyncio.sleep(0.005)
    assert time.monotonic() - began > 0.15
    session.stream.stop()
    await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("kind", [Kind.DEPTH_DIFF, Kind.DEPTH_SNAPSHOT, Kind.BOOK_STALE])
async def test_a_journal_that_cannot_be_written_ends_the_stream(frames, make_book, base_ns, kind):
    """Whatever task meets the full disk, `run()` raises it."""
    venue = Venue(frames, faults={60: "silence"})
    async with serve(venue.handle, "127.0.0.1", 0, compression=None) as server:
        session = Session(venue, make_book(), base_ns, server.sockets[0].getsockname()[1])
        emit = session.core._emit

        def full_disk(record):
            if header_of(record)["kind"] == kind and (kind != Kind.BOOK_STALE or header_of(record)["a"] != 1):
                raise OSError(28, "No space left on device")
            emit(record)

        session.core._emit = full_disk
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(session.stream.run(), 10)


async def test_the_connection_is_renewed_before_it_is_cut_and_the_book_stays_live(frames, make_book, base_ns):
    """The server writes to all who listen; a connection lives 0.4 s, and the market goes on over two renewals."""
    venue = Venue(frames)
    sockets = set()

    async def handle(socket):
        venue.clients += 1
        sockets.add(socket)
        await socket.wait_closed()
        sockets.discard(socket)

    venue.handle = handle
    async with running(venue, make_book(), base_ns, times=dataclasses.replace(QUICK, lifetime_s=0.4)) as session:
        while session.stream.status().connections[0].renewals < 2:
            raw = venue.next_diff()
            for socket in list(sockets):
                with contextlib.suppress(ConnectionClosed):
                    await socket.send(raw)
            await asyncio.sleep(0.005)
        venue.done.set()
        await settled(session)
        session.book_is_true()
        assert session.stale() == ["START"]
        diffs = session.diffs()
        assert diffs == list(range(diffs[0], venue.last_id + 1, 7))
        assert venue.snapshots == 1
        assert session.core.counts.quarantined == {}
        assert 3 <= session.stream.counts.connects <= venue.clients  # one may be on its way


class Deaf:
    """A raw server that shakes hands and never answers a ping; it sends `frames` when there are any."""

    def __init__(self, frames, pause_s=0.005):
        self.frames, self.pause_s, self.clients = frames, pause_s, 0

    async def handle(self, reader, writer):
        self.clients += 1
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (asked,) = protocol.events_received()
        protocol.send_response(protocol.accept(asked))
        writer.write(b"".join(protocol.data_to_send()))
        with contextlib.suppress(ConnectionError):
            for raw in self.frames:
                writer.write(Frame(Opcode.TEXT, raw).serialize(mask=False))
                await writer.drain()
                await asyncio.sleep(self.pause_s)
            await reader.read()
        writer.close()


PINGING = dataclasses.replace(QUICK, silence_s=30.0, ping_s=0.05, ping_timeout_s=0.5)


@contextlib.asynccontextmanager
async def deafened(server, book, base_ns, **options):
    async with await asyncio.start_server(server.handle, "127.0.0.1", 0) as listener:
        session = Session(server, book, base_ns, listener.sockets[0].getsockname()[1], **options)
        task = asyncio.create_task(session.stream.run())
        try:
            yield session
        finally:
            session.stream.stop()
            await asyncio.wait_for(task, 5)


@pytest.fixture
def deaf(frames):
    market = Venue(frames)
    made = Deaf([market.next_diff() for _ in range(400)])
    made.fetch_snapshot = market.fetch_snapshot
    return made


async def test_a_half_open_peer_is_found_out_by_its_pings(deaf, make_book, base_ns):
    deaf.frames = []
    async with deafened(deaf, make_book(), base_ns, times=PINGING, quiet=lambda: True):
        async with asyncio.timeout(10):
            while deaf.clients < 2:
                await asyncio.sleep(0.01)


async def test_a_peer_whose_data_come_owes_no_pong_in_time(deaf, make_book, base_ns):
    """In a burst a pong waits behind the data: here it never comes, and the connection stays for as long as they do."""
    async with deafened(deaf, make_book(), base_ns, times=PINGING) as session:
        async with asyncio.timeout(30):
            while session.core.counts.frames < 400:  # 2 s at least
                await asyncio.sleep(0.01)
        assert deaf.clients == 1


async def test_while_the_journal_has_no_room_no_pong_is_owed(deaf, make_book, base_ns):
    waits = asyncio.Event()

    def room():
        return session.core.counts.frames < 10 or waits.is_set()

    async with deafened(deaf, make_book(), base_ns, times=PINGING, room=lambda: room()) as session:
        async with asyncio.timeout(30):
            while session.core.counts.frames < 10:
                await asyncio.sleep(0.01)
            await asyncio.sleep(3 * PINGING.ping_timeout_s)
            assert session.core.counts.frames == 10
            waits.set()
            while session.core.counts.frames < 400:
                await asyncio.sleep(0.01)
        assert deaf.clients == 1
