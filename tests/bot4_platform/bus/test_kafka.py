"""The bus over Kafka's protocol: real processes killed at any time, a broker that goes away, members that share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from bot4_live.settings import Settings
from bot4_platform.bus import kafka
from bot4_platform.bus.bridge import Bridge
from bot4_platform.bus.consume import Quarantine, Taken, follow
from bot4_platform.bus.envelope import Envelope, Marks, decode
from bot4_platform.bus.kafka import KafkaSource, KafkaTransport, make_topics
from bot4_platform.bus.schema import Topic, topic_of
from bot4_platform.bus.service import publish
from bot4_platform.bus.settings import BusSettings
from bot4_platform.bus.transport import BusLost

TOPICS = tuple(Topic)
COMMAND = "from bot4_platform.commands.bus import command; command()"


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)


class Children:
    """`bot4 bus ...` in processes of their own, over one broker and one account."""

    def __init__(self, settings: Settings, address: str, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOT4_")}
        self._environment = kept | {
            "BOT4_VAR": str(settings.var), "BOT4_ACCOUNT": settings.account, "BOT4_PLATFORM__BUS__BROKERS": address,
            "BOT4_PLATFORM__BUS__PARTITIONS": "0",
        }  # fmt: skip
        self._folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "children.log").open("ab") as log:
            child = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], env=self._environment, stdout=log,
                                     stderr=log)  # fmt: skip
        self.running.append(child)
        return child

    def said(self) -> str:
        return (self._folder / "children.log").read_text()


@pytest.fixture
def children(settings: Settings, broker: Any, tmp_path: Path) -> Iterator[Children]:
    made = Children(settings, broker.address, tmp_path)
    yield made
    for child in made.running:
        if child.poll() is None:
            child.kill()
            child.wait()


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
            if line.endswith(b"}")]  # fmt: skip


def placed(lines: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return sorted((line["seq"], line["index"]) for line in lines)


def in_order(lines: list[dict[str, Any]]) -> bool:
    streams: dict[tuple[str, str, bool], list[tuple[int, int]]] = {}
    for line in lines:
        streams.setdefault((line["topic"], line["key"], line["index"] > 0), []).append((line["seq"], line["index"]))
    return all(stream == sorted(stream) for stream in streams.values())


@pytest.mark.parametrize(
    "victims", [("both",), pytest.param(("bridge", "consumer", "both"), marks=pytest.mark.slow)], ids=len
)
def test_the_bridge_and_a_consumer_are_killed_and_each_message_is_there_once(
    log: Any, settings: Settings, children: Children, tmp_path: Path, victims: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    log.fill(400)
    tail = ("tail", *TOPICS, "--group", "books", "--into", str(out))
    bridge, consumer = children.start("publish"), children.start(*tail)
    until(lambda: lines_of(out) or consumer.poll() is not None)
    for victim in victims:
        log.fill(300)
        seen = len(lines_of(out))
        until(lambda seen=seen: len(lines_of(out)) > seen)  # in the middle of it
        if victim != "consumer":
            bridge.send_signal(signal.SIGKILL)
            bridge.wait()
            bridge = children.start("publish")
        if victim != "bridge":
            consumer.send_signal(signal.SIGKILL)
            consumer.wait()
            consumer = children.start(*tail)
        log.fill(100)
    wanted = sorted((seq, index) for _, seq, index in log.made)
    until(lambda: len(lines_of(out)) >= len(wanted) or consumer.poll() is not None, 90)
    for child in (bridge, consumer):
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0, children.said()
    found = lines_of(out)
    assert placed(found) == wanted, children.said()
    for path in out.glob("*.jsonl"):
        assert in_order([json.loads(line) for line in path.read_text().splitlines()])
    assert json.loads((settings.root / "bus" / "bridge.json").read_text())["next_seq"] == log.next_seq
    assert not (settings.root / "bus" / "quarantine.jsonl").exists()


def received(bus: BusSettings, wanted: int, seconds: float = 60.0) -> list[Envelope]:
    source, got, marks = KafkaSource(bus, "all", TOPICS), list[Envelope](), Marks()
    deadline = time.monotonic() + seconds
    while len(got) < wanted and time.monotonic() < deadline:
        found = source.poll(500, 0.5)
        got += [
            one
            for one in map(decode, (delivery.value for delivery in found))
            if marks.take(topic_of(one.kind) or "", one)
        ]
        source.commit(found)
    source.close()
    return got


@pytest.mark.slow
def test_a_broker_that_goes_away_is_waited_for_and_nothing_is_lost(
    log: Any, settings: Settings, broker: Any, bus_state: Callable[[str], Path]
) -> None:
    bus = BusSettings(brokers=broker.address, partitions=0, waiting=200)
    make_topics(bus, TOPICS)
    lives: list[KafkaTransport] = []

    def connect() -> KafkaTransport:
        lives.append(KafkaTransport(bus))
        return lives[-1]

    bridge = Bridge(settings.journal_dir, connect, bus_state("b"))
    log.fill(100)
    bridge.step()
    until(lambda: bridge.idle(0.05) or not bridge.waiting)
    broker.process.send_signal(signal.SIGSTOP)
    log.fill(600)
    for _ in range(3):
        bridge.step(60)  # taken into the client, as far as it goes
    before = bridge.counts.acknowledged_seq
    assert bridge.waiting
    bridge.idle(0.2)
    assert bridge.counts.acknowledged_seq == before
    broker.process.send_signal(signal.SIGCONT)
    while bridge.step():
        pass
    until(lambda: bridge.idle(0.05) or not bridge.waiting)
    assert bridge.counts.acknowledged_seq == log.next_seq - 1
    # What the client cannot mend: a fresh one begins behind what was acknowledged.
    log.fill(100)
    lives[-1]._failure = "broken for good"
    with pytest.raises(BusLost, match="broken for good"):
        bridge.step()
    while bridge.step():
        pass
    until(lambda: bridge.idle(0.05) or not bridge.waiting)
    assert len(lives) == 2
    bridge.close()
    assert sorted((one.seq, one.index) for one in received(bus, len(log.made))) == sorted(
        (seq, index) for _, seq, index in log.made
    )


def test_no_broker_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "KNOWN_S", 0.5)
    with pytest.raises(BusLost, match=r"Kafka at 127\.0\.0\.1:1: .*BOT4_PLATFORM__BUS__BROKERS"):
        make_topics(BusSettings(brokers="127.0.0.1:1"), TOPICS)


@pytest.mark.slow
def test_members_share_the_partitions_and_the_dead_ones_are_taken_over(
    log: Any, settings: Settings, children: Children, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    log.fill(300)
    tail = ("tail", *TOPICS, "--group", "books", "--into", str(out))
    bridge = children.start("publish")
    first = children.start(*tail)
    until(lambda: lines_of(out))
    second = children.start(*tail)  # joins: partitions move
    for _ in range(30):
        log.fill(30)
        time.sleep(0.1)
    first.send_signal(signal.SIGSTOP)  # thought dead after session.timeout.ms, and comes back later
    log.fill(100)
    wanted = len(log.made)
    until(lambda: len(lines_of(out)) >= wanted, 120)
    first.send_signal(signal.SIGCONT)
    log.fill(200)
    second.send_signal(signal.SIGKILL)
    second.wait()
    log.fill(50)
    expected = sorted((seq, index) for _, seq, index in log.made)
    until(lambda: len(lines_of(out)) >= len(expected), 120)
    for child in (bridge, first):
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0, children.said()
    assert placed(lines_of(out)) == expected
    for path in out.glob("*.jsonl"):
        assert in_order([json.loads(line) for line in path.read_text().splitlines()])


@pytest.mark.slow
def test_what_others_put_on_a_topic_is_put_aside(settings: Settings, broker: Any, log: Any, tmp_path: Path) -> None:
    import threading

    bus = BusSettings(brokers=broker.address, partitions=0, prefix="b4.")
    log.fill(60)
    stranger = Producer({"bootstrap.servers": broker.address, "log_level": 0})
    make_topics(bus, TOPICS)
    stranger.produce("b4.Fills", b'{"json": "of somebody else"}', b"test")
    assert stranger.flush(20) == 0
    publish(Bridge(settings.journal_dir, lambda: KafkaTransport(bus), None), threading.Event(), once=True)

    class Kept:
        def __init__(self) -> None:
            self.got: list[Envelope] = []

        def take(self, topic: str, partition: int, messages: Any) -> int:
            assert all(topic_of(found.kind) == topic for found in messages)
            self.got += messages
            return len(messages)

    sink, aside = Kept(), Quarantine(tmp_path / "aside.jsonl")
    taken = follow(
        KafkaSource(bus, "g", TOPICS), sink, aside, lambda taken: taken.received == len(log.made) + 1
    )  # fmt: skip
    assert isinstance(taken, Taken)
    assert (taken.quarantined, len(sink.got)) == (1, len(log.made))
    assert "no message of the bus" in aside.path.read_text()


def test_the_password_is_in_no_repr() -> None:
    bus = BusSettings(brokers="h:1", security="sasl_ssl", username="u", password="hush-hush")
    assert "hush" not in repr(bus)
    assert "hush" not in str(bus.model_dump(mode="json"))
