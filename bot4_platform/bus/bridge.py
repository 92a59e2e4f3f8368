"""The bridge: follows the journal and publishes it. It is never in the way of the engine, which knows nothing of it.

The journal is the buffer: the bridge reads on only as far as the bus takes messages, and what it remembers is one
place in the log before which everything was acknowledged. Killed anywhere it goes on from there; a few messages then
come twice, and a consumer knows them by their marks.
"""

from __future__ import annotations

import errno
import random
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bot4_live.journal.follow import Follower
from bot4_live.journal.layout import segment_name
from bot4_live.journal.locks import FileLock
from bot4_live.safety.durable import read_json, write_json
from bot4_platform.bus.envelope import encode, wrap
from bot4_platform.bus.schema import topic_of
from bot4_platform.bus.transport import BusLost, Message, Transport

MOST = 1_000  # records a batch
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class Place:
    """Where the bridge goes on: the next event, and (first seq of a segment, offset in it) of the next record."""

    next_seq: int
    segment: int = 0
    offset: int = 0

    @classmethod
    def read(cls, path: Path) -> Place | None:
        """Return the place kept at `path`, None when there is none yet. Raises ValueError when it is damaged."""
        found = read_json(path)
        if found is None:
            return None
        try:
            return cls(*(int(found[name]) for name in ("next_seq", "segment", "offset")))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path} is damaged; publish again with --from, consumers pass over what they have"
            ) from None


@dataclass
class _Batch:
    """Records under way: where the log goes on after them, and whether the bus has them all."""

    end: Place
    life: int  # of which transport
    done: bool = False


@dataclass
class Counts:
    """What a bridge did so far."""

    records: int = 0  # read from the journal
    messages: int = 0  # handed to the bus
    acknowledged_seq: int = 0  # every event up to this one is safe
    omitted: int = 0  # too large: only their header was sent
    restarts: int = 0  # fresh transports after a lost one


class Bridge:
    """Publishes one journal; a process holds the account's bridge alone, so that order is kept."""

    def __init__(
        self, journal: Path, connect: Callable[[], Transport], state: Path | None, *,
        begin: int | None = None, message_bytes: int = 900_000,
    ) -> None:  # fmt: skip
        """Go on at the place kept in `state`, or at event `begin`; without either at the journal's first.

        Without `state` nothing is kept, and other processes may publish the same elsewhere.

        Raises BlockingIOError when another process publishes this journal, ValueError when the journal no longer has
        the next event (or never had the last one).
        """
        self.counts, self._journal, self._state = Counts(), journal, state
        self._connect, self._message_bytes = connect, message_bytes
        self._transport: Transport | None = None
        self._follower: Follower | None = None
        self._saved: Place | None = None
        self._failures = 0
        self._lock = FileLock(state.with_suffix(".lock")) if state else None
        if self._lock and not self._lock.acquire():
            raise BlockingIOError(
                errno.EAGAIN, f"process {self._lock.holder()} publishes {journal} already; stop it first"
            )
        try:
            kept = Place.read(state) if state and begin is None else None
            self._acknowledged = kept or Place(begin or self._oldest() or 1)
            self._rewind()
        except ValueError:
            self.close()
            raise

    def _oldest(self) -> int:
        return min((int(path.stem.removeprefix("seg-")) for path in self._journal.glob("seg-*.b4j")), default=0)

    def _rewind(self) -> None:
        self._batches: deque[_Batch] = deque()
        place = self._acknowledged
        last = self._journal / segment_name(place.segment)
        if last.with_suffix(".seal.json").exists() and last.stat().st_size < place.offset:
            raise ValueError(
                f"{last} ends before what was published (a power cut takes what was not synced): publish again with "
                f"--from {place.segment}; consumers keep what they got first"
            )
        if place.next_seq < self._oldest():
            raise ValueError(
                f"{self._journal} begins with event {self._oldest()}, the bus has all before {place.next_seq}: restore "
                f"the segments between, or leave them out with --from {self._oldest()}"
            )
        self._follower = Follower(self._journal, place.next_seq, (place.segment, place.offset), commands=True)

    def step(self, most: int = MOST) -> int:
        """Publish what the journal has, at most `most` records; return how many were read, 0 when it has no more now.

        Raises BusLost after which `step` begins again with a fresh transport, in `wait_s` seconds at best.
        """
        if self._transport is None:
            self._transport = self._connect()
        try:
            self._transport.serve(0)
            # At a segment's end one look finds nothing, and the next is into the following one.
            read = self._publish(self._transport, most) or self._publish(self._transport, most)
        except BusLost:
            self._drop()
            raise
        return read

    def _publish(self, transport: Transport, most: int) -> int:
        follower = self._follower
        assert follower is not None
        data, offsets = follower.read(most)
        if not offsets.size:
            return 0
        segment = follower.header
        assert segment is not None
        markets, raw = segment.markets, data.tobytes()
        messages = []
        for at in offsets.tolist():
            record = raw[at : at + int.from_bytes(raw[at : at + 4], "little")]
            kind, seq = record[8], int.from_bytes(record[16:24], "little")
            topic = topic_of(kind)
            if topic is None:
                continue
            envelope = wrap(record, kind, seq, segment, markets, self._message_bytes)
            self.counts.omitted += envelope.omitted
            messages.append(Message(topic, envelope.key, encode(envelope)))
        batch = _Batch(Place(follower.next_seq, *follower.position), self.counts.restarts)
        self._batches.append(batch)
        self.counts.records += offsets.size
        self.counts.messages += len(messages)
        transport.send(messages, lambda: self._done(batch))
        return int(offsets.size)

    def _done(self, batch: _Batch) -> None:
        if batch.life != self.counts.restarts:
            return
        batch.done, self._failures = True, 0
        while self._batches and self._batches[0].done:
            self._acknowledged = self._batches.popleft().end
            self.counts.acknowledged_seq = self._acknowledged.next_seq - 1

    def idle(self, timeout_s: float) -> None:
        """Wait a little for acknowledgements, and remember them. Raises BusLost."""
        if self._transport is not None:
            try:
                self._transport.serve(timeout_s)
            except BusLost:
                self._drop()
                raise
        self.save()

    def save(self) -> None:
        """Write down the place up to which everything was acknowledged."""
        if self._state and self._acknowledged != self._saved:
            write_json(self._state, asdict(self._acknowledged))
            self._saved = self._acknowledged

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close(0)
        self._transport = None
        self._failures += 1
        self.counts.restarts += 1
        self._rewind()

    @property
    def waiting(self) -> int:
        """Return how many batches the bus has not acknowledged."""
        return len(self._batches)

    @property
    def wait_s(self) -> float:
        """Return how long to wait after BusLost: twice as long each time, up to half a minute, a part by chance."""
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** max(0, self._failures - 1))
        return longest * random.uniform(0.5, 1.0)

    @property
    def lost_since(self) -> float | None:
        """Return since when (time.monotonic) no broker answers."""
        return self._transport.lost_since() if self._transport is not None else None

    def close(self, timeout_s: float = 10.0) -> None:
        """Wait for what is under way, remember what was acknowledged, and let go of the lock."""
        if self._transport is not None:
            self._transport.close(timeout_s)
        if self._follower is not None:
            self.save()
            self._follower.close()
        if self._lock:
            self._lock.release()
