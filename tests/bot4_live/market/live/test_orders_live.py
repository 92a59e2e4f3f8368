"""Pools of level-3 feeds against a generated exchange of orders on loopback: queues right, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from types import SimpleNamespace

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.pool import VENUES, open_pool
from bot4_live.market.venues.registry import Instruments

TIMES = StreamTimes(
    first_backoff_s=0.01, longest_backoff_s=0.05, stable_s=0.2, resync_retry_s=0.3, snapshot_retry_s=0.02,
    linger_s=0.1, handover_s=3.0, breaker_failures=1000,
)  # fmt: skip
SIGNED = {"key": "k", "passphrase": "p", "timestamp": "1", "signature": "s"}


class OrdersVenue:
    """One market, told to all clients; its snapshots come by REST (Coinbase) or on the stream (Kraken)."""

    def __init__(self, order_flow, dialect, seed=3):
        self.flow = order_flow.Flow(seed)
        self.kraken = dialect == "kraken"
        if self.kraken:
            self.market, self.name = order_flow.Kraken(self.flow), order_flow.PAIR
        else:
            self.market, self.name = order_flow.Coinbase(self.flow, compact=dialect == "level3"), order_flow.NAME
        self.dialect = dialect
        self.clients = {}
        self.served = self.fetched = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answers = []  # what the next fetches get instead of a snapshot

    async def handle(self, socket):
        queue = self.clients[socket] = asyncio.Queue()
        self.served += 1
        sending = asyncio.create_task(self.send(socket, queue))
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                self.asked(queue, json.loads(text))
        del self.clients[socket]
        sending.cancel()

    async def send(self, socket, queue):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(await queue.get(), text=True)

    def asked(self, queue, message):
        if not self.kraken:
            channels = [self.dialect, "ticker", "heartbeat"]
            assert message == {"type": "subscribe", "product_ids": [self.name], "channels": channels} | SIGNED
            queue.put_nowait(b'{"type":"subscriptions","channels":[]}')
            return
        if message["method"] == "ping":
            queue.put_nowait(b'{"method":"pong"}')
            return
        assert (message["params"]["token"], message["params"]["symbol"]) == ("token", [self.name])
        result = {"channel": "level3", "symbol": self.name, "depth": 10}
        queue.put_nowait(json.dumps({"method": message["method"], "success": True, "result": result}).encode())
        if message["method"] == "subscribe":
            queue.put_nowait(self.market.snapshot())

    async def fetch(self, path):
        assert path == f"/products/{self.name}/book?level=3"
        self.fetched += 1
        await self.may_answer.wait()
        answer = self.answers.pop(0) if self.answers else self.market.snapshot()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def trade(self, steps, *, lose=False):
        for _ in range(steps):
            for frame in self.market.frames(self.flow.step()):
                for queue in () if lose else self.clients.values():
                    queue.put_nowait(frame)
            await asyncio.sleep(0.001)


@pytest.fixture(params=["full", "level3", "kraken"])
def orders(request, order_flow, engine_books, monkeypatch):
    """Start the exchange and a pool on it: `async with orders(...) as world`."""
    dialect = request.param

    @contextlib.asynccontextmanager
    async def start(times=TIMES):
        venue, records = OrdersVenue(order_flow, dialect), []
        kind = "kraken_orders" if venue.kraken else "coinbase_orders"
        limits = dataclasses.replace(VENUES[kind].dialect.limits, messages=(1000, 1.0), connects=(1000, 1.0))
        monkeypatch.setattr(VENUES[kind].dialect, "limits", limits)
        options = {"depth": 10, "token": "token"} if venue.kraken else {"channel": dialect, "signed": lambda: SIGNED}
        instruments = Instruments(VENUES[kind].feed.venue)
        number = instruments.declare(venue.name, 1, 1).id

        def emit(record):
            records.append(record.copy())
            engine_books.apply(record)

        async with serve(venue.handle, "127.0.0.1", 0, compression=None) as server:
            pool = open_pool(
                kind, [venue.name], emit, instruments=instruments, times=times, seed=5, fetch_snapshot=venue.fetch,
                url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", **options,
            )  # fmt: skip
            running = asyncio.create_task(pool.run())

            def is_right():
                feed = pool.feed(venue.name)
                if not feed.books[venue.name].live or any(queue.qsize() for queue in venue.clients.values()):
                    return False
                for sign in (1, -1):
                    levels = venue.flow.levels(sign)[: 10 if venue.kraken else None]
                    prices = [price for price, *_ in levels]
                    line = [order.id for order in venue.flow.by_priority(sign) if order.price in prices]
                    if [order.id for order in feed.orders[venue.name].orders(sign)] != line:
                        return False
                    if engine_books.levels(number, sign, 99) != [(price, lots) for price, lots, _ in levels]:
                        return False
                return engine_books.valid(number)

            def of(kind):
                return [record for record in records if int(header_of(record)["kind"]) == kind]

            try:
                yield SimpleNamespace(
                    venue=venue, records=records, of=of, is_right=is_right,
                    stale=lambda: [StaleCause(int(header_of(record)["a"])) for record in of(Kind.BOOK_STALE)],
                    row=lambda: pool.status().connections[0],
                )  # fmt: skip
            finally:
                pool.stop()
                await asyncio.wait_for(running, 10)

    return start


def chained(records):
    """Return whether each update names the one before it."""
    last = None
    for record in records:
        head = header_of(record)
        if int(head["kind"]) == Kind.DEPTH_DIFF and int(slots_of(record)[0, 0]) != last:
            return False
        if int(head["kind"]) in (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF):
            last = int(head["b"])
    return True


async def test_orders_are_followed_from_a_snapshot_that_the_stream_connects_to(orders, wait_until):
    """One that fails and one that is older than what waits are fetched again."""
    async with orders() as world:
        venue = world.venue
        if not venue.kraken:
            venue.may_answer.clear()
            venue.answers = [ConnectionError("HTTP 503"), venue.market.snapshot()]
            await venue.trade(3)  # which nobody hears, so that this snapshot does not connect
        await wait_until(lambda: world.row().frames > 0)
        await venue.trade(3)
        await wait_until(lambda: world.row().frames > 1)
        venue.may_answer.set()
        await wait_until(lambda: not venue.answers)
        await venue.trade(200)
        await wait_until(world.is_right)
        assert world.stale() == [StaleCause.START]
        assert chained(world.records)
        assert not world.of(Kind.QUARANTINE)
        assert len(world.of(Kind.DEPTH_DIFF)) > 50
        assert len(world.of(Kind.DEPTH_SNAPSHOT)) == 1
        if not venue.kraken:
            assert venue.fetched >= 3
        book = {"kraken": "level3 BTC/USD"}.get(venue.dialect, "orders BTC-USD")
        assert [(c.stale, c.gaps) for c in world.row().channels if c.name == book] == [(False, 0)]


async def test_orders_are_right_again_after_a_lost_message_and_a_lost_connection(orders, wait_until):
    async with orders() as world:
        await wait_until(world.is_right)
        await world.venue.trade(20)
        await world.venue.trade(5, lose=True)
        await world.venue.trade(50)
        await wait_until(world.is_right)
        assert set(world.stale()) & {StaleCause.GAP, StaleCause.CHECKSUM}
        assert world.row().channels[0].gaps >= 1
        for socket in list(world.venue.clients):
            socket.transport.abort()
        await wait_until(lambda: StaleCause.DISCONNECT in world.stale())
        await world.venue.trade(50)
        await wait_until(world.is_right)
        assert world.venue.served == world.row().connects == 2
        assert not world.of(Kind.QUARANTINE)


async def test_a_renewed_connection_brings_the_queues_along(orders, wait_until):
    async with orders(dataclasses.replace(TIMES, lifetime_s=0.4)) as world:
        await wait_until(world.is_right)
        async with asyncio.timeout(15):
            while world.row().renewals < 2:
                await world.venue.trade(5)
        await world.venue.trade(20)
        await wait_until(world.is_right)
        assert world.stale() == [StaleCause.START]
        assert chained(world.records)
        assert not world.of(Kind.QUARANTINE)


async def test_what_level_3_needs_is_named():
    known = Instruments("coinbase")
    known.declare("BTC-USD", 2, 8)
    with pytest.raises(ValueError, match="coinbase_orders: its books begin with a REST snapshot; give fetch_snapshot"):
        open_pool("coinbase_orders", ["BTC-USD"], print, instruments=known, url="ws://127.0.0.1:1")
