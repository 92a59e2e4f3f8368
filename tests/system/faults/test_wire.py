"""Each fault of the network, real on loopback: the book is right again, the gap has its row, no event is lost."""

from __future__ import annotations

import time

import pytest

from bot4_live.events import Kind, Reason
from bot4_live.simulation.wire_faults import Fault

pytestmark = pytest.mark.system

DIFF, TRADE, QUOTE = b'"e":"depthUpdate"', b'"e":"trade"', b'"e":"bookTicker"'


def finish(client, wire, *, exact=True):
    """Compare with the exchange, stop, and count; returns the journal's kinds."""
    client.settle(wire)
    client.book_is_right()
    client.stop()
    return client.nothing_is_lost(wire, exact=exact)


def hit(client, fault):
    client.wait(lambda: fault.hits >= fault.times, f"{fault} never happened")


def test_a_dropped_diff(client, wire):
    fault = Fault("drop", DIFF, after=20)
    wire.commit(fault)
    hit(client, fault)
    client.wait(lambda: client.stale == ["START", "GAP"], "the gap was not noticed")
    client.more()
    finish(client, wire)
    assert client.stale == ["START", "GAP", "DISCONNECT"]
    assert wire.seen == wire.delivered + 1


def test_duplicates_of_every_kind(client, wire):
    faults = [Fault("duplicate", match, after=5, times=2) for match in (DIFF, TRADE, QUOTE)]
    wire.commit(*faults)
    for fault in faults:
        hit(client, fault)
    client.more()
    kinds = finish(client, wire)
    assert client.stale == ["START", "DISCONNECT"]
    assert client.core.counts.quarantined == {Reason.DUPLICATE: 6}
    assert kinds[Kind.QUARANTINE] == 6
    assert wire.delivered == wire.seen + 6


def test_a_diff_that_comes_after_later_ones(client, wire):
    fault = Fault("reorder", DIFF, after=20, frames=40)
    wire.commit(fault)
    hit(client, fault)
    client.wait(lambda: client.stale == ["START", "GAP"], "the gap was not noticed")
    client.more()
    finish(client, wire)
    assert client.core.counts.quarantined == {}
    assert client.stale == ["START", "GAP", "DISCONNECT"]


def test_a_delay_shorter_than_our_patience(client, wire):
    faults = [Fault("delay", DIFF, after=20 * n, seconds=0.4) for n in (1, 3)]
    wire.commit(*faults)
    for fault in faults:
        hit(client, fault)
    client.more()
    finish(client, wire)
    assert client.stale == ["START", "DISCONNECT"]


@pytest.mark.parametrize("what", ["half_open", "silence"])
def test_a_peer_that_is_gone_without_a_word(client, wire, what):
    """Nothing on the socket says so in either case: the age of its data does."""
    fault = Fault(what, DIFF, after=20)
    wire.commit(fault)
    hit(client, fault)
    began = time.monotonic()
    client.wait(lambda: "SILENCE" in client.stale, "the silence was not noticed")
    assert time.monotonic() - began > 0.5
    client.more()
    finish(client, wire)
    assert client.stale == ["START", "SILENCE", "DISCONNECT"]
    assert client.stream.counts.silences == 1
    assert wire.connections == 2


def test_a_storm_of_disconnects(client, wire):
    """Hung up, reset and refused again and again, also in the middle of a bridge."""
    began, connects = time.monotonic(), client.stream.counts.connects
    storm = []
    for n in range(16):
        storm.append(Fault("reset" if n % 3 == 2 else "hang_up", after=(40, 3, 0, 120)[n % 4]))
        wire.commit(storm[-1])
        hit(client, storm[-1])
        if n % 8 == 7:
            wire.refuse()
            failures = client.stream.counts.failures
            client.wait(lambda f=failures: client.stream.counts.failures > f, "no connection was refused")
            wire.refuse(False)
    took = time.monotonic() - began
    client.more()
    finish(client, wire, exact=False)  # a reset loses what the kernel held
    assert client.stream.counts.connects >= connects + 16
    assert client.stream.counts.connects - connects < 20 * took, "reconnects are held back"
    assert set(client.stale) == {"START", "DISCONNECT"} or set(client.stale) == {"DISCONNECT"}
    assert client.stale.count("DISCONNECT") >= 4


def test_a_snapshot_older_than_the_diffs(client, wire, exchange):
    """A cache of the venue answers with the past: asked again until the diffs connect to it."""
    old = exchange.depth()
    client.more(200)
    client.old_snapshots += [old, old, old]
    fault = Fault("drop", DIFF)
    wire.commit(fault)
    hit(client, fault)
    client.wait(lambda: not client.old_snapshots, "the old snapshots were not asked for")
    client.more()
    finish(client, wire)
    assert client.core.counts.snapshots_too_old == 3
    assert client.stale == ["START", "GAP", "DISCONNECT"]


@pytest.mark.parametrize(
    "plan",
    [{"refuse": 1.0, "refuse_path": "/fapi/v1/depth", "refuse_after_s": 1}, {"ban_s": 2.0}],
    ids=["429", "418"],
)
def test_a_gap_while_the_venue_refuses_snapshots(client, wire, exchange, plan):
    """Nothing of the stream is lost meanwhile, and the book is right again once the venue answers."""
    exchange.faults(**plan)
    try:
        fault = Fault("drop", DIFF)
        wire.commit(fault)
        hit(client, fault)
        client.wait(lambda: client.stream.counts.snapshot_failures >= 1, "no snapshot was refused")
        assert not client.core.live
    finally:
        if "refuse" in plan:
            exchange.faults()  # a ban ends by itself
    client.more()
    finish(client, wire)
    exchange.faults()
    assert client.stale == ["START", "GAP", "DISCONNECT"]
    assert wire.seen == wire.delivered + 1


def test_a_clock_that_is_1300_ms_wrong_and_is_set(client, wire, exchange):
    try:
        for off_ms in (1300, 0, -1300):
            exchange.faults(clock_ms=off_ms)
            client.more()
        finish(client, wire)
    finally:
        exchange.faults()
    assert client.stale == ["START", "DISCONNECT"]
    assert client.core.counts.quarantined == {}
