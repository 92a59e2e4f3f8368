"""One connection to a venue, opened again and again: heartbeats, silence, backoff, breaker; what it carries goes on.

A socket that is up proves nothing, the age of what came over it does: when nothing came for longer than the silence
limit, the connection is dropped. What a frame says is the sink's business; only control frames are looked at here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI

from bot4_live.events import StaleCause
from bot4_live.market.live.meter import Meter
from bot4_live.market.live.patience import Backoff, Breaker, Pacer, StreamTimes
from bot4_live.market.live.status import State, public_url
from bot4_live.market.venues.dialects import NO_CHANNEL, Channel, Dialect, VenueLimits
from bot4_live.wire.event_socket import EventSocket

log = logging.getLogger(__name__)

MAX_FRAME = 16 << 20
_TICK_S = 0.1  # how often silence, heartbeats and the sink's wishes are looked at, at least


class Sink(Protocol):
    """What a connection carries its frames to. What these raise ends the connection's `run()`."""

    def opened(self, recv_ns: int) -> list[bytes]:
        """Take that the connection is open; return what to send."""

    def frame(self, recv_ns: int, raw: bytes) -> list[bytes]:
        """Take one frame; return what to send."""

    def tick(self) -> list[bytes]:
        """Return what is due to be sent; called several times a second while the connection is open."""

    def closed(self, recv_ns: int, cause: StaleCause) -> None:
        """Take that the connection is gone."""


@dataclass
class Tally:
    """What happened to the connections that follow each other in one place."""

    connects: int = 0
    failures: int = 0
    silences: int = 0
    renewals: int = 0
    frames: int = 0
    bytes: int = 0
    last_frame_ns: int = 0
    last_error: str = ""


@dataclass
class Surroundings:
    """What the connections of a pool share. `quiet` says that silence is expected, `on_batch` runs after frames.

    While there is no `room` (a journal that cannot keep up) sockets are not read: the venue waits, nothing is lost.
    """

    now_ns: Callable[[], int]
    times: StreamTimes
    breaker: Breaker
    connects: Pacer
    messages: Pacer
    rng: random.Random
    quiet: Callable[[], bool] = lambda: False
    on_batch: Callable[[], None] | None = None
    room: Callable[[], bool] = lambda: True
    renewing: str = ""  # the shard that is
    overdue: dict[str, float] = field(default_factory=dict)  # since when shards wait to be renewed, CLOCK_MONOTONIC, s


def surroundings(
    limits: VenueLimits,
    now_ns: Callable[[], int],
    times: StreamTimes,
    rng: random.Random,
    *,
    quiet: Callable[[], bool] = lambda: False,
    on_batch: Callable[[], None] | None = None,
    room: Callable[[], bool] = lambda: True,
) -> Surroundings:
    """Return the surroundings of connections to a venue of these limits."""
    breaker, connects, messages = Breaker(times, rng), Pacer(*limits.connects), Pacer(*limits.messages)
    return Surroundings(now_ns, times, breaker, connects, messages, rng, quiet, on_batch, room)


class Connection:
    """Keeps one address connected. `run()` ends when `stop()` was called, or when `retire()`d and the socket is gone.

    `run()` never raises for what the network does, only what the sink raises.
    """

    def __init__(self, name: str, url: str, sink: Sink, dialect: Dialect, around: Surroundings, tally: Tally) -> None:
        """Prepare; nothing is opened before `run()`."""
        self.name, self.url = name, url
        self.state = State.CLOSED
        self.opened_at = 0.0  # monotonic, 0 while it is not open
        self.leaving = False  # the venue has said that it will close it
        self.connected = asyncio.Event()
        self.meters: dict[Channel, Meter] = {}
        self.tally = tally
        self._sink, self._dialect, self._around = sink, dialect, around
        times = around.times
        beat = times.heartbeat_s if times.heartbeat_s is not None else dialect.heartbeat_s
        self._heartbeat_s = beat
        self._silence_s = max(times.silence_s, 2.5 * beat) if beat else times.silence_s
        self._backoff = Backoff(times.first_backoff_s, times.longest_backoff_s, around.rng)
        self._stopping = asyncio.Event()
        self._retired = False
        self._outbox: deque[bytes] = deque()
        self._to_send = asyncio.Event()
        self._heard = 0.0
        self._spoke = False  # data came over this socket
        self._fatal: BaseException | None = None

    def stop(self) -> None:
        """End `run()` soon."""
        self._stopping.set()

    def retire(self) -> None:
        """Do not connect again once this socket is gone; without one, end at once."""
        self._retired = True
        if not self.opened_at:
            self._stopping.set()

    def send(self, frames: Iterable[bytes]) -> None:
        """Queue frames; they leave at the pace that the venue allows, and are forgotten when the connection ends."""
        self._outbox.extend(frames)
        if self._outbox:
            self._to_send.set()

    async def run(self) -> None:
        """Connect, read, connect again until stopped."""
        times, breaker = self._around.times, self._around.breaker
        try:
            while await self._permitted():
                began = time.monotonic()
                await self._once()
                lasted = time.monotonic() - began
                if self._stopping.is_set() or self._retired:
                    return
                if lasted >= times.stable_s and (self._spoke or self._around.quiet()):
                    self._backoff.reset()
                else:
                    breaker.failed(self)
                self.state = State.BACKING_OFF
                await self._pause(self._backoff.next())
        finally:
            breaker.left(self)
            self.state = State.CLOSED

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _permitted(self) -> bool:
        """Wait for breaker and rate limit; return False when stopped meanwhile."""
        while not self._stopping.is_set():
            wait = self._around.breaker.wait_s(self)
            if wait <= 0:
                await self._pause(self._around.connects.take())
                break
            self.state = State.BREAKER_OPEN
            await self._pause(wait)
        return not self._stopping.is_set()

    async def _once(self) -> None:
        """Open one connection and read it to its end."""
        self.state, self._spoke, self.leaving = State.CONNECTING, False, False
        socket = await self._open()
        if socket is None:
            return
        self.tally.connects += 1
        self._heard = self.opened_at = time.monotonic()
        self.state = State.OPEN
        self._outbox.clear()
        cause = [StaleCause.DISCONNECT]
        around, helpers = self._around, []
        try:
            self.send(self._dialect.hello())
            self.send(self._sink.opened(around.now_ns()))
            self.connected.set()
            helpers = [self._spawn(work, socket) for work in (self._guard(socket, cause), self._sender(socket))]
            await self._read(socket)
            if self._fatal is not None:
                raise self._fatal
        finally:
            self.connected.clear()
            self.opened_at = 0.0
            for meter in self.meters.values():
                meter.interrupt()
            for helper in helpers:
                await _cancel(helper)
            try:
                self._sink.closed(around.now_ns(), cause[0])
                if around.on_batch is not None:
                    around.on_batch()
            finally:
                await socket.close()

    async def _open(self) -> EventSocket | None:
        """Return an open socket, or None when there is none or nobody wants one any more."""
        opening = asyncio.create_task(self._connect())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([opening, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(stopping)
            await _cancel(opening)
        return None if opening.cancelled() else opening.result()

    async def _connect(self) -> EventSocket | None:
        times = self._around.times
        try:
            socket = await connect(
                self.url,
                create_connection=EventSocket,
                compression=None,
                proxy=None,  # a proxy of the environment is not for the market: it would see and delay every frame
                ping_interval=None,  # see _guard: the library wants its pong in time, however much lies before it
                open_timeout=times.open_timeout_s,
                close_timeout=1.0,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, InvalidURI) as error:
            self.tally.failures += 1
            self.tally.last_error = f"{public_url(self.url)} cannot be reached ({error})"
            log.warning("%s: %s", self.name, self.tally.last_error)
            return None
        assert isinstance(socket, EventSocket)
        return socket

    def _spawn(self, work: Coroutine[Any, Any, None], socket: EventSocket) -> asyncio.Task[None]:
        """Start a task whose failure ends the connection and `run()`; without this it would go unheard."""
        task = asyncio.create_task(work)

        def done(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and (error := ended.exception()) is not None:
                self._fatal = error
                socket.transport.abort()

        task.add_done_callback(done)
        return task

    async def _read(self, socket: EventSocket) -> None:
        """Let frames be taken as they come, until the connection ends."""
        around = self._around
        socket.start(self._take, max_message=MAX_FRAME, after=around.on_batch or _nothing, room=around.room)
        await socket.ended()
        closed = socket.protocol.close_exc
        self.tally.last_error = f"{public_url(self.url)}: {closed}"
        if not self._stopping.is_set():
            log.warning("%s: connection lost: %s", self.name, closed)

    def _take(self, raw: bytes) -> None:
        """Take one frame: first what it says, then what it says of the connection."""
        recv_ns = self._around.now_ns()
        wishes = self._sink.frame(recv_ns, raw)
        mono_ns, tally = time.monotonic_ns(), self.tally
        self._heard = mono_ns / 1e9
        tally.frames += 1
        tally.bytes += len(raw)
        tally.last_frame_ns = recv_ns
        channel = self._dialect.channel(raw)
        if channel is NO_CHANNEL:
            self._control(raw)
        else:
            meter = self.meters.get(channel)
            if meter is None:
                meter = self.meters[channel] = Meter()
            meter.hear(mono_ns)
            self._spoke = True
        if wishes:
            self.send(wishes)

    def _control(self, raw: bytes) -> None:
        answer = self._dialect.answer(raw)
        if answer is not None:
            self.send([answer])
        self.leaving |= self._dialect.leaving(raw)

    async def _sender(self, socket: EventSocket) -> None:
        """Send what waits, no faster than the venue takes it."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while self._outbox:
                    await self._around.messages.turn()
                    await socket.send(self._outbox[0], text=True)
                    self._outbox.popleft()

    async def _guard(self, socket: EventSocket, cause: list[StaleCause]) -> None:
        """Ping, drop the connection when it is silent, end it when it is to stop.

        In a burst, and while the journal has no room, a pong waits behind data that is not read yet: only a peer that
        sends nothing at all owes one.
        """
        times = self._around.times
        tick_s = min(_TICK_S, self._silence_s / 4)
        pinged = looked = asked = excused = time.monotonic()
        pong: asyncio.Future[float] | None = None
        with contextlib.suppress(ConnectionClosed):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), tick_s)
                    await socket.close()
                    return
                self.send(self._sink.tick())
                now = time.monotonic()
                stood_still = max(now - looked - 2 * tick_s, 0.0)  # while this process does, nobody is silent
                self._heard += stood_still
                asked += stood_still
                looked = now
                if socket.waiting:  # nobody listens
                    self._heard = now
                if self._outbox or self._around.quiet():  # who has not asked yet need not be answered
                    excused = now
                if now - max(self._heard, excused) > self._silence_s:
                    self.tally.silences += 1
                    log.warning("%s: nothing came for %.1f s on an open connection", self.name, self._silence_s)
                    cause[0] = StaleCause.SILENCE
                    # The peer may be gone: do not wait for its half of the closing handshake.
                    socket.transport.abort()
                    return
                if pong is not None and pong.done():
                    pong = None
                if pong is not None and now - max(self._heard, asked) > times.ping_timeout_s:
                    log.warning("%s: a ping was not answered for %.1f s", self.name, times.ping_timeout_s)
                    socket.transport.abort()
                    return
                if pong is None and now - asked >= times.ping_s:
                    asked = now
                    pong = asyncio.ensure_future(await socket.ping())
                if now - self.opened_at >= times.stable_s and self._spoke:
                    self._around.breaker.lasted(self)
                if self._heartbeat_s and now - pinged >= self._heartbeat_s and (ping := self._dialect.ping()):
                    pinged = now
                    await socket.send(ping, text=True)


def _nothing() -> None:
    """Run after frames where nobody wants to know of them."""


async def _cancel(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
