"""What a bus is to those who publish and to those who follow: the process's own, or Kafka."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What is published: `value` is an encoded Envelope."""

    topic: str
    key: str
    value: bytes


class Delivery(NamedTuple):
    """What is received, and where it lay. `key` is None and `value` anything where others publish as well."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes


class BusLost(OSError):
    """The bus failed for good: whoever publishes begins again with a fresh one from what was acknowledged last."""


class Transport(Protocol):
    """The publishing side. Messages of one key keep their order."""

    def send(self, messages: Sequence[Message], done: Callable[[], None]) -> None:
        """Take messages, waiting while too many are under way; `done` is called once when the bus has all of them.

        Raises BusLost.
        """

    def serve(self, timeout_s: float) -> None:
        """Let `done` be called, and wait up to `timeout_s` for it. Raises BusLost."""

    def lost_since(self) -> float | None:
        """Return since when (time.monotonic) no broker answers, None while one does."""

    def close(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what is under way; then let go of the rest."""


class Source(Protocol):
    """The following side: a member of a group, which shares the partitions among its members."""

    def poll(self, most: int, timeout_s: float) -> list[Delivery]:
        """Return what came, in order within a partition; none after `timeout_s`."""

    def commit(self, taken: Sequence[Delivery]) -> None:
        """Say that the effect of these is durable: they do not come again."""

    def close(self) -> None:
        """Leave the group; what was not committed comes again, to whoever takes over."""
