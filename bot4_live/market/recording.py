"""Recording an exchange's market: stream, sequencer and journal, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot4_live.events import Kind, Source, header_of, new_record
from bot4_live.instrument import Instrument
from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.reader import Journal
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.feed_status import PUBLISH_S, Pool, Publisher, Tally, journal_status
from bot4_live.market.followed_clock import FollowedClock
from bot4_live.market.import_capture import segment_header, session_records
from bot4_live.market.public import PublicApi, require_loopback, stream_url
from bot4_live.market.stream import MarketStream, StreamTimes
from bot4_live.market.stream_gauge import StreamGauge
from bot4_live.sequencer import Sequencer
from bot4_live.settings import Settings

PULSE_S = 0.005


@dataclass(frozen=True)
class RecordingResult:
    """What was recorded; `counts` is `FeedCounts.as_dict()`."""

    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    source: str
    speed_milli: int
    shift_ns: int
    reconnects: int
    counts: dict[str, Any]


async def record_exchange(
    settings: Settings,
    instrument: Instrument,
    journal_dir: Path,
    *,
    seconds: float | None = None,
    until_ns: int | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[FeedCore, int], None] | None = None,
    times: StreamTimes | None = None,
) -> RecordingResult:
    """Record until `seconds` of real time are over, original market time `until_ns` is reached, or `stop` is set.

    `progress(core, market_ns)` is called about five times a second. The journal is sealed at the end, also after an
    error. Raises ValueError for an endpoint that is not loopback, OSError when exchange or journal fail.
    """
    require_loopback(settings.rest_url)
    require_loopback(settings.ws_url)
    stop = stop or asyncio.Event()
    async with PublicApi(settings.rest_url, settings.symbol) as api:
        clock = FollowedClock(api.clock)
        said = await clock.sync()
        start_ns, mono_ns = clock.now_ns(), time.monotonic_ns()
        policy = settings.journal.policy()
        settle(journal_dir, settings.shm_dir, policy=policy)
        first_seq = Journal(journal_dir).last_seq + 1 if journal_dir.is_dir() else 1
        header = segment_header(
            instrument, first_seq, start_ns,
            account=settings.account, session="record", shift_ns=said.shift_ns, speed_milli=said.speed_milli,
            start_mono_ns=mono_ns, settings=settings.public(),
        )  # fmt: skip
        journal = JournalClient(journal_dir, header, settings.shm_dir, policy=policy)
        try:
            sequencer = Sequencer(journal, None, start_ns, first_seq)
            tally, gauge = Tally([instrument]), StreamGauge()
            core = FeedCore(instrument, tally.through(gauge.through(sequencer.push)), journal)
            for record in session_records(instrument, start_ns, shift_ns=said.shift_ns, speed_milli=said.speed_milli):
                sequencer.push(record)
            stream = MarketStream(
                core, stream_url(settings.ws_url, settings.symbol), api.depth, clock.now_ns,
                times=times, quiet=lambda: clock.paused,
            )  # fmt: skip
            gauge.watch(stream)
            end_ns = None if until_ns is None else until_ns + said.shift_ns
            shown = Publisher(settings.shm_dir, role="record", account=settings.account, journal=journal_dir)
            work = _Work(sequencer, core, clock, stream, stop, seconds, end_ns, progress, journal, tally, gauge, shown)
            await work.run()
        finally:
            journal.close()
        return RecordingResult(
            first_seq, sequencer.next_seq - 1, start_ns, sequencer.last_ns, said.source, said.speed_milli,
            said.shift_ns, max(stream.counts.connects - 1, 0), core.counts.as_dict(),
        )  # fmt: skip


@dataclass
class _Work:
    """The tasks of one recording; the first that ends ends the others."""

    sequencer: Sequencer
    core: FeedCore
    clock: FollowedClock
    stream: MarketStream
    stop: asyncio.Event
    seconds: float | None
    until_ns: int | None
    progress: Callable[[FeedCore, int], None] | None
    journal: JournalClient
    tally: Tally
    pool: Pool
    publisher: Publisher

    async def run(self) -> None:
        """Run until stopped; what the journal raises is raised here, after the stream was closed."""
        self._anchored(*self.clock.anchor)
        self.clock.on_anchor = self._anchored
        reading = asyncio.create_task(self.stream.run())
        others = [asyncio.create_task(work) for work in (self._pulse(), self.clock.follow(), self.stop.wait())]
        try:
            await asyncio.wait([reading, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stream.stop()
            ended = await asyncio.gather(reading, return_exceptions=True)
            for task in others:
                task.cancel()
            self.publisher.close()
            failed = [*ended, *await asyncio.gather(*others, return_exceptions=True)]
        for error in failed:
            if isinstance(error, Exception):
                raise error

    def _anchored(self, offset_ns: int, error_ns: int) -> None:
        record = new_record(Kind.CLOCK_OFFSET)
        head = header_of(record)
        head["recv_ns"], head["source"] = self.clock.now_ns(), Source.RUNNER
        head["a"], head["b"] = offset_ns, error_ns
        self.tally.take(record)
        self.sequencer.push(record)

    async def _pulse(self) -> None:
        """Let TICKs fall due when no frame comes, and end when the time is over."""
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        told = shown = 0.0
        while True:
            now_ns, now = self.clock.now_ns(), time.monotonic()
            if self.until_ns is not None and now_ns >= self.until_ns:
                return
            if deadline is not None and now >= deadline:
                return
            self.sequencer.advance(now_ns)
            self.journal.check()
            if self.progress is not None and now - told >= 0.2:
                told = now
                self.progress(self.core, now_ns)
            if now - shown >= PUBLISH_S:
                shown = now
                written = journal_status(self.journal, self.sequencer.next_seq - 1)
                self.publisher.publish(self.tally, [self.pool], engine_ns=now_ns, written=written)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), PULSE_S)
                return
