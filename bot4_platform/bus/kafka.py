"""The bus over Kafka (confluent-kafka): an idempotent producer without gaps, consumers that commit after the effect.

Lost brokers are waited for: the client reconnects with its own backoff, and keeps at most `waiting` messages; whatever
comes after those is still in the journal. What the client cannot mend is BusLost, and the bridge begins again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bot4_platform.bus import transport
from bot4_platform.bus.settings import BusSettings
from bot4_platform.bus.transport import BusLost, Delivery

# The client's own lines (reconnects) at debug level: what matters of them is said by lost_since.
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False
KNOWN_S = 10.0  # how long a first answer of the brokers may take
SESSION_MS = 6_000  # a dead member's partitions go to the others after this


def client_settings(bus: BusSettings) -> dict[str, Any]:
    """Return what producers and consumers have in common, the password among it."""
    found: dict[str, Any] = {
        "bootstrap.servers": bus.brokers, "security.protocol": bus.security, "reconnect.backoff.max.ms": 5_000,
        "log_level": 3,
    }  # fmt: skip
    if bus.security.startswith("sasl"):
        found |= {"sasl.mechanism": bus.mechanism, "sasl.username": bus.username,
                  "sasl.password": bus.password.get_secret_value()}  # fmt: skip
    return found


def make_topics(bus: BusSettings, topics: Sequence[str]) -> None:
    """Create the topics that are not there. Raises BusLost when no broker answers, or one refuses."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient(client_settings(bus), logger=_LOG)
    names = [bus.topic(topic) for topic in topics]
    try:
        if not bus.partitions:
            for name in names:  # asked for by name, brokers that may make it do
                admin.list_topics(name, timeout=KNOWN_S)
            return
        there = admin.list_topics(timeout=KNOWN_S).topics
        wanted = [NewTopic(name, bus.partitions, bus.replicas) for name in names if name not in there]
        for future in admin.create_topics(wanted).values() if wanted else ():
            try:
                future.result(KNOWN_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except (KafkaException, TimeoutError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else "topics are not made in time"
        raise BusLost(
            f"Kafka at {bus.brokers}: {why}; check BOT4_PLATFORM__BUS__BROKERS, or make the topics there and set "
            "BOT4_PLATFORM__BUS__PARTITIONS=0"
        ) from None


class KafkaTransport:
    """Publishes to the brokers of the settings."""

    def __init__(self, bus: BusSettings) -> None:
        self._prefix, self._waiting = bus.prefix, bus.waiting
        self._under_way = 0
        self._lost: float | None = None
        self._failure: str | None = None
        self._producer = Producer(
            client_settings(bus) | {
                "enable.idempotence": True,  # acks of all replicas, order kept over retries
                "enable.gapless.guarantee": True,  # nothing after a message that failed
                "message.timeout.ms": 0,  # a lost broker is waited for
                "queue.buffering.max.messages": bus.waiting * 2,
                "message.max.bytes": bus.message_bytes + 10_000,
                "partitioner": "murmur2_random",  # as Java's clients do
                "compression.type": "lz4",
                "linger.ms": 5,
                "error_cb": self._on_error,
            },
            logger=_LOG,
        )  # fmt: skip

    def send(self, messages: Sequence[transport.Message], done: Callable[[], None]) -> None:
        """Hand messages to the client; waits while `waiting` are under way. Raises BusLost."""
        left = len(messages)

        def delivered(error: KafkaError | None, _: Message) -> None:
            nonlocal left
            self._under_way -= 1
            if error is not None:
                self._failure = self._failure or error.str()
                return
            self._lost = None
            left -= 1
            if left == 0 and self._failure is None:
                done()

        if not messages:
            done()
        for message in messages:
            while self._under_way >= self._waiting:
                self.serve(0.1)
            self._under_way += 1
            try:
                self._producer.produce(
                    self._prefix + message.topic, message.value, message.key.encode(), on_delivery=delivered
                )
            except (KafkaException, BufferError) as error:
                raise BusLost(f"Kafka refuses a message: {error}") from None
        self.serve(0)

    def serve(self, timeout_s: float) -> None:
        """Let the client call back. Raises BusLost after a failure that it does not mend."""
        self._producer.poll(timeout_s)
        if self._failure is not None:
            raise BusLost(f"Kafka: {self._failure}")

    def lost_since(self) -> float | None:
        """Return since when all brokers are down."""
        return self._lost

    def close(self, timeout_s: float) -> None:
        """Wait for what is under way, then drop it: it is in the journal."""
        self._producer.flush(timeout_s)
        self._producer.purge()
        self._producer.flush(1.0)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = self._failure or error.str()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._lost is None:
            self._lost = time.monotonic()


class KafkaSource:
    """A member of a consumer group."""

    def __init__(self, bus: BusSettings, group: str, topics: Sequence[str], *, from_end: bool = False) -> None:
        """Join. A group that never committed begins with the oldest message there is, or `from_end` with the next."""
        self._prefix = bus.prefix
        self._mine: set[tuple[str, int]] = set()
        self._consumer = Consumer(
            client_settings(bus) | {
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "latest" if from_end else "earliest",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 6,
                "topic.metadata.refresh.interval.ms": 10_000,
                "fetch.message.max.bytes": bus.message_bytes + 10_000,
            },
            logger=_LOG,
        )  # fmt: skip
        self._consumer.subscribe(
            [bus.topic(topic) for topic in topics], on_assign=self._assigned, on_revoke=self._revoked,
            on_lost=self._revoked,
        )  # fmt: skip

    @property
    def partitions(self) -> set[tuple[str, int]]:
        """Return what this member has now."""
        return set(self._mine)

    def poll(self, most: int, timeout_s: float) -> list[Delivery]:
        """Return what came. Raises BusLost for what the client does not mend."""
        found = []
        for message in self._consumer.consume(most, timeout_s):
            error = message.error()
            if error is None:
                topic, value = message.topic() or "", message.value() or b""
                found.append(
                    Delivery(topic.removeprefix(self._prefix), message.partition() or 0, message.offset() or 0,
                             message.key(), value)
                )  # fmt: skip
            elif error.fatal():
                raise BusLost(f"Kafka: {error.str()}")
        return found

    def commit(self, taken: Sequence[Delivery]) -> None:
        """Commit behind the last of each partition that this member still has."""
        ends = {(found.topic, found.partition): found.offset + 1 for found in taken}
        offsets = [TopicPartition(self._prefix + topic, number, end) for (topic, number), end in ends.items()
                   if (topic, number) in self._mine]  # fmt: skip
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The effect is durable: what comes again is known by its mark.
            _LOG.debug("not committed: %s", error)

    def close(self) -> None:
        """Leave the group, so that the others have its partitions at once."""
        self._consumer.close()

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._mine |= {(found.topic.removeprefix(self._prefix), found.partition) for found in partitions}

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._mine -= {(found.topic.removeprefix(self._prefix), found.partition) for found in partitions}
