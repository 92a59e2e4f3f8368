"""The market stream: one WebSocket connection after another around a FeedCore.

A socket that is up proves nothing, the age of its data does: when nothing came for `silence_s` the connection is
dropped and the book is stale. Reconnects wait with full jitter between 0 and a limit that doubles from 100 ms to
30 s (Brooker, "Exponential Backoff And Jitter", AWS 2015) and starts again after a connection that lasted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI

from bot4_live.market.feed_core import FeedCore

log = logging.getLogger(__name__)

MAX_FRAME = 16 << 20


@dataclass(frozen=True)
class StreamTimes:
    """Patience of a stream, in real seconds."""

    first_backoff_s: float = 0.1
    longest_backoff_s: float = 30.0
    stable_s: float = 5.0  # a connection that lasted this long resets the backoff
    silence_s: float = 10.0
    ping_s: float = 10.0
    ping_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    snapshot_retry_s: float = 0.25
    snapshot_slowest_s: float = 5.0


@dataclass
class StreamCounts:
    """What happened to the connections."""

    connects: int = 0
    failures: int = 0
    silences: int = 0
    snapshots: int = 0
    snapshot_failures: int = 0


class MarketStream:
    """Keeps a FeedCore fed. `run()` ends when `stop()` was called; it never raises for what the network does.

    `now_ns` is the engine's clock, `fetch_snapshot` returns the raw depth snapshot (any exception is retried),
    `on_batch` runs after frames were taken (to let a sequencer advance), `quiet` says that silence is expected, e.g.
    while a replayed market is paused.
    """

    def __init__(
        self,
        core: FeedCore,
        url: str,
        fetch_snapshot: Callable[[], Awaitable[bytes]],
        now_ns: Callable[[], int],
        *,
        times: StreamTimes | None = None,
        on_batch: Callable[[], None] | None = None,
        quiet: Callable[[], bool] = lambda: False,
        seed: int | None = None,
    ) -> None:
        """Prepare; nothing is opened before `run()`."""
        self.core = core
        self.counts = StreamCounts()
        self.connected = asyncio.Event()
        self.last_error = ""
        self.url = url
        self._opened = 0.0
        self._fetch_snapshot = fetch_snapshot
        self._now_ns = now_ns
        self._times = times or StreamTimes()
        self._on_batch = on_batch
        self._quiet = quiet
        self._random = random.Random(seed)
        self._stopping = asyncio.Event()
        self._heard = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._fatal: BaseException | None = None

    @property
    def open_s(self) -> float:
        """Return for how long the connection is open, in seconds; 0 when it is not."""
        return time.monotonic() - self._opened if self.connected.is_set() else 0.0

    def stop(self) -> None:
        """End `run()` soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Connect, read, reconnect until stopped. Raises what the core's consumers raise, e.g. a full disk."""
        limit = self._times.first_backoff_s
        while not self._stopping.is_set():
            opened = time.monotonic()
            await self._connection()
            if self._stopping.is_set():
                return
            if time.monotonic() - opened >= self._times.stable_s:
                limit = self._times.first_backoff_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._random.uniform(0, limit))
            limit = min(limit * 2, self._times.longest_backoff_s)

    async def _connection(self) -> None:
        """Open one connection and read it to its end."""
        try:
            socket = await connect(
                self.url,
                compression=None,
                proxy=None,  # a proxy of the environment is not for the market: it would see and delay every frame
                ping_interval=self._times.ping_s,
                ping_timeout=self._times.ping_timeout_s,
                open_timeout=self._times.open_timeout_s,
                close_timeout=1.0,
                max_size=MAX_FRAME,
                max_queue=1024,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, InvalidURI) as error:
            self.counts.failures += 1
            self.last_error = f"{self.url} cannot be reached ({error})"
            log.warning("%s", self.last_error)
            return
        self.counts.connects += 1
        self._heard = self._opened = time.monotonic()
        self.core.on_connect(self._now_ns())
        self.connected.set()
        guard = self._spawn(self._guard(socket), socket)
        try:
            await self._read(socket)
            if self._fatal is not None:
                raise self._fatal
        finally:
            self.connected.clear()
            await _cancel(guard)
            await _cancel(self._fetching)
            self._fetching = None
            self.core.on_disconnect(self._now_ns())
            if self._on_batch is not None:
                self._on_batch()
            await socket.close()

    def _spawn(self, work: Coroutine[Any, Any, None], socket: ClientConnection) -> asyncio.Task[None]:
        """Start a task whose failure ends the connection and `run()`; without this it would go unheard."""
        task = asyncio.create_task(work)

        def done(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and (error := ended.exception()) is not None:
                self._fatal = error
                socket.transport.abort()

        task.add_done_callback(done)
        return task

    async def _read(self, socket: ClientConnection) -> None:
        core, now_ns, on_batch = self.core, self._now_ns, self._on_batch
        try:
            while True:
                message = await socket.recv(decode=False)
                self._heard = time.monotonic()
                core.on_frame(now_ns(), message)
                if core.wants_snapshot and self._fetching is None:
                    self._fetching = self._spawn(self._bridge(), socket)
                if on_batch is not None:
                    on_batch()
        except ConnectionClosed as closed:
            self.last_error = f"{self.url}: {closed}"
            if not self._stopping.is_set():
                log.warning("connection lost: %s", closed)

    async def _bridge(self) -> None:
        """Fetch snapshots until the core is content."""
        wait = self._times.snapshot_retry_s
        try:
            while self.core.wants_snapshot:
                try:
                    raw = await self._fetch_snapshot()
                except (OSError, TimeoutError, ValueError) as error:
                    self.counts.snapshot_failures += 1
                    log.warning("no depth snapshot: %s", error)
                else:
                    self.counts.snapshots += 1
                    self.core.on_snapshot(self._now_ns(), raw)
                    if not self.core.wants_snapshot:
                        return
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._times.snapshot_slowest_s)
        finally:
            self._fetching = None

    async def _guard(self, socket: ClientConnection) -> None:
        """Drop the connection when it is silent, or when the stream is to stop."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._times.silence_s / 4)
                await socket.close()
                return
            if self._quiet():
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > self._times.silence_s:
                self.counts.silences += 1
                log.warning("nothing came for %.1f s on an open connection: reconnecting", self._times.silence_s)
                self.core.on_silence(self._now_ns())
                # The peer may be gone: do not wait for its half of the closing handshake.
                socket.transport.abort()
                return


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
