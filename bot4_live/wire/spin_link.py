"""One polled connection: a thread opens it, and it is dropped when it is silent or its peer does not answer pings."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress

from bot4_live.events import StaleCause
from bot4_live.market.live.connection import MAX_FRAME, Sink
from bot4_live.market.live.patience import Backoff, Breaker, StreamTimes
from bot4_live.wire.spin import SocketClosed, SpinSocket

_TICK_S = 0.1  # between two polls; while it takes longer, it is we who stand still


class LinkLost(ConnectionError):
    """An open connection has ended; `cause` is what to say of its books."""

    def __init__(self, why: str, cause: StaleCause = StaleCause.DISCONNECT) -> None:
        """Keep both."""
        super().__init__(why)
        self.cause = cause


class SpinLink:
    """One address, connected again and again by whoever polls. `lane` is where its frames go in a renewal.

    `wire` is None while it is not open; times are monotonic, in seconds. Nothing here waits.
    """

    def __init__(
        self,
        url: str,
        lane: Sink,
        times: StreamTimes,
        backoff: Backoff,
        breaker: Breaker,
        workers: Executor,
        context: ssl.SSLContext | None,
        quiet: Callable[[], bool],
    ) -> None:
        """Prepare; the first `connect` begins."""
        self.lane = lane
        self.wire: SpinSocket | None = None
        self.opened = 0.0
        self.looked = 0.0  # when nothing had come, and all was well
        self._url, self._times, self._context, self._quiet = url, times, context, quiet
        self._backoff, self._breaker, self._workers = backoff, breaker, workers
        self._proven = False  # it lasted, and spoke
        self._connecting: Future[SpinSocket] | None = None
        self._not_before = self._heard = self._pinged = 0.0
        self._came = 0.0  # when messages last came over this socket, 0 when none did
        self._polled = 0.0
        self._pongs = -1  # how many there were when the ping that waits for its answer was sent; -1: none waits

    def connect(self) -> bool:
        """Begin to connect when it is time; return whether it is open now. Raises OSError when it could not be."""
        now = time.monotonic()
        if self._connecting is None:
            if now >= self._not_before and self._permitted(now):
                self._connecting = self._workers.submit(self._open)
            return False
        if not self._connecting.done():
            return False
        connecting, self._connecting = self._connecting, None
        try:
            self.wire = connecting.result()
        except OSError:
            self._breaker.failed(self)
            self._not_before = now + self._backoff.next()
            raise
        self.opened = self.looked = self._heard = self._pinged = self._polled = now
        self._came, self._pongs, self._proven = 0.0, -1, False
        return True

    def _permitted(self, now: float) -> bool:
        """Ask the breaker, not before it said to."""
        wait = self._breaker.wait_s(self)
        self._not_before = now + wait
        return wait <= 0.0

    def _open(self) -> SpinSocket:
        return SpinSocket.connect(
            self._url, timeout_s=self._times.open_timeout_s, context=self._context, max_message=MAX_FRAME
        )

    def poll(self, wire: SpinSocket) -> int:
        """Return how many messages `wire`, which is ours, has. Raises LinkLost, and is to be connected again then."""
        try:
            count = wire.poll()
            if count:
                self._heard = self._came = self._polled = time.monotonic()
            else:
                self._watch(wire)
        except SocketClosed as closed:
            self._lost()
            raise LinkLost(str(closed)) from None
        return count

    def _watch(self, wire: SpinSocket) -> None:
        """Drop a connection that is silent, or whose peer does not answer pings."""
        now, times = time.monotonic(), self._times
        stood_still = max(now - self._polled - _TICK_S, 0.0)  # while this process does, nobody is silent
        self._heard += stood_still
        self._pinged += stood_still
        self.looked = self._polled = now
        if not self._proven and self._came and now - self.opened >= times.stable_s:
            self._proven = True
            self._breaker.lasted(self)
        if self._quiet():
            self._heard = now
        elif now - self._heard > times.silence_s:
            self._drop(wire)
            raise LinkLost(f"nothing came for {times.silence_s:.1f} s on an open connection", StaleCause.SILENCE)
        if self._pongs >= 0 and wire.pongs > self._pongs:
            self._pongs = -1
        if self._pongs >= 0:
            # A pong waits behind the data of a burst: only a peer that sends nothing at all owes one.
            if now - max(self._pinged, self._came) > times.ping_timeout_s:
                self._drop(wire)
                raise LinkLost(f"a ping was not answered for {times.ping_timeout_s:.1f} s")
        elif now - self._pinged > times.ping_s:
            self._pinged, self._pongs = now, wire.pongs
            wire.ping()

    def _drop(self, wire: SpinSocket) -> None:
        wire.abort()  # the peer may be gone: nobody waits for its half of the closing handshake
        self._lost()

    def _lost(self) -> None:
        self.wire = None
        now = time.monotonic()
        if now - self.opened >= self._times.stable_s and (self._came or self._quiet()):
            self._backoff.reset()
        else:
            self._breaker.failed(self)
        self._not_before = now + self._backoff.next()

    def close(self, timeout_s: float = 0.0) -> None:
        """Hang up; the server has so long to do so as well. A connection under way is given up."""
        self._breaker.left(self)
        if self.wire is not None:
            self.wire.close(timeout_s=timeout_s)
            self.wire = None
        if self._connecting is not None and not self._connecting.cancel():
            self._connecting.add_done_callback(_hang_up)
        self._connecting = None


def _hang_up(connecting: Future[SpinSocket]) -> None:
    """End a connection that came too late."""
    with suppress(OSError):
        connecting.result().abort()
