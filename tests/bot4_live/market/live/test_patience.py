"""Backoff, breaker and rate limits by a clock of their own, and a breaker's life over real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from bot4_live.events import Kind, header_of
from bot4_live.market.live.patience import Backoff, Breaker, BreakerState, Pacer, StreamTimes
from bot4_live.market.live.pool import open_pool
from bot4_live.market.live.status import State
from bot4_live.market.venues.dialects import CoinbaseDialect
from bot4_live.market.venues.registry import Instruments


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_backoff_is_uniform_up_to_a_limit_that_doubles_from_100_ms_to_30_s():
    times, limits = StreamTimes(), [0.1 * 2**n for n in range(9)] + [30.0, 30.0]
    drawn = []
    for seed in range(400):
        backoff = Backoff(times.first_backoff_s, times.longest_backoff_s, random.Random(seed))
        drawn.append([backoff.next() for _ in limits])
        backoff.reset()
        assert backoff.next() <= 0.1
    for limit, waits in zip(limits, zip(*drawn, strict=True), strict=True):
        assert 0 <= min(waits) < 0.1 * limit
        assert 0.9 * limit < max(waits) <= limit
        assert sum(waits) / len(waits) == pytest.approx(limit / 2, rel=0.15)


@given(st.integers(2, 40), st.floats(0.5, 20.0), st.lists(st.floats(0, 3.0), min_size=1, max_size=120))
def test_no_window_holds_more_than_the_limit(count, per_s, pauses):
    clock = Clock()
    pacer, used = Pacer(count, per_s, clock), []
    for pause in pauses:
        clock.now += pause
        used.append(clock.now + pacer.take())
    for at in used:
        assert sum(at <= other < at + per_s * 0.999 for other in used) <= count


def test_the_breaker_opens_after_failures_in_a_while_and_lets_one_try():
    clock = Clock()
    times = StreamTimes(breaker_failures=3, breaker_window_s=10.0, breaker_open_s=8.0)
    breaker = Breaker(times, random.Random(1), clock)
    for _ in range(5):  # too far apart
        breaker.failed("a")
        clock.now += 6.0
    assert breaker.state is BreakerState.CLOSED
    breaker.failed("a")
    breaker.failed("b")
    assert breaker.state is BreakerState.OPEN
    wait = breaker.wait_s("a")
    assert 6.0 <= wait <= 10.0
    clock.now += wait
    assert breaker.wait_s("b") == 0.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.wait_s("a") > 0
    breaker.failed("b")
    assert breaker.state is BreakerState.OPEN
    clock.now += 10.0
    assert breaker.wait_s("a") == 0.0
    breaker.left("a")
    assert breaker.wait_s("b") == 0.0
    breaker.lasted("a")
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.lasted("b")
    assert breaker.state is BreakerState.CLOSED
    assert breaker.wait_s("a") == 0.0
    assert breaker.opened == 2


BOOK = (
    '{"channel":"book","type":"snapshot","data":[{"symbol":"%s","bids":[{"price":1.5,"qty":2.0}],'
    '"asks":[{"price":1.6,"qty":3.0}],"checksum":%d}]}'
)


def _pool(port, names, times, records, venue="kraken", **more):
    instruments = Instruments(venue)
    for name in names:
        instruments.declare(name, 1, 1)
    return open_pool(
        venue, names, records.append, instruments=instruments, url=f"ws://127.0.0.1:{port}", times=times, seed=3, **more
    )


async def test_a_venue_that_hangs_up_on_everybody_is_left_alone_until_a_probe_lasts(wait_until):
    """Four connections: the venue hangs up at once, until it does not."""
    from zlib import crc32

    served, good, records = [], asyncio.Event(), []
    names = [f"A{n}/USD" for n in range(8)]

    async def handle(socket):
        served.append(time.monotonic())
        if not good.is_set():
            await socket.close()
            return
        async for text in socket:
            if '"book"' in text:
                for name in names:
                    if name in text:
                        await socket.send(BOOK % (name, crc32(b"16301520")))

    times = StreamTimes(
        first_backoff_s=0.01, longest_backoff_s=0.02, breaker_failures=12, breaker_window_s=5.0, breaker_open_s=0.4,
        stable_s=0.2, heartbeat_s=30.0,
    )  # fmt: skip
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        pool = _pool(server.sockets[0].getsockname()[1], names, times, records, per_connection=2)
        running = asyncio.create_task(pool.run())
        await wait_until(lambda: pool.status().breaker == "open")
        await wait_until(lambda: all(row.state is State.BREAKER_OPEN for row in pool.status().connections))
        assert len(served) <= 12 + 3  # those that were under way when it opened
        before = len(served)
        await wait_until(lambda: len(served) > before)  # the probe of a half-open breaker, which fails
        await wait_until(lambda: pool.status().breaker == "open")
        assert len(served) == before + 1
        good.set()
        await wait_until(lambda: pool.status().breaker == "half_open")
        assert sum(row.state is State.OPEN for row in pool.status().connections) <= 1
        await wait_until(lambda: pool.status().breaker == "closed")
        await wait_until(lambda: not any(row.stale_books for row in pool.status().connections))
        assert [row.state for row in pool.status().connections] == [State.OPEN] * 4
        assert len([1 for record in records if header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT]) == 8
        pool.stop()
        await asyncio.wait_for(running, 5)


async def test_who_opens_and_says_nothing_is_no_good_venue_however_long_it_lasts(wait_until):
    """Each connection outlives `stable_s` and is dropped as silent: for the breaker these are failures."""

    async def handle(socket):
        await socket.wait_closed()

    times = StreamTimes(
        first_backoff_s=0.01, longest_backoff_s=0.02, silence_s=0.1, heartbeat_s=0.0, stable_s=0.02,
        breaker_failures=3, breaker_open_s=30.0,
    )  # fmt: skip
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        pool = _pool(server.sockets[0].getsockname()[1], ["A0/USD"], times, [])
        running = asyncio.create_task(pool.run())
        await wait_until(lambda: pool.status().breaker == "open")
        (row,) = pool.status().connections
        assert (row.connects, row.silences, row.failures) == (3, 3, 0)
        pool.stop()
        await asyncio.wait_for(running, 5)


async def test_a_pool_sends_no_faster_than_its_venue_takes(wait_until, monkeypatch):
    """Five connections of four subscriptions each, twelve messages a second at most."""
    monkeypatch.setattr(CoinbaseDialect, "limits", replace(CoinbaseDialect.limits, messages=(12, 1.0)))
    heard = []

    async def handle(socket):
        async for _ in socket:
            heard.append(time.monotonic())  # noqa: PERF401 - when each came

    names = [f"A{n}-USD" for n in range(5)]
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        # Silence does not count while subscriptions wait for their turn.
        times = StreamTimes(silence_s=0.5, heartbeat_s=0.1)
        pool = _pool(port, names, times, [], venue="coinbase", per_connection=1)
        running = asyncio.create_task(pool.run())
        await wait_until(lambda: len(heard) >= 20)
        pool.stop()
        await asyncio.wait_for(running, 5)
    at = sorted(heard)
    # Messages are stamped here as they are read, a little later than they were sent.
    assert all(sum(a <= b < a + 0.9 for b in at) <= 12 for a in at)
    assert at[19] - at[0] > 1.0


async def test_a_journal_that_cannot_be_written_ends_the_pool(wait_until):
    from zlib import crc32

    async def handle(socket):
        async for text in socket:
            if '"book"' in text:
                await socket.send(BOOK % ("A0/USD", crc32(b"16301520")))

    class Full(list):
        def append(self, record):
            if header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT:
                raise OSError(28, "No space left on device")

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        pool = _pool(server.sockets[0].getsockname()[1], ["A0/USD", "A1/USD"], StreamTimes(), Full(), per_connection=1)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(pool.run(), 10)
    assert [row.state for row in pool.status().connections] == [State.CLOSED] * 2
