"""What `bot4 bus` does: the bridge until it is stopped, and a consumer of some topics."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bot4_live.journal.reader import Journal
from bot4_live.settings import Settings
from bot4_platform.bus.bridge import Bridge
from bot4_platform.bus.consume import Quarantine, Sink, Taken, follow
from bot4_platform.bus.memory import MemoryBus, MemorySource
from bot4_platform.bus.schema import Topic
from bot4_platform.bus.settings import BusSettings
from bot4_platform.bus.transport import BusLost, Delivery, Source, Transport

IDLE_S = 0.05  # how long nothing new in the journal is waited for
SAVED_S = 0.5  # how often the bridge remembers its place
TOPICS = tuple(Topic)


def folder_of(settings: Settings) -> Path:
    """Return where the account's bus keeps its places and its quarantine."""
    return settings.root / "bus"


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; only in the main thread."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def publish(
    bridge: Bridge, stop: threading.Event, told: Callable[[Bridge, str], None] = lambda bridge, text: None,
    *, once: bool = False,
) -> None:  # fmt: skip
    """Run a bridge until `stop`, or with `once` until the journal is published and acknowledged.

    Lost brokers are waited for, ever longer; `told(bridge, why)` is called about once a second. Raises ValueError when
    the journal lacks an event.
    """
    saved = 0.0
    try:
        while not stop.is_set():
            try:
                if not bridge.step():
                    bridge.idle(IDLE_S)
                    if once and not bridge.waiting:
                        return
                if time.monotonic() - saved > SAVED_S:
                    saved = time.monotonic()
                    bridge.save()
                    lost = bridge.lost_since
                    told(bridge, f"no broker answers for {saved - lost:.0f} s" if lost is not None else "")
            except BusLost as error:
                wait = bridge.wait_s
                told(bridge, f"{error}; again in {wait:.1f} s")
                stop.wait(wait)
    finally:
        bridge.close(0.0 if bridge.lost_since is not None else 10.0)


def kafka_bridge(settings: Settings, bus: BusSettings, begin: int | None = None) -> Bridge:
    """Return a bridge of the account's journal to the brokers; topics that are not there are made."""

    def connect() -> Transport:
        from bot4_platform.bus.kafka import KafkaTransport, make_topics

        make_topics(bus, TOPICS)
        return KafkaTransport(bus)

    state = folder_of(settings) / "bridge.json"
    return Bridge(settings.journal_dir, connect, state, begin=begin, message_bytes=bus.message_bytes)


@contextmanager
def source_of(
    settings: Settings, bus: BusSettings, topics: Sequence[str], group: str | None, *, from_start: bool = False
) -> Iterator[Source]:
    """Give a source of `topics`: Kafka's, or without brokers this process's own over the account's journal.

    A group goes on where it stopped, and begins with the oldest there is; without one only what is new comes, unless
    `from_start`. Raises ValueError when there is no journal to follow.
    """
    if bus.brokers:
        from bot4_platform.bus.kafka import KafkaSource

        own = group or f"bot4-tail-{uuid.uuid4().hex[:8]}"
        yield KafkaSource(bus, own, topics, from_end=group is None and not from_start)
        return
    if not any(settings.journal_dir.glob("seg-*.b4j")):
        raise ValueError(f"there is no journal in {settings.journal_dir} to follow: record or trade first")
    memory = MemoryBus(bus.waiting)
    source = memory.follow(group or "tail", topics)
    bridge = Bridge(
        settings.journal_dir, lambda: memory, folder_of(settings) / f"group-{group}.json" if group else None,
        begin=None if group or from_start else Journal(settings.journal_dir).last_seq + 1,
        message_bytes=bus.message_bytes,
    )  # fmt: skip
    publishing = _Publishing(bridge)
    publishing.start()
    try:
        yield _Watched(source, publishing)
    finally:
        publishing.asked.set()
        memory.close(0)
        publishing.join()


class _Publishing(threading.Thread):
    """The bridge of this process; what stopped it is kept for who follows."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(name="bus-bridge", daemon=True)
        self.asked = threading.Event()
        self.failure: Exception | None = None
        self._bridge = bridge

    def run(self) -> None:
        """Publish."""
        try:
            publish(self._bridge, self.asked)
        except Exception as error:  # whatever it is: who follows raises it
            self.failure = error


class _Watched:
    """A source that fails with what stopped its bridge."""

    def __init__(self, source: MemorySource, publishing: _Publishing) -> None:
        self._source, self._publishing = source, publishing
        self.commit, self.close = source.commit, source.close

    def poll(self, most: int, timeout_s: float) -> list[Delivery]:
        """Return what came."""
        if self._publishing.failure is not None:
            raise self._publishing.failure
        return self._source.poll(most, timeout_s)


def consume(
    source: Source, sink: Sink, settings: Settings, stop: threading.Event, *, limit: int | None = None,
    idle_s: float | None = None, progress: Callable[[Taken], None] = lambda taken: None,
) -> Taken:  # fmt: skip
    """Let `sink` take what comes until `stop`, `limit` messages, or nothing for `idle_s`; return what was taken."""
    received, since = 0, time.monotonic()

    def ended(taken: Taken) -> bool:
        nonlocal received, since
        if taken.received != received:
            received, since = taken.received, time.monotonic()
        progress(taken)
        enough = limit is not None and taken.applied >= limit
        return stop.is_set() or enough or (idle_s is not None and time.monotonic() - since > idle_s)

    return follow(source, sink, Quarantine(folder_of(settings) / "quarantine.jsonl"), ended)
