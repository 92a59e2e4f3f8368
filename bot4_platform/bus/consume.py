"""Following topics: what came, its effect, then the offsets. What cannot be used is put aside, with its reason."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from bot4_live.safety.durable import append_line
from bot4_platform.bus.envelope import BadMessage, Envelope, decode
from bot4_platform.bus.transport import Delivery, Source

MOST = 1_000
RAW_BYTES = 65_536  # of a message put aside that are kept


class Sink(Protocol):
    """Where messages have their effect."""

    def take(self, topic: str, partition: int, messages: Sequence[Envelope]) -> int:
        """Apply the messages that are new, durably, before this returns; return how many were.

        Messages come at least once and in order by key; a sink keeps its marks with its effect, and both change
        together or not at all. Raises ValueError for a message that can never be applied, OSError when it is the
        sink that cannot now; then nothing is committed.
        """


class Quarantine:
    """The quarantine: one JSON line a message that could not be used."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def add(self, found: Delivery, reason: str) -> None:
        """Keep a message, where it lay and why it was put aside; durable when this returns."""
        line = {
            "topic": found.topic, "partition": found.partition, "offset": found.offset,
            "key": (found.key or b"").decode("utf-8", "backslashreplace"), "reason": reason, "bytes": len(found.value),
            "first_seen_ns": time.time_ns(), "raw": base64.b64encode(found.value[:RAW_BYTES]).decode(),
        }  # fmt: skip
        append_line(self.path, json.dumps(line).encode())
        self.count += 1


@dataclass
class Taken:
    """What a consumer did so far."""

    received: int = 0
    applied: int = 0
    known: int = 0  # came again, passed over
    quarantined: int = 0


def take_once(source: Source, sink: Sink, quarantine: Quarantine, taken: Taken, timeout_s: float = 0.5) -> int:
    """Receive once, let `sink` take it, then commit; return how many messages came. Raises OSError."""
    came = source.poll(MOST, timeout_s)
    for (topic, partition), found in groupby(came, lambda d: (d.topic, d.partition)):
        _apply(topic, partition, list(found), sink, quarantine, taken)
    if came:
        source.commit(came)
        taken.received += len(came)
    return len(came)


def follow(source: Source, sink: Sink, quarantine: Quarantine, stop: Callable[[Taken], bool]) -> Taken:
    """Take what comes until `stop` says so, which is asked after each look; leave the group, also after an error."""
    taken = Taken()
    try:
        while not stop(taken):
            take_once(source, sink, quarantine, taken)
    finally:
        source.close()
    return taken


def _apply(topic: str, partition: int, found: list[Delivery], sink: Sink, quarantine: Quarantine, taken: Taken) -> None:
    good: list[tuple[Delivery, Envelope]] = []
    for delivery in found:
        try:
            good.append((delivery, decode(delivery.value)))
        except BadMessage as error:
            _put_aside(delivery, error, quarantine, taken)
    try:
        applied = sink.take(topic, partition, [envelope for _, envelope in good])
        taken.applied += applied
        taken.known += len(good) - applied
        return
    except ValueError as error:
        if len(good) == 1:
            _put_aside(good[0][0], error, quarantine, taken)
            return
    for delivery, envelope in good:  # one of them is to blame
        try:
            applied = sink.take(topic, partition, [envelope])
        except ValueError as error:
            _put_aside(delivery, error, quarantine, taken)
        else:
            taken.applied += applied
            taken.known += 1 - applied


def _put_aside(delivery: Delivery, error: ValueError, quarantine: Quarantine, taken: Taken) -> None:
    quarantine.add(delivery, str(error))
    taken.quarantined += 1
