"""The bridge over the bus of one process: the whole journal, in order, each once, from wherever it stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot4_live.events import Kind
from bot4_live.journal.layout import segment_name
from bot4_live.settings import Settings
from bot4_platform.bus.bridge import FIRST_WAIT_S, LONGEST_WAIT_S, Bridge
from bot4_platform.bus.envelope import Envelope, Marks, decode
from bot4_platform.bus.memory import MemoryBus
from bot4_platform.bus.schema import Topic, topic_of
from bot4_platform.bus.service import publish
from bot4_platform.bus.transport import BusLost, Message

TOPICS = tuple(Topic)
State = Callable[[str], Path]


class Recorder:
    """A transport that keeps what it gets, acknowledges when told to, and fails on the n-th message if asked."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.got: list[Envelope] = []
        self.open: list[Callable[[], None]] = []
        self.fail_at = fail_at

    def send(self, messages: Sequence[Message], done: Callable[[], None]) -> None:
        for message in messages:
            if self.fail_at is not None and len(self.got) == self.fail_at:
                raise BusLost("the line is cut")
            envelope = decode(message.value)
            assert (topic_of(envelope.kind), envelope.key) == (message.topic, message.key)
            self.got.append(envelope)
        self.open.append(done)

    def acknowledge(self, batches: int = 10**6) -> None:
        for done in self.open[:batches]:
            done()
        del self.open[:batches]

    def serve(self, timeout_s: float) -> None:
        return

    def lost_since(self) -> None:
        return None

    def close(self, timeout_s: float) -> None:
        return


def placed(found: Sequence[Envelope]) -> list[tuple[int, int, int]]:
    return [(one.kind, one.seq, one.index) for one in found]


def drain(bridge: Bridge, most: int = 50) -> int:
    read = 0
    while found := bridge.step(most):
        read += found
    return read


def test_the_whole_log_comes_in_order_while_it_is_written(log: Any, settings: Settings, bus_state: State) -> None:
    there = Recorder()
    bridge = Bridge(settings.journal_dir, lambda: there, bus_state("b"))
    for _ in range(40):
        log.fill(60)  # over several segments of 64 KiB
        bridge.step(70)
    log.close()
    drain(bridge)
    assert placed(there.got) == log.made
    assert len(list(settings.journal_dir.glob("seg-*.b4j"))) > 3
    assert all(one.record[16:24] == one.seq.to_bytes(8, "little") for one in there.got)
    markets = {one.market for one in there.got if one.kind == Kind.TRADE}
    assert markets == {"binance_usdm:BTCUSDT", "binance_usdm:ETHUSDT", "okx:SOLUSDT"}
    assert {one.key for one in there.got if one.kind != Kind.TRADE} == {"test"}
    there.acknowledge()
    assert bridge.counts.acknowledged_seq == log.next_seq - 1
    bridge.close()


@pytest.mark.parametrize("stops", [1, 7, 23])
def test_it_goes_on_behind_what_was_acknowledged(log: Any, settings: Settings, bus_state: State, stops: int) -> None:
    got: list[Envelope] = []
    log.fill(1_500)
    for life in range(stops + 1):
        there = Recorder()
        bridge = Bridge(settings.journal_dir, lambda there=there: there, bus_state("b"))
        if life < stops:
            for _ in range(6):
                bridge.step(40)
            there.acknowledge(4)
            bridge.save()
            there.open.clear()  # what is under way is not heard of again
        else:
            drain(bridge)
            there.acknowledge()
        bridge.close()
        got += there.got
    marks = Marks()
    assert placed([one for one in got if marks.take(topic_of(one.kind) or "", one)]) == log.made
    assert len(got) > len(log.made), "something came again"


def test_a_lost_bus_is_begun_again_from_what_it_acknowledged(log: Any, settings: Settings, bus_state: State) -> None:
    log.fill(900)
    lives = [Recorder(fail_at=130), Recorder(fail_at=0), Recorder(fail_at=5), Recorder()]
    left = iter(lives)
    bridge = Bridge(settings.journal_dir, lambda: next(left), bus_state("b"))
    waits = []
    while True:
        try:
            if not drain(bridge):
                break
        except BusLost:
            waits.append(bridge.wait_s)
            lives[0].acknowledge(2)  # comes late, from a transport that is gone
    assert len(waits) == 3
    assert all(FIRST_WAIT_S / 2 * 2**i <= wait <= FIRST_WAIT_S * 2**i for i, wait in enumerate(waits))
    marks = Marks()
    assert placed([one for life in lives for one in life.got if marks.take(topic_of(one.kind) or "", one)]) == log.made
    for _ in range(20):
        bridge._drop()
    assert LONGEST_WAIT_S / 2 <= bridge.wait_s <= LONGEST_WAIT_S
    bridge.close()


def test_publishing_waits_for_consumers_in_this_process(log: Any, settings: Settings, bus_state: State) -> None:
    log.fill(3_000)
    bus = MemoryBus(capacity=100)
    source = bus.follow("g", TOPICS)
    bridge = Bridge(settings.journal_dir, lambda: bus, bus_state("b"))
    thread = threading.Thread(target=publish, args=(bridge, threading.Event()), kwargs={"once": True})
    thread.start()
    got: list[Envelope] = []
    while len(got) < len(log.made):
        found = source.poll(64, 10)
        assert found
        got += [decode(delivery.value) for delivery in found]
        source.commit(found)
    thread.join(20)
    assert not thread.is_alive()
    assert sorted(placed(got)) == sorted(log.made)
    for key in {(topic_of(one.kind), one.key) for one in got}:
        mine = [(one.seq, one.index) for one in got if (topic_of(one.kind), one.key) == key and not one.index]
        assert mine == sorted(mine)
    assert json.loads(bus_state("b").read_text())["next_seq"] == log.next_seq


def test_two_bridges_of_one_account_are_refused(log: Any, settings: Settings, bus_state: State) -> None:
    first = Bridge(settings.journal_dir, Recorder, bus_state("b"))
    with pytest.raises(BlockingIOError, match=r"publishes .* already"):
        Bridge(settings.journal_dir, Recorder, bus_state("b"))
    first.close()
    Bridge(settings.journal_dir, Recorder, bus_state("b")).close()


def test_what_the_journal_no_longer_has_is_said(log: Any, settings: Settings, bus_state: State) -> None:
    log.fill(1_500)
    bus_state("b").write_text('{"next_seq": 3, "segment": 1, "offset": 4096}')
    removed = settings.journal_dir / segment_name(1)
    removed.unlink()
    removed.with_suffix(".seal.json").unlink()
    with pytest.raises(ValueError, match=r"begins with event \d+.*--from \d+"):
        Bridge(settings.journal_dir, Recorder, bus_state("b"))
    bus_state("b").write_text('{"next_seq": "x"}')
    with pytest.raises(ValueError, match="damaged"):
        Bridge(settings.journal_dir, Recorder, bus_state("b"))


def test_a_journal_that_lost_what_was_published_is_said(log: Any, settings: Settings, bus_state: State) -> None:
    log.fill(100)
    bridge = Bridge(settings.journal_dir, lambda: there, bus_state("b"))
    there = Recorder()
    drain(bridge)
    there.acknowledge()
    bridge.close()
    log.close()
    path = settings.journal_dir / segment_name(1)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 160)
    with pytest.raises(ValueError, match="power cut"):
        Bridge(settings.journal_dir, Recorder, bus_state("b"))


def test_a_record_that_is_too_large_goes_without_its_body(log: Any, settings: Settings) -> None:
    log.add(Kind.TRADE, slots=2)
    log.add(Kind.DEPTH_SNAPSHOT, slots=400)
    log.flush()
    there = Recorder()
    bridge = Bridge(settings.journal_dir, lambda: there, None, message_bytes=5_000)
    drain(bridge)
    assert [(one.omitted, len(one.record)) for one in there.got] == [(False, 96), (True, 64)]
    assert bridge.counts.omitted == 1
    bridge.close()


def test_a_second_session_goes_on_with_its_own_name_and_shift(log: Any, settings: Settings, bus_state: State) -> None:
    log.fill(50)
    log.command(49, 0)  # the last of the session: behind its last event
    log.close()
    there = Recorder()
    bridge = Bridge(settings.journal_dir, lambda: there, bus_state("b"))
    drain(bridge)
    second = type(log)(settings, session="s2", first_seq=log.next_seq)
    second.fill(50)
    drain(bridge)
    second.close()
    assert placed(there.got) == log.made + second.made
    assert [one.session for one in there.got] == ["s1"] * len(log.made) + ["s2"] * len(second.made)
    bridge.close()
