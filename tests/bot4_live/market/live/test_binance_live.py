"""Binance's pool against its split sockets on loopback: twenty symbols, renewals, faults, diffs that never meet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bot4_live.events import Kind, StaleCause, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.pool import open_pool
from bot4_live.market.live.status import State

QUICK = StreamTimes(
    first_backoff_s=0.01, longest_backoff_s=0.05, silence_s=5.0, snapshot_retry_s=0.02, stable_s=0.2, linger_s=0.1,
    handover_s=3.0, breaker_failures=1000,
)  # fmt: skip
SYMBOLS = [f"S{n:02}USDT" for n in range(20)]
INSTRUMENTS = {name: replace(BTCUSDT_USDM, id=n, symbol=name) for n, name in enumerate(SYMBOLS)}


class Market:
    """One symbol's true book, and what is said of it."""

    def __init__(self, symbol, rng):
        self.symbol, self.random = symbol, rng
        self.bids = {10_000 - i: 5 for i in range(20)}
        self.asks = {10_001 + i: 5 for i in range(20)}
        self.last_id, self.trades = 1000, 0
        self.said = Counter()

    def texts(self, levels):
        return [[f"{p / 10:.1f}", f"{q / 1000:.3f}"] for p, q in levels]

    def diff(self):
        """Return (U, u, pu, bids, asks) of the next change."""
        changes = ([], [])
        for _ in range(self.random.randint(1, 3)):
            row = self.random.randrange(2)
            price = 9_999 - self.random.randrange(30) if row == 0 else 10_002 + self.random.randrange(30)
            qty, book = self.random.choice([0, 1, 2]), (self.bids, self.asks)[row]
            changes[row].append((price, qty))
            book.pop(price, None)
            if qty:
                book[price] = qty
        previous, self.last_id = self.last_id, self.last_id + 5
        return previous + 2, self.last_id, previous, *map(self.texts, changes)

    def data(self, event, **more):
        at = time.time_ns() // 1_000_000
        return {"e": event, "E": at, "T": at, "s": self.symbol, **more}

    def other(self):
        """Return what else is said: (stream, data) pairs, on both sockets."""
        self.said.update(["trade", "bookTicker", "markPrice", "forceOrder"])
        self.trades += 1
        order = {"s": self.symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.010", "p": "1000.0", "ap": "1000.0"}
        order |= {"X": "FILLED", "l": "0.010", "z": "0.010", "T": time.time_ns() // 1_000_000}
        yield "trade", self.data("trade", t=self.trades, p="1000.0", q="0.001", X="MARKET", m=False)
        qty = f"{self.trades / 1000:.3f}"
        yield "bookTicker", self.data("bookTicker", u=self.last_id, b="1000.0", B="0.005", a="1000.1", A=qty)
        yield "markPrice@1s", self.data("markPriceUpdate", p="1000.0", i="1000.0", P="1000.0", r=f"0.{self.trades:08}")
        yield "forceOrder", {"e": "forceOrder", "E": time.time_ns() // 1_000_000, "o": order | {"z": qty}}


class SplitVenue:
    """Both sockets of USD-M. A market stream on /public is accepted and stays silent, as at the venue."""

    def __init__(self, *, paired=False):
        rng = random.Random(4)
        self.markets = {name: Market(name, rng) for name in SYMBOLS}
        self.clients, self.addresses, self.muted = {}, [], set()
        self.paired = paired  # each connection gets diffs two by two, and every other one begins with the second
        self.waiting = {}
        self.snapshots = Counter()
        self.lost = set()

    async def snapshot(self, symbol):
        self.snapshots[symbol] += 1
        market = self.markets[symbol]
        body = {"lastUpdateId": market.last_id, "E": time.time_ns() // 1_000_000, "T": time.time_ns() // 1_000_000}
        body |= {"bids": market.texts(sorted(market.bids.items(), reverse=True))}
        body |= {"asks": market.texts(sorted(market.asks.items()))}
        await asyncio.sleep(0.005)
        return json.dumps(body).encode()

    async def handle(self, socket):
        parts = urlsplit(socket.request.path)
        path, streams = parts.path.removesuffix("/stream"), set(parse_qs(parts.query)["streams"][0].split("/"))
        public = {s for s in streams if s.split("@")[1] in ("depth", "bookTicker", "trade")}
        queue = asyncio.Queue()
        number = len(self.addresses)
        self.addresses.append(path)
        self.clients[socket] = (public if path == "/public" else streams - public, queue, number)
        with contextlib.suppress(ConnectionClosed):
            sending = asyncio.create_task(self._send(socket, queue))
            await socket.wait_closed()
            sending.cancel()
        del self.clients[socket]

    async def _send(self, socket, queue):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(await queue.get())

    def _put(self, stream, data):
        text = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
        for socket, (streams, queue, _) in self.clients.items():
            if stream in streams and socket not in self.muted:
                queue.put_nowait(text)

    def _put_paired(self, market, change):
        """Send diffs in twos, those of one connection between those of the next."""
        stream = f"{market.symbol.lower()}@depth@100ms"
        for streams, queue, number in self.clients.values():
            if stream in streams:
                held = self.waiting.setdefault((number, stream), [])
                held.append(change)
                if (change[1] // 5 + number // 4) % 2:
                    queue.put_nowait(self._merged(market, stream, held))
                    held.clear()

    def _merged(self, market, stream, held):
        levels = [{p: q for change in held for p, q in change[row]} for row in (3, 4)]
        sides = {"b": [list(level) for level in levels[0].items()], "a": [list(level) for level in levels[1].items()]}
        data = market.data("depthUpdate", U=held[0][0], u=held[-1][1], pu=held[0][2], **sides)
        return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))

    def step(self):
        """Let something happen to every symbol."""
        for market in self.markets.values():
            change = market.diff()
            first, last, previous, bids, asks = change
            if self.paired:
                self._put_paired(market, change)
            elif market.symbol not in self.lost:
                data = market.data("depthUpdate", U=first, u=last, pu=previous, b=bids, a=asks)
                self._put(f"{market.symbol.lower()}@depth@100ms", data)
            for stream, data in market.other():
                self._put(f"{market.symbol.lower()}@{stream}", data)
        self.lost.clear()

    def flush(self):
        """Send what waits for its second half."""
        for (number, stream), held in self.waiting.items():
            for streams, queue, mine in self.clients.values():
                if held and mine == number and stream in streams:
                    queue.put_nowait(self._merged(self.markets[stream.partition("@")[0].upper()], stream, held))

    async def play(self, steps, pause=0.02):
        for _ in range(steps):
            self.step()
            await asyncio.sleep(pause)


class World:
    """The venue, a pool on it, its journal, and the engine's books."""

    def __init__(self, venue, books, times, port):
        self.venue, self.books, self.records = venue, books, []
        self.pool = open_pool(
            "binance_usdm", SYMBOLS, self.emit, instruments=INSTRUMENTS, url=f"ws://127.0.0.1:{port}",
            fetch_snapshot=venue.snapshot, per_connection=10, times=times, seed=2,
        )  # fmt: skip

    def emit(self, record):
        self.records.append(record.copy())
        self.books.apply(record)

    def of(self, kind):
        return [header_of(record) for record in self.records if int(header_of(record)["kind"]) == kind]

    def stale(self):
        return Counter(StaleCause(int(head["a"])) for head in self.of(Kind.BOOK_STALE))

    def right(self):
        """Return whether every book is the venue's."""
        return all(
            self.books.valid(INSTRUMENTS[name].id)
            and self.books.levels(INSTRUMENTS[name].id, 1, 100) == sorted(market.bids.items(), reverse=True)
            and self.books.levels(INSTRUMENTS[name].id, -1, 100) == sorted(market.asks.items())
            for name, market in self.venue.markets.items()
        )

    def all_came(self):
        """Return whether every book is the venue's, and every trade and liquidation is here."""
        total = sum(market.said["trade"] for market in self.venue.markets.values())
        return self.right() and min(len(self.of(kind)) for kind in (Kind.TRADE, Kind.LIQUIDATION)) >= total

    def rows(self):
        return self.pool.status().connections

    def live(self):
        return not any(row.stale_books for row in self.rows()) and all(row.state is State.OPEN for row in self.rows())

    def each_once(self):
        """Assert that every trade, mark, liquidation and best quote came once."""
        total = sum(market.said["trade"] for market in self.venue.markets.values())
        trades = Counter((int(head["instrument"]), int(head["a"])) for head in self.of(Kind.TRADE))
        assert set(trades.values()) == {1}
        assert len(trades) == total
        for kind in (Kind.FUNDING, Kind.LIQUIDATION, Kind.BOOK_TICKER):
            assert len(self.of(kind)) == total, kind
        assert not self.of(Kind.QUARANTINE)
        diffs = Counter((int(head["instrument"]), int(head["b"])) for head in self.of(Kind.DEPTH_DIFF))
        assert set(diffs.values()) == {1}


@contextlib.asynccontextmanager
async def running(books, times, **options):
    venue = SplitVenue(**options)
    async with serve(venue.handle, "127.0.0.1", 0, compression=None) as server:
        world = World(venue, books, times, server.sockets[0].getsockname()[1])
        task = asyncio.create_task(world.pool.run())
        try:
            yield world
        finally:
            world.pool.stop()
            await asyncio.wait_for(task, 10)


async def begun(world, wait_until):
    """Wait until all sockets are open, then until all books are bridged."""
    await wait_until(lambda: all(row.state is State.OPEN for row in world.rows()))
    while not world.live():
        world.venue.step()
        await asyncio.sleep(0.02)


async def test_twenty_symbols_on_split_sockets_are_renewed_and_nobody_notices(engine_books, wait_until):
    async with running(engine_books, replace(QUICK, lifetime_s=0.5)) as world:
        await begun(world, wait_until)
        assert {row.name for row in world.rows()} >= {"binance_usdm-0", "binance_usdm-0-market", "binance_usdm-1"}
        assert Counter(world.venue.addresses[:4]) == {"/public": 2, "/market": 2}
        while min(row.renewals for row in world.rows()) < 1:
            await world.venue.play(5)
        await wait_until(world.all_came)
        world.each_once()
        assert world.stale() == {StaleCause.START: 20}
        assert set(world.venue.snapshots.values()) == {1}
        assert all(head["b"] for head in world.of(Kind.DEPTH_DIFF))
        names = {channel.name for row in world.rows() for channel in row.channels}
        assert {"depth s00usdt", "markPrice s19usdt", "trade s07usdt"} <= names


async def test_books_whose_diffs_do_not_meet_go_over_by_a_snapshot(engine_books, wait_until):
    async with running(engine_books, replace(QUICK, lifetime_s=0.5, handover_s=0.1), paired=True) as world:
        await begun(world, wait_until)
        while min(row.renewals for row in world.rows() if "market" not in row.name) < 1:
            await world.venue.play(5, 0.01)
        world.venue.flush()
        await wait_until(lambda: sum(world.venue.snapshots.values()) > 20 and world.right())
        world.each_once()
        assert world.stale() == {StaleCause.START: 20}


async def test_books_are_right_again_after_a_lost_diff_lost_connections_and_silence(engine_books, wait_until):
    async with running(engine_books, replace(QUICK, silence_s=0.6)) as world:
        await begun(world, wait_until)
        world.venue.lost.add("S03USDT")
        await world.venue.play(10)
        await wait_until(lambda: world.stale()[StaleCause.GAP] == 1)
        for socket in list(world.venue.clients):
            socket.transport.abort()
        await wait_until(lambda: world.stale()[StaleCause.DISCONNECT] == 20)
        await begun(world, wait_until)
        world.venue.muted = {s for s, (streams, *_) in world.venue.clients.items() if "s00usdt@depth@100ms" in streams}
        while world.stale()[StaleCause.SILENCE] < 10:
            await world.venue.play(2)
        await begun(world, wait_until)
        await world.venue.play(3)
        await wait_until(world.right)
        assert sum(row.silences for row in world.rows()) == 1
        assert not world.of(Kind.QUARANTINE)


async def test_an_old_connection_that_ends_in_its_renewal_leaves_its_books_to_the_new_one(engine_books, wait_until):
    async with running(engine_books, replace(QUICK, lifetime_s=0.6, linger_s=30.0)) as world:
        await begun(world, wait_until)
        while not (renewing := [shard for shard in world.pool.shards if shard.reader.left_old()]):
            await world.venue.play(2)
        await world.venue.play(2)
        await wait_until(world.all_came)  # what only the old one has brought is not lost with it
        (shard,) = renewing
        names = set(shard.reader.cores)
        mine = {
            number: socket
            for socket, (streams, _, number) in world.venue.clients.items()
            if world.venue.addresses[number] in shard.url and {s.split("@")[0] for s in streams} == names
        }
        assert len(mine) == 2
        mine[min(mine)].transport.abort()
        await wait_until(lambda: shard.tally.renewals == 1)
        await world.venue.play(5)
        await wait_until(world.all_came)
        world.each_once()
        assert world.stale() == {StaleCause.START: 20}
        assert set(world.venue.snapshots.values()) == {1}


async def test_an_unknown_instrument_a_remote_address_and_missing_snapshots_are_refused():
    def open_(**more):
        options = {"instruments": INSTRUMENTS, "url": "ws://127.0.0.1:1", "fetch_snapshot": SplitVenue().snapshot}
        return open_pool("binance_usdm", ["S00USDT"], print, **(options | more))

    assert len(open_().shards) == 2
    with pytest.raises(ValueError, match="not on this machine"):
        open_(url="wss://fstream.example")
    assert open_(url="wss://fstream.example", remote=True).shards[0].url.startswith("wss://fstream.example/public/")
    with pytest.raises(ValueError, match="REST snapshot"):
        open_(fetch_snapshot=None)
    with pytest.raises(ValueError, match="digits of S00USDT"):
        open_(instruments={})
    with pytest.raises(ValueError, match="no venue 'mtgox'; there are binance_usdm"):
        open_pool("mtgox", ["BTC"], print, instruments={})
    with pytest.raises(ValueError, match="name at least one"):
        open_pool("binance_usdm", [], print, instruments={}, url="ws://127.0.0.1:1")
