"""A market stream for `spin`: one polled connection after another around a FeedCore.

The rules are those of `market.stream` (age of data, jittered backoff, a breaker, snapshots asked for until the core is
content, a connection renewed before its venue cuts it); here nothing sleeps and nothing waits. Connecting takes a
thread, and snapshots come when they are there, so that `poll()` always comes back at once.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol

from bot4_live.events import StaleCause
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.binance_reader import BinanceReader
from bot4_live.market.live.connection import Sink
from bot4_live.market.live.patience import Backoff, Breaker
from bot4_live.market.live.shard import RENEWED_AT
from bot4_live.market.stream import StreamCounts, StreamTimes
from bot4_live.market.venues.dialects import BinanceDialect
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spin_link import LinkLost, SpinLink

log = logging.getLogger(__name__)


class Fetching(Protocol):
    """An answer under way: a Future, or a Task of asyncio."""

    def done(self) -> bool:
        """Return whether `result` is there."""

    def result(self) -> bytes:
        """Return the answer, or raise what went wrong."""

    def cancel(self) -> object:
        """Give up."""


class SpinStream:
    """Keeps a FeedCore fed by being polled. `poll()` never raises for what the network does.

    `now_ns` is the engine's clock, `fetch_snapshot` begins to fetch the raw depth snapshot (OSError and ValueError as
    its result are retried), `quiet` says that silence is expected. `take(wire, count)` takes the messages that a poll
    found; without one they go to the core, one by one, as they do from two connections in a renewal. `workers` connect:
    a pool of one's own if None.

    >>> pool = ThreadPoolExecutor(1)
    >>> stream = SpinStream(core, "wss://venue/stream", lambda: pool.submit(fetch_snapshot), now_ns)
    >>> while running:
    ...     stream.poll()
    >>> stream.close()
    """

    def __init__(
        self,
        core: FeedCore,
        url: str,
        fetch_snapshot: Callable[[], Fetching],
        now_ns: Callable[[], int],
        *,
        take: Callable[[SpinSocket, int], None] | None = None,
        times: StreamTimes | None = None,
        context: ssl.SSLContext | None = None,
        quiet: Callable[[], bool] = lambda: False,
        workers: Executor | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare; the first `poll()` begins to connect."""
        self.core = core
        self.counts = StreamCounts()
        self.last_error = ""
        self.url, self._context = url, context
        self._fetch_snapshot, self._now_ns, self._quiet = fetch_snapshot, now_ns, quiet
        self._take = take or self._one_by_one
        self._times = times = times or StreamTimes()
        self._random = random.Random(seed)
        self.breaker = Breaker(times, self._random)
        self._workers, self._own_workers = workers or ThreadPoolExecutor(1, "bot4-spin"), workers is None
        self._name = core.instrument.symbol.lower()
        self._reader = BinanceReader({self._name: core}, None, now_ns, times)
        self._link = self._new_link(self._reader.first())
        self._next: SpinLink | None = None
        self._merging = False  # a renewal: the reader sees each frame
        self._renew_at = float("inf")
        self._since = self._settle_at = 0.0
        self._fetching: Fetching | None = None
        self._next_fetch, self._fetch_wait = 0.0, times.snapshot_retry_s

    def _new_link(self, lane: Sink) -> SpinLink:
        times = self._times
        backoff = Backoff(times.first_backoff_s, times.longest_backoff_s, self._random)
        return SpinLink(self.url, lane, times, backoff, self.breaker, self._workers, self._context, self._quiet)

    @property
    def connected(self) -> bool:
        """Return whether a connection is open."""
        return self._link.wire is not None

    @property
    def open_s(self) -> float:
        """Return for how long the connection is open, in seconds; 0 when it is not."""
        return time.monotonic() - self._link.opened if self._link.wire is not None else 0.0

    def poll(self) -> int:
        """Take what came to the core; return how many frames. Raises what the core's consumers raise."""
        count = self._poll(self._link)
        if self._merging:
            if self._next is not None:
                count += self._poll(self._next)
            self._look(time.monotonic())
        elif self._link.looked >= self._renew_at:
            self._renew()
        if self.core.wants_snapshot or self._fetching is not None or (self._merging and self._reader.wants(self._name)):
            self._bridge()
        return count

    def _poll(self, link: SpinLink) -> int:
        wire = link.wire
        if wire is None:
            self._connect(link)
            return 0
        try:
            count = link.poll(wire)
        except LinkLost as lost:
            self._lost(link, lost)
            return 0
        if count:
            if self._merging:
                self._merge(link, wire, count)
            else:
                self._take(wire, count)
        return count

    def _one_by_one(self, wire: SpinSocket, count: int) -> None:
        on_frame, message, now_ns = self.core.on_frame, wire.framer.message, self._now_ns
        for i in range(count):
            on_frame(now_ns(), message(i))

    def _merge(self, link: SpinLink, wire: SpinSocket, count: int) -> None:
        """Let the reader judge whether the other connection has brought the frames, or will."""
        recv_ns = self._now_ns()
        for i in range(count):
            link.lane.frame(recv_ns, wire.framer.message(i))

    def _connect(self, link: SpinLink) -> None:
        try:
            opened = link.connect()
        except OSError as error:
            self.counts.failures += 1
            self.last_error = f"{self.url} cannot be reached ({error})"
            log.warning("%s", self.last_error)
            return
        if opened:
            self.counts.connects += 1
            if link is self._link:
                self._expect_end(link)
            self._next_fetch, self._fetch_wait = link.opened, self._times.snapshot_retry_s
            link.lane.opened(self._now_ns())

    def _lost(self, link: SpinLink, lost: LinkLost) -> None:
        """Say so to the core at once; connect again later, unless the other connection is there for that."""
        why = str(lost)  # who keeps log records must not keep the exception: its traceback holds a socket's buffer
        self.last_error = f"{self.url}: {why}"
        log.warning("connection lost: %s", why)
        self.counts.silences += lost.cause is StaleCause.SILENCE
        link.lane.closed(self._now_ns(), lost.cause)
        if link is self._link:
            self._renew_at = float("inf")
            if self._next is not None:
                self._renewed()

    # Renewal, as `market.live.shard` does it.

    def _expect_end(self, link: SpinLink) -> None:
        lifetime = self._times.lifetime_s or BinanceDialect.limits.lifetime_s or float("inf")
        self._renew_at = link.opened + lifetime * self._random.uniform(*RENEWED_AT)

    def _renew(self) -> None:
        self._merging, self._since, self._settle_at = True, 0.0, 0.0
        self._renew_at = float("inf")
        self._next = self._new_link(self._reader.renew())

    def _look(self, now: float) -> None:
        times, new = self._times, self._next
        if new is None:
            if now >= self._settle_at:
                self._merging = False
                self._reader.settled()
        elif new.wire is not None:
            if self._reader.left_old():
                self._since = self._since or now
                if now - self._since >= times.linger_s:
                    self._link.close()
                    self._link.lane.closed(self._now_ns(), StaleCause.DISCONNECT)
                    self._renewed()
            elif now - new.opened >= times.handover_s:
                self._reader.hurry()

    def _renewed(self) -> None:
        """The new connection takes the old one's place."""
        assert self._next is not None
        self._link, self._next = self._next, None
        self.counts.renewals += 1
        self._reader.renewed()
        self._settle_at = time.monotonic() + self._times.linger_s
        if self._link.wire is not None:
            self._expect_end(self._link)

    # Snapshots.

    def _bridge(self) -> None:
        """Fetch snapshots until the core is content."""
        now = time.monotonic()
        if self._fetching is None:
            if now >= self._next_fetch:
                self._fetching = self._fetch_snapshot()
            return
        if not self._fetching.done():
            return
        fetching, self._fetching = self._fetching, None
        try:
            raw = fetching.result()
        except (OSError, ValueError) as error:
            self.counts.snapshot_failures += 1
            log.warning("no depth snapshot: %s", error)
        else:
            self.counts.snapshots += 1
            if not self._reader.wants(self._name) or self._reader.bridged(self._name, self._now_ns(), raw):
                self._next_fetch, self._fetch_wait = now, self._times.snapshot_retry_s
                return
        self._next_fetch = now + self._fetch_wait
        self._fetch_wait = min(2 * self._fetch_wait, self._times.snapshot_slowest_s)

    def close(self) -> None:
        """Hang up; the book is stale. What is under way is given up."""
        for link in (self._next, self._link):
            if link is not None:
                was_open = link.wire is not None
                link.close(timeout_s=0.5)
                if was_open:
                    link.lane.closed(self._now_ns(), StaleCause.DISCONNECT)
        if self._fetching is not None:
            self._fetching.cancel()
        self._fetching = None
        if self._own_workers:
            self._workers.shutdown(wait=False)
