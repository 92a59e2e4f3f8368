"""The bus within one process: bounded partitions, groups that share them, redelivery of what was not committed.

The same promises as Kafka's, so that what runs on one runs on the other: order by key, at least once. A partition
keeps what some group has not committed; once `capacity` messages wait, publishing waits (backpressure). What is
published while no group is there is nobody's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from google_crc32c import value as crc32c

from bot4_platform.bus.transport import BusLost, Delivery, Message

PARTITIONS = 4


class _Partition:
    """Messages from `first` on, oldest first."""

    def __init__(self) -> None:
        self.first = 0
        self.kept: deque[Delivery] = deque()

    @property
    def end(self) -> int:
        return self.first + len(self.kept)


class _Group:
    """Committed offsets of the partitions a group follows, and who of its members has which."""

    def __init__(self) -> None:
        self.committed: dict[tuple[str, int], int] = {}
        self.members: list[MemorySource] = []


class MemoryBus:
    """A bus in this process; it is its own Transport, and `follow` gives Sources. Safe for threads."""

    def __init__(self, capacity: int = 10_000, partitions: int = PARTITIONS) -> None:
        self._capacity, self._count = capacity, partitions
        self._changed = threading.Condition()
        self._logs: dict[tuple[str, int], _Partition] = {}
        self._groups: dict[str, _Group] = {}
        self._waiting: deque[tuple[dict[tuple[str, int], int], Callable[[], None]]] = deque()
        self._closed = False

    def follow(self, group: str, topics: Sequence[str]) -> MemorySource:
        """Return a new member of `group`. A new group begins with what is published from now on."""
        with self._changed:
            found = self._groups.setdefault(group, _Group())
            for topic in topics:
                for number in range(self._count):
                    log = self._logs.setdefault((topic, number), _Partition())
                    found.committed.setdefault((topic, number), log.end)
            member = MemorySource(self, found)
            found.members.append(member)
            self._share(found)
            return member

    def send(self, messages: Sequence[Message], done: Callable[[], None]) -> None:
        """Publish; waits while `capacity` messages wait in one of the partitions. Raises BusLost when closed."""
        ends: dict[tuple[str, int], int] = {}
        with self._changed:
            for message in messages:
                key = message.key.encode()
                place = (message.topic, crc32c(key) % self._count)
                log = self._logs.setdefault(place, _Partition())
                while len(log.kept) >= self._capacity and not self._closed:
                    self._changed.wait()
                if self._closed:
                    raise BusLost("the bus of this process was closed")
                log.kept.append(Delivery(*place, log.end, key, message.value))
                ends[place] = log.end
                self._forget(place)
                self._changed.notify_all()
            self._waiting.append((ends, done))

    def serve(self, timeout_s: float) -> None:
        """Call back for what every group has committed."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                if self._waiting and self._committed(self._waiting[0][0]):
                    done = self._waiting.popleft()[1]
                elif self._closed or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    return
                else:
                    continue
            done()

    def lost_since(self) -> float | None:
        """Return None: a process does not lose itself."""
        return None

    def close(self, timeout_s: float) -> None:
        """Wait for the groups up to `timeout_s`; then wake up and refuse whoever publishes."""
        deadline = time.monotonic() + timeout_s
        self.serve(0)
        while self._waiting and not self._closed and time.monotonic() < deadline:
            self.serve(max(0.0, min(0.1, deadline - time.monotonic())))
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _share(self, group: _Group) -> None:
        """Spread the partitions over the members; each goes on at what was committed."""
        for member in group.members:
            member.at = {}
        for i, place in enumerate(sorted(group.committed) if group.members else ()):
            group.members[i % len(group.members)].at[place] = group.committed[place]
        self._changed.notify_all()

    def _committed(self, ends: dict[tuple[str, int], int]) -> bool:
        return all(self._low(place) >= end for place, end in ends.items())

    def _low(self, place: tuple[str, int]) -> int:
        """Return the offset up to which all groups have committed."""
        return min(
            (group.committed[place] for group in self._groups.values() if place in group.committed),
            default=self._logs[place].end,
        )

    def _forget(self, place: tuple[str, int]) -> None:
        log, low = self._logs[place], self._low(place)
        while log.kept and log.first < low:
            log.kept.popleft()
            log.first += 1


class MemorySource:
    """A member of a group of a MemoryBus."""

    def __init__(self, bus: MemoryBus, group: _Group) -> None:
        self._bus, self._group = bus, group
        self.at: dict[tuple[str, int], int] = {}  # the partitions that are this member's, and what it reads next

    def poll(self, most: int, timeout_s: float) -> list[Delivery]:
        """Return what came."""
        deadline = time.monotonic() + timeout_s
        with self._bus._changed:
            while True:
                found: list[Delivery] = []
                for place, at in self.at.items():
                    log = self._bus._logs[place]
                    fresh = [log.kept[i] for i in range(at - log.first, min(at - log.first + most, len(log.kept)))]
                    self.at[place] = at + len(fresh)
                    found += fresh
                    most -= len(fresh)
                if found or not self._bus._changed.wait(max(0.0, deadline - time.monotonic())):
                    return found

    def commit(self, taken: Sequence[Delivery]) -> None:
        """Remember the offsets of the partitions that are still this member's."""
        with self._bus._changed:
            for delivery in taken:
                place = (delivery.topic, delivery.partition)
                if place in self.at:
                    self._group.committed[place] = max(self._group.committed[place], delivery.offset + 1)
                    self._bus._forget(place)
            self._bus._changed.notify_all()

    def close(self) -> None:
        """Leave the group."""
        with self._bus._changed:
            if self in self._group.members:
                self._group.members.remove(self)
                self._bus._share(self._group)
