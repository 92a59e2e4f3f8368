"""Venues on loopback that replay the recorded captures to whoever subscribes, in each venue's own protocol.

A server follows the capture with a feed of its own, so a client that subscribes late gets a snapshot of that instant,
as the venue would send it. Kraken's capture is replayed as v1 and, its numbers unchanged, as v2; Coinbase's Exchange
capture also as Advanced Trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import json
import re
import time
from collections import defaultdict
from types import SimpleNamespace

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.market.live.pool import VENUES, open_pool
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Instruments

NAME_OF = {"kraken": r'"([^"]+)"\]$', "okx": r'"instId":"([^"]+)"', "coinbase": r'"product_id":"([^"]+)"'}
WHEN = "2021-04-17T16:43:37.075687Z"


def _json(value):
    return json.dumps(value, separators=(",", ":"))


def _texts(side, sign=0):
    return [[level.raw_price, level.raw_qty] for level in side.top(len(side))]


class KrakenOld:
    """v1: arrays."""

    venue, recorded, file, options = "kraken_v1", KrakenFeed, "kraken/ws_v1_book1000.txt", {"protocol": 1}

    def read(self, raw):
        """Return (channel, name, frame as this protocol sends it); None for what is not replayed."""
        if raw[:1] != b"[":
            return None
        return "book", re.search(NAME_OF["kraken"], raw.decode())[1], raw.decode()

    def asked(self, client, message):
        """Return (verb, channel, names), or answer a control message and return None."""
        if message["event"] == "ping":
            client.put(_json({"event": "pong"}))
            return []
        return [(message["event"], message["subscription"]["name"], message["pair"])]

    def acknowledge(self, client, verb, channel, name):
        client.put(_json({"event": "subscriptionStatus", "status": verb + "d", "pair": name}))

    def snapshot(self, feed, book):
        bids, asks = ([[p, q, "1618678132.000001"] for p, q in _texts(side)] for side in (book.bids, book.asks))
        return _json([1, {"as": asks, "bs": bids}, "book-1000", book.name])


class KrakenNew(KrakenOld):
    """v2: objects, numbers bare."""

    venue, options = "kraken", {}

    def _book(self, kind, name, bids, asks, checksum):
        sides = [",".join(f'{{"price":{p},"qty":{q}}}' for p, q, *_ in side) for side in (bids, asks)]
        data = f'[{{"symbol":"{name}","bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{checksum}}}]'
        return f'{{"channel":"book","type":"{kind}","data":{data}}}'

    def read(self, raw):
        old = super().read(raw)
        if old is None:
            return None
        _, name, text = old
        parts = json.loads(text)[1:-2]
        if "as" in parts[0]:
            return "book", name, (name, parts[0])  # its checksum comes with the book
        sides = [[level for part in parts for level in part.get(key, ())] for key in "ba"]
        return "book", name, self._book("update", name, *sides, next(part["c"] for part in parts if "c" in part))

    def first(self, feed, name, parts):
        book = self._scratch = KrakenFeed(feed.instruments.only([name]), protocol=1)
        book.on_connect(1)
        book.on_frame(1, _json([1, parts, "book-1000", name]).encode())
        return self.snapshot(feed, book.books[name])

    def asked(self, client, message):
        if message["method"] == "ping":
            client.put(_json({"method": "pong"}))
            return []
        return [(message["method"], message["params"]["channel"], message["params"]["symbol"])]

    def acknowledge(self, client, verb, channel, name):
        client.put(_json({"method": verb, "success": True, "result": {"channel": channel, "symbol": name}}))

    def snapshot(self, feed, book):
        return self._book("snapshot", book.name, _texts(book.bids), _texts(book.asks), feed.checksum(book))


class Okx:
    """v5, with the checksums of its time."""

    venue, recorded, file, options = "okx", OkxFeed, "okx/ws_v5_books.txt", {}

    def read(self, raw):
        message = json.loads(raw)
        if "event" in message:
            return None
        return message["arg"]["channel"], message["arg"]["instId"], raw.decode()

    def asked(self, client, message):
        return [(message["op"], arg["channel"], [arg["instId"]]) for arg in message["args"] if "instId" in arg]

    def acknowledge(self, client, verb, channel, name):
        client.put(_json({"event": verb, "arg": {"channel": channel, "instId": name}}))

    def snapshot(self, feed, book):
        bids, asks = ([[p, q, "0", "1"] for p, q in _texts(side)] for side in (book.bids, book.asks))
        data = {"asks": asks, "bids": bids, "ts": "1652459226000", "checksum": feed.checksum(book)}
        return _json({"arg": {"channel": "books", "instId": book.name}, "action": "snapshot", "data": [data]})


class Deribit:
    """JSON-RPC; asks whether the client is alive."""

    venue, recorded, file, options = "deribit", DeribitFeed, "deribit/ws_options.txt", {"interval": "raw"}

    def read(self, raw):
        params = json.loads(raw).get("params")
        if params is None:
            return None
        kind, _, rest = params["channel"].partition(".")
        return kind, rest.rpartition(".")[0], raw.decode()

    def asked(self, client, message):
        method, params = message["method"], message["params"]
        if method == "public/set_heartbeat":
            client.heartbeat = True
        if not method.endswith("subscribe"):
            client.put(_json({"jsonrpc": "2.0", "id": message["id"], "result": "ok"}))
            return []
        parts = [channel.split(".") for channel in params["channels"]]
        return [(method.partition("/")[2], kind, [".".join(name[:-1])]) for kind, *name in parts]

    def acknowledge(self, client, verb, channel, name):
        client.put(_json({"jsonrpc": "2.0", "id": 1, "result": [f"{channel}.{name}.raw"]}))

    def beat(self):
        return _json({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}})

    def snapshot(self, feed, book):
        bids, asks = ([["new", float(p), float(q)] for p, q in _texts(side)] for side in (book.bids, book.asks))
        data = {
            "type": "snapshot",
            "timestamp": 1626993724000,
            "instrument_name": book.name,
            "bids": bids,
            "asks": asks,
        }
        data["change_id"] = book.update_id
        params = {"channel": f"book.{book.name}.raw", "data": data}
        return _json({"jsonrpc": "2.0", "method": "subscription", "params": params})


class CoinbaseExchange:
    """The feed of the capture."""

    venue, recorded, file, options = "coinbase_exchange", CoinbaseExchangeFeed, "coinbase/ws_pro_level2.txt", {}

    def read(self, raw):
        message = json.loads(raw)
        channels = {"snapshot": "level2", "l2update": "level2", "ticker": "ticker", "match": "matches"}
        channel = channels.get(message["type"])
        return None if channel is None else (channel, message["product_id"], raw.decode())

    def asked(self, client, message):
        return [(message["type"], channel, message["product_ids"]) for channel in message["channels"]]

    def acknowledge(self, client, verb, channel, name):
        client.put(_json({"type": "subscriptions", "channels": [{"name": channel, "product_ids": [name]}]}))

    def snapshot(self, feed, book):
        return _json(
            {"type": "snapshot", "product_id": book.name, "bids": _texts(book.bids), "asks": _texts(book.asks)}
        )


class Coinbase(CoinbaseExchange):
    """Advanced Trade: every frame of a connection is numbered."""

    venue = "coinbase"

    def _frame(self, channel, events):
        return _json({"channel": channel, "timestamp": WHEN, "sequence_num": -7, "events": events})

    def _levels(self, bids, asks):
        sides = (("bid", bids), ("offer", asks))
        return [{"side": s, "price_level": p, "new_quantity": q} for s, side in sides for p, q in side]

    def read(self, raw):
        found = super().read(raw)
        if found is None:
            return None
        message, name = json.loads(raw), found[1]
        if found[0] == "level2":
            if message["type"] == "snapshot":
                levels = self._levels(message["bids"], message["asks"])
            else:
                sides = [[c[1:] for c in message["changes"] if c[0] == side] for side in ("buy", "sell")]
                levels = self._levels(*sides)
            kind = "snapshot" if message["type"] == "snapshot" else "update"
            return "level2", name, self._frame("l2_data", [{"type": kind, "product_id": name, "updates": levels}])
        if found[0] == "ticker":
            return (
                "ticker",
                name,
                self._frame(
                    "ticker", [{"type": "update", "tickers": [{"product_id": name, "price": message["price"]}]}]
                ),
            )
        trade = {k: message[k] for k in ("product_id", "price", "size", "time")}
        trade |= {"trade_id": str(message["trade_id"]), "side": message["side"].upper()}
        return "market_trades", name, self._frame("market_trades", [{"type": "update", "trades": [trade]}])

    def asked(self, client, message):
        return [(message["type"], message["channel"], message["product_ids"])]

    def acknowledge(self, client, verb, channel, name):
        client.put(self._frame("subscriptions", [{"subscriptions": {channel: [name]}}]))

    def snapshot(self, feed, book):
        levels = self._levels(_texts(book.bids), _texts(book.asks))
        return self._frame("l2_data", [{"type": "snapshot", "product_id": book.name, "updates": levels}])

    def beat(self):
        return self._frame("heartbeats", [{"heartbeat_counter": 1}])


SPEECHES = (KrakenNew, KrakenOld, Okx, Deribit, CoinbaseExchange, Coinbase)


class Client:
    """One connection to the server."""

    def __init__(self, socket):
        self.socket = socket
        self.subscribed = set()
        self.queue = asyncio.Queue()
        self.mute = self.heartbeat = False
        self.messages = []
        self.number = 0

    def put(self, text, *, lost=False):
        if not (self.mute or lost):
            self.queue.put_nowait(text.replace('"sequence_num":-7', f'"sequence_num":{self.number}', 1))
        self.number += '"sequence_num":-7' in text

    async def write(self):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.send(await self.queue.get())


@functools.cache
def recorded(speech, path):
    """Return the frames of a capture and the digits of its instruments."""
    frames = [raw for _, raw in read_venue_capture(path)]
    return frames, speech.recorded.measure(frames)


class ReplayVenue:
    """A venue whose market is a capture. `faults` maps the number of a frame to what happens to it."""

    def __init__(self, speech, capture, most=1200):
        self.speech = speech
        frames, digits = recorded(type(speech), capture)
        self.instruments = Instruments(VENUES[speech.venue].feed.venue)
        self.instruments.infer(digits)
        self.names = [name for name, _ in self.instruments]
        replayed = (found for raw in frames if (found := speech.read(raw)) is not None)
        self.frames = list(itertools.islice(replayed, most))
        self.feed = VENUES[speech.venue].feed(self.instruments, **speech.options)
        self.feed.on_connect(1)
        self.clients = []
        self.served = 0
        self.faults = {}
        self.ready = self.all_subscribed  # when a fault may happen
        self.truth = defaultdict(list)  # by instrument: levels of each update, by "trades": trades
        self._scribe = Client(None)  # numbers the frames that the server's own feed reads

    def all_subscribed(self):
        """Return whether each instrument is followed by somebody."""
        return {name for client in self.clients for _, name in client.subscribed} == set(self.names)

    async def handle(self, socket):
        client = Client(socket)
        self.clients.append(client)
        self.served += 1
        writing = asyncio.create_task(client.write())
        try:
            async for text in socket:
                client.messages.append(text)
                if text == "ping":
                    client.put("pong")
                    continue
                for verb, channel, names in self.speech.asked(client, json.loads(text)):
                    for name in names:
                        self._subscribe(client, verb, channel, name)
        except ConnectionClosed:
            pass
        finally:
            self.clients.remove(client)
            writing.cancel()

    def _subscribe(self, client, verb, channel, name):
        self.speech.acknowledge(client, verb, channel, name)
        if verb == "unsubscribe":
            client.subscribed.discard((channel, name))
            return
        client.subscribed.add((channel, name))
        book = self.feed.books.get(name)
        if channel in ("book", "books", "level2") and book is not None and book.live:
            client.put(self.speech.snapshot(self.feed, book))

    def _follow(self, text):
        self._scribe.put(text)
        raw = self._scribe.queue.get_nowait().encode()
        for record in self.feed.on_frame(1, raw):
            kind, slots = int(header_of(record)["kind"]), slots_of(record).tolist()
            if kind == Kind.DEPTH_DIFF:
                self.truth[int(header_of(record)["instrument"])].append(slots[1:])
            elif kind == Kind.TRADE:
                self.truth["trades"].append((int(header_of(record)["a"]), slots))
            assert kind not in (Kind.BOOK_STALE, Kind.QUARANTINE), self.feed.last_refused

    async def play(self, seconds):
        """Send the capture in about so many seconds."""
        began, total = time.monotonic(), len(self.frames)
        for number, (channel, name, text) in enumerate(self.frames):
            text = text if isinstance(text, str) else self.speech.first(self.feed, *text)
            fault = self.faults.pop(number, None)
            if fault is not None:
                await until(self.ready)
            self._follow(text)
            for client in list(self.clients):
                if fault == "abort":
                    client.socket.transport.abort()
                    client.subscribed.clear()
                elif fault == "mute":
                    client.mute = True
                elif (channel, name) in client.subscribed:
                    client.put(text, lost=fault == "drop")
                beats = client.heartbeat or any(channel == "heartbeats" for channel, _ in client.subscribed)
                if beats and number % 25 == 0:
                    client.put(self.speech.beat())
            await asyncio.sleep(0)
            while time.monotonic() - began < seconds * number / total:
                await asyncio.sleep(0.001)


class Journal:
    """What the pool emitted, and the engine's books of it."""

    def __init__(self, books):
        self.records = []
        self.books = books

    def emit(self, record):
        self.records.append(record.copy())
        self.books.apply(record)

    def of(self, *kinds):
        return [record for record in self.records if int(header_of(record)["kind"]) in kinds]

    def stale(self):
        return [StaleCause(int(header_of(record)["a"])) for record in self.of(Kind.BOOK_STALE)]

    def diffs(self, instrument):
        return [
            slots_of(record).tolist()[1:]
            for record in self.of(Kind.DEPTH_DIFF)
            if int(header_of(record)["instrument"]) == instrument
        ]

    def trades(self):
        return [(int(header_of(record)["a"]), slots_of(record).tolist()) for record in self.of(Kind.TRADE)]


async def until(condition, seconds=15):
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def wait_until():
    """Wait for a condition, with a deadline."""
    return until


@pytest.fixture
def serve_venue(shared_data):
    """Serve a venue by its name: `async with serve_venue("okx") as (venue, url)`."""

    @contextlib.asynccontextmanager
    async def start(name, most=1200):
        speech = next(speech for speech in SPEECHES if speech.venue == name)
        venue = ReplayVenue(speech(), shared_data / "captures" / speech.file, most)
        async with serve(venue.handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            yield venue, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"

    return start


@pytest.fixture(params=[speech.venue for speech in SPEECHES])
def speech(request):
    """Each venue's protocol."""
    return next(speech for speech in SPEECHES if speech.venue == request.param)()


@pytest.fixture
def replay(speech, shared_data, engine_books, same_book, monkeypatch):
    """Start a venue on loopback and a pool on it: `async with replay(...) as world`."""

    dialect = VENUES[speech.venue].dialect
    generous = dataclasses.replace(dialect.limits, messages=(10_000, 1.0), connects=(10_000, 1.0))

    @contextlib.asynccontextmanager
    async def start(*, times, most=1200, per_connection=4, limits=None, wait=True):
        monkeypatch.setattr(dialect, "limits", limits or generous)
        venue = ReplayVenue(speech, shared_data / "captures" / speech.file, most)
        journal = Journal(engine_books)
        async with serve(venue.handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            options = {key: value for key, value in speech.options.items() if key != "protocol"}
            pool = open_pool(
                speech.venue, venue.names, journal.emit, instruments=venue.instruments, times=times, seed=5,
                url=f"ws://127.0.0.1:{port}/ws?key=secret", per_connection=per_connection, **options,
            )  # fmt: skip
            venue.ready = lambda: (
                venue.all_subscribed() and not any(row.stale_books for row in pool.status().connections)
            )
            running = asyncio.create_task(pool.run())
            connections = -(-len(venue.names) // per_connection)

            def is_right(book):
                number = book.instrument.id
                return engine_books.valid(number) == book.live and all(
                    engine_books.levels(number, sign, 2000) == [(at.price, at.qty) for at in side.top(2000)]
                    for sign, side in ((1, book.bids), (-1, book.asks))
                )

            def caught_up():
                return not any(client.queue.qsize() for client in venue.clients) and all(
                    is_right(book) for book in venue.feed.books.values()
                )

            def books_are_right():
                for book in venue.feed.books.values():
                    assert book.live
                    same_book(engine_books, book, 1000)

            world = SimpleNamespace(
                venue=venue, pool=pool, journal=journal, connections=connections, running=running,
                caught_up=caught_up, books_are_right=books_are_right,
            )  # fmt: skip
            if wait:
                await until(venue.all_subscribed)
            try:
                yield world
            finally:
                pool.stop()
                await asyncio.wait_for(running, 10)

    return start
