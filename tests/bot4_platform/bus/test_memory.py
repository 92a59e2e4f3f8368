"""The bus of one process: order by key, at least once, bounded, shared by the members of a group."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from bot4_platform.bus.memory import MemoryBus
from bot4_platform.bus.transport import BusLost, Message


def messages(count: int, keys: int = 3, first: int = 0) -> list[Message]:
    return [Message("Orders", f"k{i % keys}", str(i).encode()) for i in range(first, first + count)]


def values(found: Sequence) -> list[int]:
    return [int(delivery.value) for delivery in found]


def test_each_key_keeps_its_order_and_every_message_comes() -> None:
    bus = MemoryBus()
    source, done = bus.follow("g", ["Orders"]), []
    bus.send(messages(300), lambda: done.append(1))
    found = []
    while batch := source.poll(50, 0):
        found += batch
    assert sorted(values(found)) == list(range(300))
    for key in (b"k0", b"k1", b"k2"):
        mine = [int(delivery.value) for delivery in found if delivery.key == key]
        assert mine == sorted(mine)
    bus.serve(0)
    assert not done, "not before it is committed"
    source.commit(found)
    bus.serve(0)
    assert done == [1]


def test_what_was_not_committed_comes_again() -> None:
    bus = MemoryBus()
    first, second = bus.follow("g", ["Orders"]), bus.follow("other", ["Orders"])
    bus.send(messages(10), lambda: None)
    found = first.poll(100, 0)
    first.commit(found[:0])
    first.close()
    again = bus.follow("g", ["Orders"]).poll(100, 0)
    assert sorted(values(again)) == list(range(10))
    assert len(second.poll(100, 0)) == 10, "another group has its own offsets"


def test_members_share_the_partitions_and_take_over() -> None:
    bus = MemoryBus()
    one, two = bus.follow("g", ["Orders"]), bus.follow("g", ["Orders"])
    assert not set(one.at) & set(two.at)
    assert len(one.at) == len(two.at) == 2
    bus.send(messages(100, keys=20), lambda: None)
    mine, yours = one.poll(1000, 0), two.poll(1000, 0)
    assert mine
    assert yours
    assert sorted(values(mine) + values(yours)) == list(range(100))
    one.commit(mine)
    two.close()  # without a commit
    assert sorted(values(one.poll(1000, 0))) == sorted(values(yours))


def test_publishing_waits_for_the_slowest_and_never_holds_more() -> None:
    bus, sent = MemoryBus(capacity=10, partitions=1), threading.Event()
    source = bus.follow("g", ["Orders"])

    def publish() -> None:
        bus.send(messages(25), lambda: None)
        sent.set()

    thread = threading.Thread(target=publish)
    thread.start()
    seen: list[int] = []
    while len(seen) < 25:
        found = source.poll(100, 5)
        assert 0 < len(found) <= 10
        assert len(seen) + len(found) == 25 or not sent.is_set()
        seen += values(found)
        source.commit(found)
    thread.join(5)
    assert sent.is_set()
    assert seen == list(range(25))


def test_nobody_is_told_nothing_and_a_closed_bus_refuses() -> None:
    bus, done = MemoryBus(capacity=5), []
    bus.send(messages(50), lambda: done.append(1))  # no group: nothing is kept, nothing waits
    bus.serve(0)
    assert done
    bus.close(0)
    with pytest.raises(BusLost, match="closed"):
        bus.send(messages(1), lambda: None)
