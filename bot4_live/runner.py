"""The live runner: composes a session from its parts, keeps it going, and ends it cleanly.

Order of start: settings, loopback, the account's lock, the watchdog's control block, the champion, the journal's
tail (engine and ledger restored), the market's clock, a new order epoch, journal and sequencer, the events that open
a session, feeder, user stream, reconciliation, market stream. Nothing but cancels and reduce-only orders leaves
before the venue and the log agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import platform
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot4_live import compile_cache, engine_events
from bot4_live.events import SCHEMA, Kind, Mode, Source, header_of, new_record, note
from bot4_live.execution.countdown import Countdown
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.gateways.binance_usdm import Gateway, instrument_of
from bot4_live.execution.order_id import next_epoch
from bot4_live.execution.reconcile import Reconciler
from bot4_live.execution.rest import NotSent, Request, RestClient, UnknownFate, VenueError
from bot4_live.execution.user_stream import UserStream
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.locks import FileLock
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.public import PublicApi, stream_url
from bot4_live.market.stream import MarketStream
from bot4_live.safety.control import RunnerState
from bot4_live.session import recovery, report
from bot4_live.session.control_link import ControlLink
from bot4_live.session.core import Core
from bot4_live.session.feeder_link import FeederLink
from bot4_live.session.models import ModelWatch
from bot4_live.session.venue import Market, read_market, require_loopback, wait_until_running
from bot4_live.settings import Settings

SNAPSHOT_EVENTS = 100_000
BEAT_S = 0.05
SLOW_S = 0.25
STOP_S = 10.0
OPEN_S = 15.0


@dataclass(frozen=True)
class Options:
    """How long to run (real seconds, or engine time), and whether a model is needed."""

    seconds: float | None = None
    until_market_ns: int | None = None
    no_model: bool = False


class Runner:
    """One session of one account. `run()` returns the session's report; it raises for what keeps it from trading."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        *,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
        on_ready: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.settings, self.options = settings, options
        self._say, self._on_ready = say, on_ready
        self._stop = asyncio.Event()
        self._why = "asked to stop"
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._user_up = asyncio.Event()
        self._reconcile_wanted = asyncio.Event()
        self._paused = False
        self._mode = -1
        self._snapshot_seq = 0
        self._snapshotting: asyncio.Task[None] | None = None
        self._trusted = False
        self._ready = False
        self._started = time.monotonic()
        self._suspect = (0, 0)

    # The way up.

    def prepare(self) -> None:
        """Do what needs no event loop: checks, locks, recovery. Raises ValueError or OSError with what to do."""
        settings = self.settings
        for name in ("rest_url", "ws_url"):
            require_loopback(getattr(settings, name), f"BOT4_{name.upper()}")
        if not settings.api_key.get_secret_value() or not settings.api_secret.get_secret_value():
            raise ValueError("no API key; set BOT4_API_KEY and BOT4_API_SECRET to those of `bot4 exchange`")
        if settings.symbol != BTCUSDT_USDM.symbol:
            raise ValueError(f"BOT4_SYMBOL={settings.symbol}: only {BTCUSDT_USDM.symbol} can be traded so far")
        self._lock = FileLock(settings.state_dir / "runner.lock")
        if not self._lock.acquire():
            raise BlockingIOError(
                11, f"process {self._lock.holder()} already trades account {settings.account}; stop it first"
            )
        self.control = ControlLink(settings)
        settle(settings.journal_dir, settings.shm_dir)
        self.recovered = recovery.recover(settings.journal_dir, settings.state_dir, settings.models_dir, self._say)
        self._trusted = self.recovered.ledger.began_ns > 0
        self.models = ModelWatch(settings.models_dir, self.recovered.engine)
        self._swap = None if self.options.no_model else self.models.load_first()
        self.control.gate.admit(Kind.CMD_NEW)  # compiled now rather than before the first order

    async def run(self) -> dict[str, Any]:
        """Trade until told to stop; return the report."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, f"{signal.Signals(number).name}")
        market = await read_market(self.settings.rest_url)
        if market.paused:
            self._say("the market is paused; waiting until it runs")
            market = await wait_until_running(self.settings.rest_url)
        await self._open(market)
        try:
            await self._trade()
        finally:
            content = await self._close()
        if self._failure is not None:
            raise self._failure
        return content

    def stop(self, why: str) -> None:
        """Ask for a clean end."""
        if not self._stop.is_set():
            self._why = why
            self._stop.set()

    async def _open(self, market: Market) -> None:
        settings = self.settings
        self.market, clock = market, market.clock
        self.rest = RestClient(
            settings.rest_url, settings.api_key, settings.api_secret, ExchangeTime(clock), settings.recv_window_ms
        )
        await self.rest.__aenter__()
        info = await self.rest.call(Request("GET", "/fapi/v1/exchangeInfo", signed=False))
        self.instrument: Instrument = instrument_of(info, BTCUSDT_USDM)
        self.gateway = Gateway(self.instrument)
        await self.rest.sync_time()
        self.epoch = next_epoch(settings.state_dir / "order_epoch")
        self.session = f"{settings.account}-{self.epoch:08d}"
        found = self.recovered
        self.journal = JournalClient(settings.journal_dir, self._header(found.last_seq + 1), settings.shm_dir)
        self.core = Core(clock, self.journal, found.engine, found.ledger, found.last_seq + 1)
        for command in found.lost:
            self.journal.append(command)
            found.ledger.apply(command)
        self.dispatcher = Dispatcher(self.rest, self.gateway, self.control.gate, found.ledger, self.core.publish)
        self.core.dispatcher = self.dispatcher
        self.reconciler = Reconciler(self.rest, self.gateway, found.ledger, self.dispatcher, self.core.publish)
        self.countdown = Countdown(
            self.rest, self.gateway, self.control.gate.check, settings.countdown_ms, self._remark
        )
        self._snapshot_seq = found.last_seq
        self._events()
        self.feeder = FeederLink(settings, self.instrument, clock, market.shift_ns)

    def _header(self, first_seq: int) -> SegmentHeader:
        clock = self.market.clock
        lock = Path(__file__).resolve().parent.parent / "requirements.lock"
        return SegmentHeader(
            account=self.settings.account,
            session=self.session,
            first_seq=first_seq,
            market=self.instrument.market,
            shift_ns=self.market.shift_ns,
            speed_milli=clock.speed_milli,
            start_market_ns=clock.start_market_ns,
            start_mono_ns=clock.start_mono_ns,
            order_epoch=self.epoch,
            source_hash=compile_cache.source_hash(),
            lock_hash=_sha256(lock),
            cpu=platform.machine(),
            schema=SCHEMA,
            settings=self.settings.public(),
            instruments=[dict(vars(self.instrument))],
        )

    def _events(self) -> None:
        """Open the session in the log: what the engine must know before the first market record."""
        clock, publish = self.market.clock, self.core.publish
        publish(
            engine_events.session(
                0, self.epoch, shift_ns=self.market.shift_ns, speed_milli=clock.speed_milli, restarts=self.epoch - 1
            )
        )
        publish(engine_events.hold(0, True))
        publish(self.instrument.record(0))
        publish(engine_events.params(0, self.settings.strategy))
        offset = new_record(Kind.CLOCK_OFFSET)
        head = header_of(offset)
        head["source"], head["a"] = Source.RUNNER, clock.start_market_ns - clock.start_mono_ns
        head["b"] = self.market.error_ns
        publish(offset)
        self._follow_mode()
        if self._swap is not None:
            publish(self._swap)
        elif self.core.engine.state["model"][0] >= 0:
            publish(engine_events.model_swap(0, 0, "0" * 64, 0, use=False))  # --no-model: leave a former one

    # Trading.

    async def _trade(self) -> None:
        self.control.set_state(RunnerState.HOLD)
        self._start(self._beat())
        self._start(self._ticks())
        self._start(self._slow())
        self._start(self.countdown.run())
        self.user = UserStream(
            self.rest,
            self.settings.ws_url,
            on_up=self._user_connected,
            on_down=self._user_lost,
            on_message=self._user_message,
            on_bad=self._remark,
        )
        self._start(self.user.run())
        self._start(self._reconciling())
        async with PublicApi(self.settings.rest_url, self.instrument.symbol) as public:
            self.feed = FeedCore(self.instrument, self.core.on_market, self.journal)
            self.stream = MarketStream(
                self.feed,
                stream_url(self.settings.ws_url, self.instrument.symbol),
                public.depth,
                self.market.clock.now_ns,
                on_batch=self.core.advance,
                quiet=lambda: self._paused,
            )
            self._start(self.stream.run())
            self._start(self._announce())
            await self._until_end()
            await self._quiesce()
            self.stream.stop()

    async def _until_end(self) -> None:
        limit = self.options.seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), limit)
        if not self._stop.is_set():
            self._why = f"{limit:g} s are over"

    async def _announce(self) -> None:
        """Say, once, that trading begins: the venue and the log agree and the book is in use."""
        while not (self.control.state == RunnerState.TRADING and self.feed.live):
            await asyncio.sleep(0.01)
        champion = self.models.champion
        self._ready = True
        self._on_ready(
            {
                "state": "trading",
                "account": self.settings.account,
                "session": self.session,
                "market": self.instrument.market,
                "mode": Mode(self._mode).name,
                "speed_milli": self.market.clock.speed_milli,
                "shift_ns": self.market.shift_ns,
                "market_ns": self.market.clock.now_ns(),
                "seq": self.core.last_seq,
                "position_lots": self.core.ledger.position,
                "open_orders": len(self.core.ledger.live_orders()),
                "model_version": champion.version if champion else None,
                "model_alias": champion.alias if champion else None,
                "replayed": self.recovered.replayed,
                "started_in_s": round(time.monotonic() - self._started, 3),
            }
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the session for an error: what rests is cancelled as in a clean end, and the exit says why."""
        if self._failure is None:
            self._failure = error
        self.stop(f"{type(error).__name__}: {error}")

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self.core.until_tick_s())
            self._follow_mode()
            self.core.advance()
            until = self.options.until_market_ns
            if until is not None and self.market.clock.now_ns() >= until:
                self.stop("the market time asked for is reached")

    def _follow_mode(self) -> None:
        mode = self.control.mode
        if mode != self._mode:
            self._mode = mode
            self.core.publish(engine_events.mode(0, Mode(mode), Source.WATCHDOG))

    async def _beat(self) -> None:
        while True:
            ledger = self.core.ledger
            self.control.beat(len(ledger.live_orders()), ledger.position, self.core.last_seq)
            for record in self.feeder.take():
                self.core.publish(record)
            self._watch_journal()
            await asyncio.sleep(BEAT_S)

    def _watch_journal(self) -> None:
        """Hold while the journal is not well: what cannot be recorded must not be traded."""
        self.journal.ensure_writer()
        if not self.journal.healthy and self.control.state == RunnerState.TRADING:
            self._say("the journal cannot keep up or its disk is full: holding")
            self._hold()
            self._reconcile_wanted.set()

    async def _slow(self) -> None:
        """Look after what may take its time: the champion, the venue's clock, fills that may be missing, snapshots."""
        beats = 0
        while True:
            await asyncio.sleep(SLOW_S)
            beats += 1
            swap = await self.models.poll()
            if swap is not None:
                self.core.publish(swap)
            elif self.models.complaint:
                self._remark(self.models.complaint)
                self.models.complaint = ""
            if self.core.last_seq - self._snapshot_seq >= SNAPSHOT_EVENTS and self._snapshotting is None:
                self._snapshotting = asyncio.create_task(self._snapshot())
            if beats % 4 == 0:
                self._say(report.status_line(self.core, self.instrument, self.control.state, max(self._mode, 0)))
                with contextlib.suppress(VenueError, OSError):
                    await self._once_a_second(beats)

    async def _once_a_second(self, beats: int) -> None:
        await self._follow_market()
        if beats % 40 == 0:
            await self.rest.sync_time()
        ledger = self.core.ledger
        if self.control.state != RunnerState.TRADING or self._paused:
            self._suspect = (0, 0)
            return
        # One trade comes as fill and as account update: only a difference that stays is one.
        difference = (ledger.position - ledger.venue_position, ledger.fills)
        if ledger.missing_fills() or (difference[0] and difference == self._suspect):
            self._remark(f"fills seem to be missing (position {ledger.position}, venue {ledger.venue_position})")
            self._hold()
            self._reconcile_wanted.set()
        self._suspect = difference

    async def _follow_market(self) -> None:
        """Notice a pause of a simulated market, and a speed that is no longer the session's."""
        if not self.market.simulated:
            return
        now = await self.rest.call(Request("GET", "/bot4/clock", signed=False))
        if int(now["speed_milli"]) != self.market.clock.speed_milli:
            speed = int(now["speed_milli"]) / 1000
            self._fail(ValueError(f"the exchange now runs at {speed:g}x; a session has one speed: start it again"))
        paused, self._paused = self._paused, bool(now["paused"])
        if paused and not self._paused:
            await self.rest.sync_time()

    async def _snapshot(self) -> None:
        try:
            snapshot = recovery.take(self.core.engine)
            ledger = self.core.ledger.dump()
            self._snapshot_seq = snapshot.seq
            await asyncio.to_thread(recovery.save, self.settings.journal_dir, self.settings.state_dir, snapshot, ledger)
        except OSError as error:
            self._remark(f"no snapshot could be kept: {error}")
        finally:
            self._snapshotting = None

    # The account.

    def _remark(self, text: str) -> None:
        self._say(text)
        self.core.publish(note(text))

    def _hold(self) -> None:
        if self.control.state in (RunnerState.TRADING, RunnerState.STARTING):
            self.control.set_state(RunnerState.HOLD)
        if not self.core.ledger.holding:
            self.core.publish(engine_events.hold(0, True))

    def _user_connected(self) -> None:
        self._user_up.set()
        self._reconcile_wanted.set()

    def _user_lost(self, why: str) -> None:
        self._user_up.clear()
        self._say(f"the user stream broke ({why}): holding until the venue was asked")
        self._hold()

    def _user_message(self, message: dict[str, Any]) -> None:
        for record in self.gateway.on_user_message(message):
            self.core.publish(record)

    async def _reconciling(self) -> None:
        """Reconcile whenever that is wanted and the user stream is up; release HOLD when the log and venue agree."""
        while True:
            await self._reconcile_wanted.wait()
            await self._user_up.wait()
            self._reconcile_wanted.clear()
            connects = self.user.connects
            try:
                found = await self.reconciler.run(trusted=self._trusted)
            except (VenueError, KeyError, ValueError) as error:
                self._remark(f"reconciliation failed, trying again: {error}")
                self._reconcile_wanted.set()
                await asyncio.sleep(0.5)
                continue
            if not self._user_up.is_set() or self.user.connects != connects or self._reconcile_wanted.is_set():
                self._reconcile_wanted.set()  # the stream broke meanwhile: what it did not tell is not known
                continue
            if not self.journal.healthy:
                self._reconcile_wanted.set()
                await asyncio.sleep(0.5)
                continue
            self._trusted = True
            self._remark(f"reconciled: {found.summary()}")
            if self.control.state == RunnerState.HOLD:
                self.core.publish(engine_events.hold(0, False))
                self.control.set_state(RunnerState.TRADING)

    # The way down.

    async def _quiesce(self) -> None:
        """Stop quoting, cancel everything of ours, and wait until the venue confirms it. The position stays."""
        self._say(f"stopping: {self._why}")
        self.control.set_state(RunnerState.STOPPING)
        deadline = time.monotonic() + STOP_S
        try:
            self.core.publish(engine_events.hold(0, True))
            await self.dispatcher.drain(STOP_S / 2)
            while time.monotonic() < deadline:
                open_orders = await self._open_at_venue()
                if open_orders == 0:
                    self._remark("stopped: no order of ours is open")
                    return
                if open_orders > 0:
                    await self._cancel_all()
                await asyncio.sleep(0.05)
        except OSError as error:
            self._failure = self._failure or error
        self._say(
            f"not every cancel is confirmed; the countdown cancel empties the book within {self.settings.countdown_ms} ms "
            "of market time"
        )

    async def _open_at_venue(self) -> int:
        """Return how many of our orders rest at the venue, -1 when it cannot be asked."""
        try:
            rows = await self.rest.call(self.gateway.open_orders())
        except VenueError:
            return -1
        live = self.core.ledger.live_orders()
        if not rows:
            await asyncio.gather(*(self.dispatcher.resolve(order.id) for order in live))
        return len(rows)

    async def _cancel_all(self) -> None:
        def guard() -> None:
            cause = self.control.gate.admit(Kind.CMD_CANCEL_ALL)
            if cause:
                raise NotSent(f"the gate is closed (cause {cause})")
            mark = engine_events.record(Kind.SEND_ATTEMPT, 0, 0, Kind.CMD_CANCEL_ALL)
            self.core.publish(mark)

        try:
            await self.rest.call(self.gateway.cancel_all(), guard)
        except (VenueError, UnknownFate) as error:
            self._say(f"cancel-all: {error}")

    async def _close(self) -> dict[str, Any]:
        """End the parts in order; keep the state; seal the journal."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.dispatcher.close()
        if self._snapshotting is not None:
            await self._snapshotting
        self.feeder.close()
        await self.rest.__aexit__(None, None, None)
        champion = self.models.champion
        extra = {
            "stopped": self._why,
            "model": vars(champion) if champion else None,
            "feed": self.feed.counts.as_dict() if hasattr(self, "feed") else None,
            "market": self.instrument.market,
            "source": self.market.source,
            "shift_ns": self.market.shift_ns,
        }
        path, content = report.write_report(self.settings.state_dir, self.session, self.core, self._started, extra)
        try:
            await self._snapshot()
            self.journal.close()
        finally:
            self.control.leave()
            self._lock.release()
        self._say(f"stopped ({self._why}); latencies and counters in {path}")
        return content


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def run(settings: Settings, options: Options, on_ready: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run one session to its end on uvloop and return its report."""
    import uvloop

    runner = Runner(settings, options, on_ready=on_ready)
    runner.prepare()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(runner.run())
