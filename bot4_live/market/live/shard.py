"""One shard of a pool: some instruments on one connection, which is renewed before the venue cuts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bot4_live.market.live.connection import Connection, Sink, Surroundings, Tally
from bot4_live.market.live.meter import Meter
from bot4_live.market.live.reader import Reader
from bot4_live.market.live.status import ChannelStatus, ConnectionStatus, public_url
from bot4_live.market.venues.dialects import Channel, Dialect

_LOOK_S = 0.25  # how often a renewal is looked at
RENEWED_AT = (0.85, 0.95)  # of its lifetime: when a connection is renewed


class Shard:
    """Keeps a reader fed. `run()` ends when `stop()` was called; it raises only what the reader's consumers raise."""

    def __init__(
        self, name: str, url: str, reader: Reader, make_dialect: Callable[[], Dialect], around: Surroundings
    ) -> None:
        """Prepare; nothing is opened before `run()`."""
        self.name, self.url, self.reader = name, url, reader
        self.tally = Tally()
        self._make_dialect, self._around = make_dialect, around
        self._dialect = make_dialect()
        lifetime = around.times.lifetime_s
        self._lifetime_s = self._dialect.limits.lifetime_s if lifetime is None else lifetime
        self._stopping = asyncio.Event()
        self.connection = self._connect(reader.first())
        self._next: Connection | None = None
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._due: tuple[float, float] = (0.0, 0.0)  # of the connection opened then: when to renew it
        self._since = 0.0  # when the renewal's stage began
        self._settle_at = 0.0

    def stop(self) -> None:
        """End `run()` soon."""
        self._stopping.set()
        for connection in self._tasks:
            connection.stop()

    async def run(self) -> None:
        """Connect and renew until stopped."""
        self._start(self.connection)
        try:
            while not self._stopping.is_set():
                await self._wait()
                self._look(time.monotonic())
        finally:
            self._give_up_turn()
            for connection in self._tasks:
                connection.stop()
            ended = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self.reader.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    def _connect(self, sink: Sink) -> Connection:
        return Connection(self.name, self.url, sink, self._make_dialect(), self._around, self.tally)

    def _start(self, connection: Connection) -> None:
        self._tasks[connection] = asyncio.create_task(connection.run())

    async def _wait(self) -> None:
        """Wait a while, for the end, or for a connection that ends."""
        times = self._around.times
        look_s = min(_LOOK_S, times.linger_s / 2 or _LOOK_S, (self._lifetime_s or 3600.0) / 10)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *self._tasks.values()], timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for connection, task in list(self._tasks.items()):
            if task.done():
                task.result()
                if connection is self.connection and self._next is not None:
                    self._renewed()
                del self._tasks[connection]

    def _look(self, now: float) -> None:
        times = self._around.times
        if self._settle_at and now >= self._settle_at:
            self._settle_at = 0.0
            self.reader.settled()
        if self._next is None:
            if not self._renewal_due(now):
                self._around.overdue.pop(self.name, None)
            elif self._is_our_turn():
                self._around.renewing = self.name
                self._settle_at, self._since = 0.0, 0.0
                self._next = self._connect(self.reader.renew())
                self.connection.retire()
                self._start(self._next)
        elif self._next.opened_at:
            if self.reader.left_old():
                self._since = self._since or now
                if now - self._since >= times.linger_s:
                    self.connection.stop()
            elif now - self._next.opened_at >= times.handover_s:
                self.reader.hurry()

    def _is_our_turn(self) -> bool:
        """Return whether to renew now: one at a time, as a pool must not storm its venue, the longest overdue first."""
        around = self._around
        around.overdue[self.name] = self._due[1]
        return not around.renewing and min(around.overdue, key=around.overdue.__getitem__) == self.name

    def _give_up_turn(self) -> None:
        self._around.overdue.pop(self.name, None)
        if self._around.renewing == self.name:
            self._around.renewing = ""

    def _renewal_due(self, now: float) -> bool:
        opened = self.connection.opened_at
        if not opened:
            return False
        if self._due[0] != opened:
            life = (self._lifetime_s or float("inf")) * self._around.rng.uniform(*RENEWED_AT)
            self._due = opened, opened + life
        if self.connection.leaving:
            self._due = opened, min(self._due[1], now + self._around.rng.uniform(0, self._around.times.haste_s))
            self.connection.leaving = False
        return now >= self._due[1]

    def _renewed(self) -> None:
        """The new connection takes the old one's place."""
        assert self._next is not None
        for channel, meter in self.connection.meters.items():
            self._next.meters.setdefault(channel, Meter()).include(meter)
        self.connection, self._next = self._next, None
        self.tally.renewals += 1
        self.reader.renewed()
        self._settle_at = time.monotonic() + self._around.times.linger_s
        self._give_up_turn()

    def status(self) -> list[ConnectionStatus]:
        """Return what is to be said of the connection, and of the one that is to take its place."""
        stale = set(self.reader.stale_books())
        rows = [self._row(self.name, self.connection, stale)]
        if self._next is not None:
            rows.append(self._row(f"{self.name}+", self._next, stale))
        return rows

    def _row(self, name: str, connection: Connection, stale: set[str]) -> ConnectionStatus:
        now_ns, tally = time.monotonic_ns(), self.tally
        return ConnectionStatus(
            name=name,
            venue=self._dialect.venue,
            url=public_url(self.url),
            state=connection.state,
            connects=tally.connects,
            failures=tally.failures,
            silences=tally.silences,
            renewals=tally.renewals,
            frames=tally.frames,
            bytes=tally.bytes,
            last_frame_ns=tally.last_frame_ns,
            last_error=tally.last_error,
            open_s=now_ns / 1e9 - connection.opened_at if connection.opened_at else 0.0,
            stale_books=tuple(sorted(stale)),
            channels=tuple(
                self._channel(channel, meter, now_ns, stale) for channel, meter in sorted(connection.meters.items())
            ),
        )

    def _channel(self, channel: Channel, meter: Meter, now_ns: int, stale: set[str]) -> ChannelStatus:
        kind, name = channel
        age, gap, limit = now_ns - meter.last_ns, meter.quantile_ns(0.999), meter.limit_ns()
        is_book = self._dialect.is_book(channel)
        return ChannelStatus(
            name=f"{kind} {name}".strip(),
            frames=meter.frames,
            rate=meter.rate(now_ns),
            age_s=age / 1e9,
            gap_p999_s=None if gap is None else gap / 1e9,
            limit_s=None if limit is None else limit / 1e9,
            silent=limit is not None and age > limit,
            gaps=self.reader.gaps(name) if is_book else 0,
            stale=is_book and name in stale,
        )
