"""Recording a market: connections, sequencer and journal, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bot4_live.clock import MarketClock
from bot4_live.events import Kind, Reason, Source, StaleCause, header_of, new_record
from bot4_live.instrument import Instrument
from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.reader import Journal
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.feed_status import PUBLISH_S, Publisher, Tally, journal_status
from bot4_live.market.followed_clock import FollowedClock
from bot4_live.market.import_capture import Followed, segment_header, session_records
from bot4_live.market.listing_watch import ListingWatch
from bot4_live.market.live.listings import Digits, Relisting, VenueRest, instruments_of, named
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.pool import VENUES, open_pool
from bot4_live.market.live.status import PoolStatus
from bot4_live.market.public import PublicApi, is_loopback, require_loopback, stream_url
from bot4_live.market.stream import MarketStream
from bot4_live.market.venues.credentials import order_options
from bot4_live.sequencer import Sequencer
from bot4_live.settings import Settings
from bot4_live.wire.handshake import Address

PULSE_S = 0.005
PROGRESS_S = 0.2


@dataclass(frozen=True)
class RecordingResult:
    """What was recorded; times in ns of the engine clock, `counts` by names of events, rules and causes."""

    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    source: str
    speed_milli: int
    shift_ns: int
    reconnects: int
    counts: dict[str, Any]


@dataclass
class Limits:
    """When a recording ends, and who is told of it: `progress(frames, live books, books, engine clock)`."""

    seconds: float | None = None  # of real time
    until_ns: int | None = None  # original market time
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Callable[[int, int, int, int], None] | None = None


class Connections(Protocol):
    """A pool, or a stream of one connection."""

    def status(self) -> PoolStatus: ...

    def stop(self) -> None: ...

    async def run(self) -> None: ...


async def record_exchange(
    settings: Settings, instrument: Instrument, journal_dir: Path, limits: Limits, *, times: StreamTimes | None = None
) -> RecordingResult:
    """Record the simulated exchange of the settings, in its own market time, whatever its tick, lot and filters become.

    It is asked for them at the start (`instrument` is what else there is to know) and every `instrument_check_s`.
    The journal is sealed at the end, also after an error. Raises ValueError for an endpoint that is not loopback,
    OSError when exchange or journal fail.
    """
    require_loopback(settings.rest_url)
    require_loopback(settings.ws_url)
    async with PublicApi(settings.rest_url, settings.symbol) as api:
        clock = FollowedClock(api.clock)
        said = await clock.sync()
        shift, speed = said.shift_ns, said.speed_milli
        with contextlib.suppress(ValueError):  # not traded now: what comes is recorded all the same
            instrument = replace(await api.instrument(instrument), version=instrument.version)
        work = _Recording.begin(settings, instrument, journal_dir, clock.now_ns, shift_ns=shift, speed_milli=speed)
        with work:
            work.offset(*clock.anchor)
            clock.on_anchor = work.offset
            core = FeedCore(instrument, work.emit, work.journal, liquidation_usd=settings.liquidation_usd)
            stream = MarketStream(
                core, stream_url(settings.ws_url, settings.symbol), api.depth, clock.now_ns, times=times,
                quiet=lambda: clock.paused, room=work.has_room,
            )  # fmt: skip
            end_ns = None if limits.until_ns is None else limits.until_ns + shift

            async def compare() -> bool:
                with contextlib.suppress(OSError, ValueError):  # asked again
                    found = await api.instrument(core.instrument)
                    if found is not core.instrument:
                        core.change_instrument(clock.now_ns(), found)
                return False

            watch = ListingWatch(work.lost_digits, settings.instrument_check_s, compare)
            await work.run(stream, limits, end_ns, clock.follow(), watch.run())
        return work.result(said.source, stream.status(), speed_milli=speed, shift_ns=shift)


async def record_venue(
    settings: Settings,
    venue: str,
    names: Mapping[str, Digits | None],
    journal_dir: Path,
    limits: Limits,
    *,
    url: str | None = None,
    rest_url: str | None = None,
    public: bool = False,
    times: StreamTimes | None = None,
) -> RecordingResult:
    """Record instruments of a venue by the venue's names, in real time; digits that are not given are asked for.

    Those are asked for again every `instrument_check_s`, and soon after a frame had more digits. Where they changed the
    connections are closed, the instrument's next version is told, and the books begin anew under it.
    `url` and `rest_url` are the venue's public ones unless given; what is not on this machine needs `public`. No key is
    used but what the channels of orders (`..._orders`) want, from the settings. Raises ValueError for an endpoint
    that may not be used or an instrument that is not listed, OSError when venue or journal fail.
    """
    url, options = url or VENUES[venue].url, order_options(venue, settings)
    Address.parse(url)
    rest = VenueRest(venue, rest_url)
    known = VENUES[venue]
    asked = known.feed is None or known.fetches or None in names.values()
    for address in (url, rest.url) if asked else (url,):
        if not public and not is_loopback(address):
            raise ValueError(f"{address} is not on this machine; give --public to take public market data from there")
    async with rest:
        instruments = await instruments_of(venue, names, rest)
        clock = MarketClock(time.time_ns(), time.monotonic_ns())
        work = _Recording.begin(settings, named(instruments, names), journal_dir, clock.now_ns)
        with work:
            work.offset(clock.start_market_ns - clock.start_mono_ns, 0)
            statuses = []
            while True:
                pool = open_pool(
                    venue, list(names), work.emit, work.journal, instruments=instruments, url=url, remote=public,
                    now_ns=clock.now_ns, fetch_snapshot=rest.fetch if known.fetches else rest.depth, times=times,
                    liquidation_usd=settings.liquidation_usd, room=work.has_room, **options,
                )  # fmt: skip
                relist = Relisting(rest, names, instruments)
                watch = ListingWatch(work.lost_digits, settings.instrument_check_s, relist.changed)
                await work.run(pool, limits, limits.until_ns, *([watch.run()] if None in names.values() else []))
                statuses.append(pool.status())
                if not relist.found:
                    break
                instruments = relist.instruments
                for instrument in relist.found:
                    work.change(instrument)
        return work.result(venue, *statuses)


@dataclass
class _Recording:
    """One recording under way; a context that seals the journal."""

    journal: JournalClient
    sequencer: Sequencer
    tally: Tally
    publisher: Publisher
    now_ns: Callable[[], int]
    first_seq: int
    first_ns: int
    began: float = field(default_factory=time.monotonic)
    counts: dict[type, Counter[int]] = field(
        default_factory=lambda: {Kind: Counter(), Reason: Counter(), StaleCause: Counter()}
    )

    @classmethod
    def begin(
        cls,
        settings: Settings,
        followed: Followed,
        journal_dir: Path,
        now_ns: Callable[[], int],
        *,
        shift_ns: int = 0,
        speed_milli: int = 1000,
    ) -> _Recording:
        """Take the journal, which a recorder that was killed may have left, and go on where it ends."""
        start_ns, mono_ns, policy = now_ns(), time.monotonic_ns(), settings.journal.policy()
        settle(journal_dir, settings.shm_dir, policy=policy)
        first_seq = Journal(journal_dir).last_seq + 1 if journal_dir.is_dir() else 1
        header = segment_header(
            followed, first_seq, start_ns, account=settings.account, session="record", shift_ns=shift_ns,
            speed_milli=speed_milli, start_mono_ns=mono_ns, settings=settings.public(),
        )  # fmt: skip
        instruments = [followed] if isinstance(followed, Instrument) else list(followed.values())
        journal = JournalClient(journal_dir, header, settings.shm_dir, policy=policy)
        shown = Publisher(settings.shm_dir, role="record", account=settings.account, journal=journal_dir)
        work = cls(journal, Sequencer(journal, None, start_ns, first_seq), Tally(instruments), shown, now_ns,
                   first_seq, start_ns)  # fmt: skip
        for record in session_records(followed, start_ns, shift_ns=shift_ns, speed_milli=speed_milli):
            work.sequencer.push(record)
        return work

    def __enter__(self) -> None:
        """Nothing more is needed."""

    def __exit__(self, *_: object) -> None:
        """Seal, and show no more."""
        self.publisher.close()
        self.journal.close()

    def emit(self, record: np.ndarray) -> None:
        """Count a record and put it into the log."""
        head = header_of(record)
        kind = int(head["kind"])
        if kind == Kind.QUARANTINE:
            self.counts[Reason][int(head["a"])] += 1
        elif kind == Kind.BOOK_STALE:
            self.counts[StaleCause][int(head["a"])] += 1
        else:
            self.counts[Kind][kind] += 1
        self.tally.see(kind, record)
        self.sequencer.push(record)

    def offset(self, offset_ns: int, error_ns: int) -> None:
        """Tell what the engine's clock is to CLOCK_MONOTONIC."""
        record = new_record(Kind.CLOCK_OFFSET)
        head = header_of(record)
        head["recv_ns"], head["source"] = self.now_ns(), Source.RUNNER
        head["a"], head["b"] = offset_ns, error_ns
        self.tally.take(record)
        self.sequencer.push(record)

    def change(self, instrument: Instrument) -> None:
        """Tell of an instrument's next version; its book is stale."""
        record = instrument.record(self.now_ns())
        header_of(record)["source"] = Source.RUNNER
        self.emit(record)

    def has_room(self) -> bool:
        """Return whether the journal keeps up."""
        return self.journal.room

    def lost_digits(self) -> int:
        """Return how many frames had more digits than their instrument."""
        return self.counts[Reason][Reason.LOST_DIGITS]

    async def run(
        self, pool: Connections, limits: Limits, end_ns: int | None, *others: Coroutine[Any, Any, None]
    ) -> None:
        """Run until an end of `limits`; what the journal raises is raised here, after the connections were closed."""
        reading = asyncio.create_task(pool.run())
        beside = [asyncio.create_task(work) for work in (self._pulse(pool, limits, end_ns), *others)]
        try:
            await asyncio.wait([reading, *beside], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pool.stop()
            ended = await asyncio.gather(reading, return_exceptions=True)
            for task in beside:
                task.cancel()
            failed = [*ended, *await asyncio.gather(*beside, return_exceptions=True)]
        for error in failed:
            if isinstance(error, Exception):
                raise error

    async def _pulse(self, pool: Connections, limits: Limits, end_ns: int | None) -> None:
        """Let TICKs fall due when no frame comes, show how it goes, and end when the time is over."""
        deadline = None if limits.seconds is None else self.began + limits.seconds
        told = shown = 0.0
        while not limits.stop.is_set():
            now_ns, now = self.now_ns(), time.monotonic()
            if (end_ns is not None and now_ns >= end_ns) or (deadline is not None and now >= deadline):
                return
            self.sequencer.advance(now_ns)
            self.journal.check()
            if limits.progress is not None and now - told >= PROGRESS_S:
                told = now
                limits.progress(_frames(pool.status()), *self.tally.live_books, now_ns)
            if now - shown >= PUBLISH_S:
                shown = now
                written = journal_status(self.journal, self.sequencer.next_seq - 1)
                self.publisher.publish(self.tally, [pool], engine_ns=now_ns, written=written)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(limits.stop.wait(), PULSE_S)

    def result(self, source: str, *statuses: PoolStatus, speed_milli: int = 1000, shift_ns: int = 0) -> RecordingResult:
        """Return what was recorded; `statuses` are those of the pools at their ends, one after the other."""
        connections = [connection for status in statuses for connection in status.connections]
        connects = sum(max(connection.connects - 1, 0) for connection in connections) + len(statuses) - 1
        names = ("events", "quarantined", "stale")
        counts: dict[str, Any] = {"frames": sum(map(_frames, statuses))}
        for name, (codes, found) in zip(names, self.counts.items(), strict=True):
            counts[name] = {codes(code).name.lower(): n for code, n in sorted(found.items())}
        return RecordingResult(
            self.first_seq, self.sequencer.next_seq - 1, self.first_ns, self.sequencer.last_ns, source, speed_milli,
            shift_ns, connects, counts,
        )  # fmt: skip


def _frames(status: PoolStatus) -> int:
    return sum(connection.frames for connection in status.connections)
