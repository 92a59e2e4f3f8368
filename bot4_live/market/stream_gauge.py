"""What a stream on a polled socket says of itself, as a pool would: one connection, a channel a kind of event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from bot4_live.events import HEADER, Kind, StaleCause, header_of
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.live.meter import Meter
from bot4_live.market.live.patience import Breaker, BreakerState
from bot4_live.market.live.status import ChannelStatus, ConnectionStatus, PoolStatus, State, public_url
from bot4_live.market.stream import StreamCounts

_KIND_AT = HEADER.fields["kind"][1] if HEADER.fields else 8
_STALE = int(Kind.BOOK_STALE)
_ENDS = (StaleCause.DISCONNECT, StaleCause.SILENCE)
_CHANNELS = {
    int(Kind.DEPTH_DIFF): "depth", int(Kind.BOOK_TICKER): "bookTicker", int(Kind.TRADE): "trade",
    int(Kind.FUNDING): "markPrice", int(Kind.LIQUIDATION): "forceOrder", int(Kind.TICKER): "ticker",
}  # fmt: skip


class Stream(Protocol):
    """A stream around a core: `wire.spin_stream.SpinStream`."""

    core: FeedCore

    @property
    def counts(self) -> StreamCounts:
        """Return what happened to its connections."""

    @property
    def url(self) -> str:
        """Return its address."""

    @property
    def last_error(self) -> str:
        """Return what the last connection ended with."""

    @property
    def open_s(self) -> float:
        """Return for how long the connection is open, in seconds; 0 when it is not."""

    breaker: Breaker


class StreamGauge:
    """Watches the records of one stream's core; `status` is that of a pool."""

    def __init__(self) -> None:
        """Begin before the stream is there."""
        self._meters: dict[int, Meter] = {}
        self._stream: Stream | None = None

    def through(self, emit: Callable[[np.ndarray], object]) -> Callable[[np.ndarray], object]:
        """Return an `emit` that measures a record before handing it on."""

        def both(record: np.ndarray) -> object:
            kind = int(record[_KIND_AT])
            if kind in _CHANNELS:
                self.hear(kind, time.monotonic_ns())
            elif kind == _STALE and header_of(record)["a"] in _ENDS:
                for meter in self._meters.values():
                    meter.interrupt()
            return emit(record)

        return both

    def hear(self, kind: int, now_ns: int) -> None:
        """Measure a record of a kind that is a channel's, where it does not come through here."""
        meter = self._meters.get(kind) or self._meters.setdefault(kind, Meter())
        meter.hear(now_ns)

    def watch(self, stream: Stream) -> None:
        """Take the stream whose records come through here."""
        self._stream = stream

    def status(self) -> PoolStatus:
        """Return how the stream is; a pool of no connections before there is one."""
        stream = self._stream
        if stream is None:
            return PoolStatus("", "closed", ())
        core, counts = stream.core, stream.counts
        now_ns = time.monotonic_ns()
        name = core.instrument.symbol
        open_s, tried, breaker = stream.open_s, counts.connects + counts.failures > 0, stream.breaker.state
        waiting = State.BREAKER_OPEN if breaker is BreakerState.OPEN else State.BACKING_OFF
        connection = ConnectionStatus(
            name=name,
            venue=core.instrument.venue,
            url=public_url(stream.url),
            state=State.OPEN if open_s else waiting if tried else State.CONNECTING,
            connects=counts.connects,
            failures=counts.failures,
            silences=counts.silences,
            renewals=counts.renewals,
            frames=core.counts.frames,
            bytes=core.counts.bytes,
            last_frame_ns=core.last_frame_ns,
            last_error=stream.last_error,
            open_s=open_s,
            stale_books=() if core.live else (core.instrument.symbol,),
            channels=tuple(
                _channel(f"{_CHANNELS[kind]} {name.lower()}", meter, core if kind == Kind.DEPTH_DIFF else None, now_ns)
                for kind, meter in sorted(self._meters.items())
            ),
        )
        return PoolStatus(core.instrument.venue, breaker, (connection,))


def _channel(name: str, meter: Meter, core: FeedCore | None, now_ns: int) -> ChannelStatus:
    gap, limit, age_ns = meter.quantile_ns(0.999), meter.limit_ns(), now_ns - meter.last_ns
    return ChannelStatus(
        name=name,
        frames=meter.frames,
        rate=meter.rate(now_ns),
        age_s=age_ns / 1e9,
        gap_p999_s=None if gap is None else gap / 1e9,
        limit_s=None if limit is None else limit / 1e9,
        silent=limit is not None and age_ns > limit,
        gaps=core.counts.stale[StaleCause.GAP] if core else 0,
        stale=not core.live if core else False,
    )
