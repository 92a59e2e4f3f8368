"""Pools against each venue's protocol on loopback: nothing lost, nothing twice, books right, whatever happens."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.status import State

pytestmark = pytest.mark.capture

BOOKS = ("book", "books", "level2")

QUICK = StreamTimes(
    first_backoff_s=0.01, longest_backoff_s=0.05, silence_s=5.0, heartbeat_s=0.1, stable_s=0.2, resync_retry_s=0.3,
    linger_s=0.1, handover_s=3.0, haste_s=0.2, breaker_failures=1000,
)  # fmt: skip


async def _whole(world, wait_until):
    """Assert that the journal has each update and each trade of the capture once, in order, in an unbroken chain."""
    for book in world.venue.feed.books.values():
        number = book.instrument.id
        assert world.journal.diffs(number) == world.venue.truth[number]
        last = None
        for record in world.journal.of(Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF):
            head = header_of(record)
            if int(head["instrument"]) != number:
                continue
            if int(head["kind"]) == Kind.DEPTH_DIFF:
                assert int(slots_of(record)[0, 0]) == last
            assert last is None or int(head["b"]) >= last
            last = int(head["b"])
    await wait_until(lambda: len(world.journal.trades()) >= len(world.venue.truth["trades"]))
    # Two connections may bring trades of different instruments in another order; each is there once.
    assert Counter(map(repr, world.journal.trades())) == Counter(map(repr, world.venue.truth["trades"]))


async def test_a_capture_arrives_whole(replay, wait_until, speech):
    async with replay(times=QUICK) as world:
        await world.venue.play(0.4)
        await wait_until(world.caught_up)
        world.books_are_right()
        await _whole(world, wait_until)
        assert set(world.journal.stale()) == {StaleCause.START}
        assert not world.journal.of(Kind.QUARANTINE)
        status = world.pool.status()
        assert world.venue.served == world.connections == len(status.connections)
        for row in status.connections:
            assert (row.state, row.connects, row.failures, row.stale_books) == (State.OPEN, 1, 0, ())
            assert row.frames > 0
            assert "secret" not in row.url
            assert not any(channel.stale or channel.gaps for channel in row.channels)
        assert {c.name.split()[1] for row in status.connections for c in row.channels} == set(world.venue.names)
        if speech.venue == "okx":
            await wait_until(lambda: all("ping" in client.messages for client in world.venue.clients))
        if speech.venue.startswith("kraken"):
            await wait_until(lambda: all(any("ping" in m for m in c.messages) for c in world.venue.clients))
        if speech.venue == "deribit":
            await wait_until(lambda: all(any("public/test" in m for m in c.messages) for c in world.venue.clients))
    assert {row.state for row in world.pool.status().connections} == {State.CLOSED}


async def test_connections_are_renewed_before_the_cut_and_nobody_notices(replay, wait_until):
    times = replace(QUICK, lifetime_s=0.4)
    async with replay(times=times) as world:
        await world.venue.play(1.5)
        await wait_until(world.caught_up)
        world.books_are_right()
        await wait_until(lambda: sum(row.renewals for row in world.pool.status().connections) >= 3)
        rows = world.pool.status().connections
        assert sum(row.failures + row.silences for row in rows) == 0
        assert set(world.journal.stale()) == {StaleCause.START}
        await _whole(world, wait_until)


async def test_books_are_right_again_after_a_lost_frame_a_lost_connection_and_silence(replay, wait_until, speech):
    async with replay(times=replace(QUICK, silence_s=1.0)) as world:
        frames = world.venue.frames
        third = len(frames) // 3
        books = Counter(frame[1] for frame in frames[third // 2 : third] if frame[0] in BOOKS)
        busiest = books.most_common(1)[0][0]
        lost = next(n for n in range(third // 2, third) if frames[n][0] in BOOKS and frames[n][1] == busiest)
        world.venue.faults = {lost: "drop", third: "abort", 2 * third: "mute"}
        await world.venue.play(0.8)
        await wait_until(world.caught_up)
        world.books_are_right()
        assert not world.venue.faults
        causes = set(world.journal.stale())
        assert {StaleCause.DISCONNECT, StaleCause.SILENCE} <= causes
        rows = world.pool.status().connections
        assert sum(row.silences for row in rows) >= 1
        if speech.venue != "coinbase_exchange":  # that one has no numbers: nothing in it can show a lost frame
            assert causes & {StaleCause.GAP, StaleCause.CHECKSUM}
            assert sum(channel.gaps for row in rows for channel in row.channels) >= 1


@pytest.mark.parametrize("speech", ["okx"], indirect=True)  # no other venue says so
async def test_a_venue_that_says_it_will_hang_up_is_left_before(replay, wait_until):
    async with replay(times=QUICK) as world:
        notice = {"event": "notice", "code": "64008", "msg": "The connection will soon be closed"}
        for client in world.venue.clients:
            client.put(json.dumps(notice))
        await world.venue.play(0.5)
        await wait_until(lambda: world.pool.status().connections[0].renewals == 1)
        await wait_until(world.caught_up)
        await _whole(world, wait_until)
        assert set(world.journal.stale()) == {StaleCause.START}
