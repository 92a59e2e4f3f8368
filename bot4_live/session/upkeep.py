"""What a session does by the clock: TICKs, mode, heartbeat, slow features, champion, snapshots, status."""

from __future__ import annotations

import asyncio
import contextlib
import time

from bot4_live import engine_events
from bot4_live.events import Mode, Source
from bot4_live.execution.rest import Request, VenueError, Withheld
from bot4_live.session import opening, recovery, report
from bot4_live.session.account import Account
from bot4_live.session.context import Context
from bot4_live.session.feeder_link import FeederLink
from bot4_live.session.models import ModelWatch
from bot4_live.session.pace import STALE_S

SNAPSHOT_EVENTS = 100_000
BEAT_S = 0.05
SLOW_S = 0.25
UNWELL_S = 1.0
CLEAR_S = 0.2
CATCH_UP_S = 10.0  # a longer backlog is left to the next start, which reads it from the journal


class Upkeep:
    """`ticks`, `beat` and `slow` are tasks of the session."""

    def __init__(
        self,
        context: Context,
        account: Account,
        feeder: FeederLink,
        models: ModelWatch,
        until_market_ns: int | None,
        snapshot_seq: int,
    ) -> None:
        self._context, self._account, self._feeder, self._models = context, account, feeder, models
        self._until_ns = until_market_ns
        self._snapshot_seq = snapshot_seq
        self._snapshotting: asyncio.Task[None] | None = None
        self._well_at = time.monotonic()
        self._far_behind = False
        self._clearing: asyncio.Task[None] | None = None
        self.mode = -1
        self._measured = context.rest.time.measured

    async def ticks(self) -> None:
        """Emit TICKs when they are due."""
        context = self._context
        core, clock = context.core, context.market.clock
        while True:
            await asyncio.sleep(core.until_tick_s())
            self.follow_mode()
            core.advance()
            if self._until_ns is not None and clock.now_ns() >= self._until_ns:
                context.end("the market time asked for is reached")

    def follow_mode(self) -> None:
        """Tell the engine when the control mode has changed."""
        mode = self._context.control.mode
        if mode != self.mode:
            self.mode = mode
            self._context.core.publish(engine_events.mode(0, Mode(mode), Source.WATCHDOG))

    async def beat(self) -> None:
        """Tell the watchdog how we are, take slow features, watch the journal."""
        context = self._context
        core, ledger = context.core, context.core.ledger
        while True:
            context.control.beat(len(ledger.live_orders()), ledger.position, core.last_seq)
            for record in self._feeder.take():
                core.publish(record)
            if (lots := context.control.take_intent()) != 0:
                core.publish(engine_events.intent(0, lots))
            self._watch_journal()
            self._watch_pace()
            await asyncio.sleep(BEAT_S)

    def _watch_journal(self) -> None:
        """Ask for PAUSE while the journal is not well: what may soon not be recorded must not be begun.

        Raises OSError, which ends the session, when the disk goes on refusing.
        """
        journal = self._context.core.journal
        journal.ensure_writer()
        journal.check()
        now = time.monotonic()
        if journal.healthy:
            self._well_at = now
        unwell = now - self._well_at > UNWELL_S
        if self._context.control.ask_mode(Mode.PAUSE if unwell else Mode.NORMAL) and unwell:
            self._context.say("the journal cannot keep up or its disk is full: asking for PAUSE")

    def _watch_pace(self) -> None:
        """Hold and take down what rests while the engine is far behind: its quotes are of another market."""
        context, lag_s = self._context, self._context.core.lag_s
        if lag_s <= STALE_S:
            self._far_behind = self._far_behind and lag_s > 0
            return
        if not self._far_behind:
            self._far_behind = True
            context.doubt(f"the engine is {lag_s:.1f} s behind its data: holding, and cancelling what rests")
        if context.core.ledger.live_orders() and (self._clearing is None or self._clearing.done()):
            self._clearing = asyncio.create_task(self._clear())

    async def _clear(self) -> None:
        """Cancel everything of ours without the engine, which would decide so too late."""
        context = self._context
        try:
            await context.dispatcher.cancel_unasked()
        except (Withheld, VenueError) as error:
            context.say(f"what rests could not be cancelled, trying again: {error}")
        await asyncio.sleep(CLEAR_S)  # for the user stream to confirm it

    async def slow(self) -> None:
        """Look after what may take its time."""
        context, beats = self._context, 0
        while True:
            await asyncio.sleep(SLOW_S)
            beats += 1
            swap = None if context.core.behind else await self._models.poll()  # a swap that waits keeps its slot
            if swap is not None:
                context.core.publish(swap)
            elif self._models.complaint:
                context.remark(self._models.complaint)
                self._models.complaint = ""
            due = context.core.last_seq - self._snapshot_seq >= SNAPSHOT_EVENTS and not context.core.behind
            if due and self._snapshotting is None:
                self._snapshotting = asyncio.create_task(self.snapshot())
            if beats % 4 == 0:
                context.say(report.status_line(context.core, context.instrument, context.control.state, self.mode))
                self._account.check()
                with contextlib.suppress(VenueError):
                    await self._follow_market()
                    if context.rest.time.due:
                        await context.rest.refresh_time()
            self._tell_offset()

    def _tell_offset(self) -> None:
        """Log the venue's offset when it was measured anew; a refusal for its time makes others measure it too."""
        venue = self._context.rest.time
        if venue.measured != self._measured:
            self._measured = venue.measured
            self._context.core.publish(opening.venue_offset(venue))

    async def _follow_market(self) -> None:
        """Notice a pause of a simulated market, and a speed that is no longer the session's."""
        context = self._context
        if not context.market.simulated:
            return
        now = await context.rest.call(Request("GET", "/bot4/clock", signed=False))
        if int(now["speed_milli"]) != context.market.clock.speed_milli:
            speed = int(now["speed_milli"]) / 1000
            context.fail(ValueError(f"the exchange now runs at {speed:g}x; a session has one speed: start it again"))
        was_paused, context.paused = context.paused, bool(now["paused"])
        if was_paused and not context.paused:
            await context.rest.sync_time()

    async def snapshot(self) -> None:
        """Keep the state of this moment; compression and fsync happen in a thread."""
        context = self._context
        snapshot, ledger = recovery.take(context.core.engine), context.core.ledger.dump()
        self._snapshot_seq = snapshot.seq
        try:
            await asyncio.to_thread(
                recovery.save, context.settings.journal_dir, context.settings.state_dir, snapshot, ledger
            )
        except OSError as error:
            context.say(f"no snapshot could be kept: {error}")
        finally:
            self._snapshotting = None

    async def finish(self) -> None:
        """Keep a last snapshot, after one that is under way; none when the engine has not seen the log's end."""
        if self._clearing is not None:
            self._clearing.cancel()
        if self._snapshotting is not None:
            await self._snapshotting
        if self._context.core.finish(CATCH_UP_S):
            await self.snapshot()
        else:
            self._context.say("the engine has not caught up: the next start replays what waits")
