"""A market stream for `spin`: one polled connection after another around a FeedCore.

The rules are those of `market.stream` (age of data, jittered backoff, snapshots asked for until the core is content);
here nothing sleeps and nothing waits. Connecting takes a thread, and snapshots come when they are there, so that
`poll()` always comes back at once.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from bot4_live.market.feed_core import FeedCore
from bot4_live.market.stream import MAX_FRAME, StreamCounts, StreamTimes
from bot4_live.wire.spin import SocketClosed, SpinSocket

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
    found; without one they go to the core, one by one. `workers` connect: a pool of one's own if None.

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
        self._times = times or StreamTimes()
        self._random = random.Random(seed)
        self._workers, self._own_workers = workers or ThreadPoolExecutor(1, "bot4-spin"), workers is None
        self._wire: SpinSocket | None = None
        self._connecting: Future[SpinSocket] | None = None
        self._fetching: Fetching | None = None
        self._backoff = self._times.first_backoff_s
        self._next_connect = self._next_fetch = self._opened = self._heard = self._pinged = 0.0
        self._fetch_wait = self._times.snapshot_retry_s
        self._pongs = -1  # how many there were when the ping that waits for its answer was sent; -1: none waits

    @property
    def connected(self) -> bool:
        """Return whether a connection is open."""
        return self._wire is not None

    @property
    def open_s(self) -> float:
        """Return for how long the connection is open, in seconds; 0 when it is not."""
        return time.monotonic() - self._opened if self._wire is not None else 0.0

    def poll(self) -> int:
        """Take what came to the core; return how many frames. Raises what the core's consumers raise."""
        wire = self._wire
        if wire is None:
            self._connect()
            return 0
        try:
            count = wire.poll()
        except SocketClosed as closed:
            self._lost(str(closed))
            return 0
        if count:
            self._heard = time.monotonic()
            self._take(wire, count)
        else:
            self._watch(wire)
        if self.core.wants_snapshot or self._fetching is not None:
            self._bridge()
        return count

    def _one_by_one(self, wire: SpinSocket, count: int) -> None:
        on_frame, message, now_ns = self.core.on_frame, wire.framer.message, self._now_ns
        for i in range(count):
            on_frame(now_ns(), message(i))

    def _connect(self) -> None:
        """Begin to connect when it is time; take over the connection when it is there."""
        now = time.monotonic()
        if self._connecting is None:
            if now >= self._next_connect:
                self._connecting = self._workers.submit(self._open)
            return
        if not self._connecting.done():
            return
        connecting, self._connecting = self._connecting, None
        try:
            self._wire = connecting.result()
        except OSError as error:
            self.counts.failures += 1
            self.last_error = f"{self.url} cannot be reached ({error})"
            log.warning("%s", self.last_error)
            self._back_off(now)
            return
        self.counts.connects += 1
        self._opened = self._heard = self._pinged = now
        self._next_fetch, self._fetch_wait, self._pongs = now, self._times.snapshot_retry_s, -1
        self.core.on_connect(self._now_ns())

    def _open(self) -> SpinSocket:
        return SpinSocket.connect(
            self.url, timeout_s=self._times.open_timeout_s, context=self._context, max_message=MAX_FRAME
        )

    def _back_off(self, now: float) -> None:
        self._next_connect = now + self._random.uniform(0, self._backoff)
        self._backoff = min(2 * self._backoff, self._times.longest_backoff_s)

    def _watch(self, wire: SpinSocket) -> None:
        """Drop a connection that is silent, or whose peer does not answer pings."""
        now, times = time.monotonic(), self._times
        if self._quiet():
            self._heard = now
        elif now - self._heard > times.silence_s:
            self.counts.silences += 1
            self.core.on_silence(self._now_ns())
            wire.abort()  # the peer may be gone: nobody waits for its half of the closing handshake
            self._lost(f"nothing came for {times.silence_s:.1f} s on an open connection")
            return
        if self._pongs >= 0 and wire.pongs > self._pongs:
            self._pongs = -1
        if self._pongs >= 0:
            if now - self._pinged > times.ping_timeout_s:
                wire.abort()
                self._lost(f"a ping was not answered for {times.ping_timeout_s:.1f} s")
        elif now - self._pinged > times.ping_s:
            self._pinged, self._pongs = now, wire.pongs
            try:
                wire.ping()
            except SocketClosed as closed:
                self._lost(str(closed))

    def _lost(self, why: str) -> None:
        """Say so to the core at once, and connect again later."""
        self.last_error = f"{self.url}: {why}"
        log.warning("connection lost: %s", why)
        self._wire = None
        self.core.on_disconnect(self._now_ns())
        now = time.monotonic()
        if now - self._opened >= self._times.stable_s:
            self._backoff = self._times.first_backoff_s
        self._back_off(now)

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
            if self.core.wants_snapshot:
                self.core.on_snapshot(self._now_ns(), raw)
            if not self.core.wants_snapshot:
                self._next_fetch, self._fetch_wait = now, self._times.snapshot_retry_s
                return
        self._next_fetch = now + self._fetch_wait
        self._fetch_wait = min(2 * self._fetch_wait, self._times.snapshot_slowest_s)

    def close(self) -> None:
        """Hang up; the book is stale. What is under way is given up."""
        if self._wire is not None:
            self._wire.close(timeout_s=0.5)
            self._wire = None
            self.core.on_disconnect(self._now_ns())
        if self._fetching is not None:
            self._fetching.cancel()
        if self._connecting is not None and not self._connecting.cancel():
            self._connecting.add_done_callback(_hang_up)
        self._fetching = self._connecting = None
        if self._own_workers:
            self._workers.shutdown(wait=False)


def _hang_up(connecting: Future[SpinSocket]) -> None:
    """End a connection that came too late."""
    with suppress(OSError):
        connecting.result().abort()
