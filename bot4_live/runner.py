"""The live runner: composes a session from its parts, keeps it going, and ends it cleanly.

Order of start: loopback, the account's lock, the watchdog's control block, the journal's tail (engine and ledger
restored), the champion, the market's clock, a new order epoch, journal and sequencer, the events that open a
session, feeder, user stream, reconciliation, market stream. Nothing but cancels and reduce-only orders leaves before
the venue and the log agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bot4_live import cores
from bot4_live.events import Kind, Mode
from bot4_live.execution.countdown import Countdown
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.gateways.binance_usdm import Gateway, instrument_of
from bot4_live.execution.order_id import next_epoch
from bot4_live.execution.rest import Request, RestClient, VenueError
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.locks import FileLock
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.feed_status import PUBLISH_S, Pool, Publisher, Tally, journal_status
from bot4_live.market.public import PublicApi, stream_url
from bot4_live.market.stream import MarketStream
from bot4_live.market.stream_gauge import StreamGauge
from bot4_live.safety.control import RunnerState
from bot4_live.session import instruments, opening, recovery, report
from bot4_live.session.account import Account
from bot4_live.session.closing import quiesce
from bot4_live.session.context import Context
from bot4_live.session.control_link import ControlLink
from bot4_live.session.core import Core
from bot4_live.session.feeder_link import FeederLink
from bot4_live.session.hot_market import HotMarket
from bot4_live.session.models import ModelWatch
from bot4_live.session.spin import spin
from bot4_live.session.upkeep import Upkeep
from bot4_live.session.venue import read_market, require_keys, require_loopback, wait_until_past, wait_until_running
from bot4_live.session.watch import Watch, watched_instruments
from bot4_live.settings import Settings
from bot4_live.short_slices import short_slices
from bot4_live.wire.path import PathFeed
from bot4_live.wire.spin_stream import SpinStream

REPORT_S = 1.0


@dataclass(frozen=True)
class Options:
    """How long to run (real seconds, or until an engine time), and whether a model is needed."""

    seconds: float | None = None
    until_market_ns: int | None = None
    no_model: bool = False


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Runner:
    """One session of one account: `prepare`, then `run`. Both raise for what keeps it from trading."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        *,
        say: Callable[[str], None] = _to_stderr,
        on_ready: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.settings, self.options = settings, options
        self._say, self._on_ready = say, on_ready
        self._stop = asyncio.Event()
        self._why = "asked to stop"
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self.connections: Pool
        self._how: dict[str, Any] = {"transport": settings.transport}

    def prepare(self) -> None:
        """Do what needs no event loop: checks, locks, recovery. Raises ValueError or OSError with what to do."""
        settings = self.settings
        require_loopback(settings.rest_url, "BOT4_REST_URL")
        require_loopback(settings.ws_url, "BOT4_WS_URL")
        if not settings.api_key.get_secret_value() or not settings.api_secret.get_secret_value():
            raise ValueError("no API key; set BOT4_API_KEY and BOT4_API_SECRET to those that `bot4 exchange` takes")
        self.cores = cores.choose(settings)
        if settings.symbol != BTCUSDT_USDM.symbol:
            raise ValueError(f"BOT4_SYMBOL={settings.symbol}: only {BTCUSDT_USDM.symbol} can be traded so far")
        if settings.symbol in settings.watched:
            raise ValueError(f"BOT4_WATCH names {settings.symbol}, which is traded; leave it out")
        self._lock = FileLock(settings.state_dir / "runner.lock")
        if not self._lock.acquire():
            raise BlockingIOError(
                11, f"process {self._lock.holder()} already trades account {settings.account}; stop it first"
            )
        self.control = ControlLink(settings)
        try:
            self._recover()
        except BaseException:
            self._let_go()
            raise

    def _recover(self) -> None:
        settings = self.settings
        settle(settings.journal_dir, settings.shm_dir, policy=settings.journal.policy())
        self.recovered = recovery.recover(settings.journal_dir, settings.state_dir, settings.models_dir, self._say)
        self.models = ModelWatch(settings.models_dir, self.recovered.engine)
        self._swap = None if self.options.no_model else self.models.load_first()
        # Compiled now, not with the first frame or order: a runner that compiles looks hung to the watchdog.
        self.control.gate.admit(Kind.CMD_NEW)
        FeedCore(BTCUSDT_USDM, lambda _: None)

    async def run(self) -> dict[str, Any]:
        """Trade until told to stop; return the session's report."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        self._on_ready({"state": "prepared", "started_in_s": round(time.monotonic() - self._started, 3)})
        async with contextlib.AsyncExitStack() as stack:
            self._how["awake"] = stack.enter_context(cores.kept_awake(self.settings.keep_awake))
            if self.settings.transport == "async":  # the loop of `spin` never sleeps
                self._how["short_slices"] = stack.enter_context(short_slices())
            try:
                await self._open(stack)
            except BaseException:
                self._let_go()
                raise
            try:
                await self._trade(stack)
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

    def _fail(self, error: BaseException) -> None:
        """End the session for an error: what rests is cancelled as in a clean end, and the exit says why."""
        self._failure = self._failure or error
        self.stop(f"{type(error).__name__}: {error}")

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        """Build the session's parts. What fails here leaves nothing behind but an order epoch."""
        settings, found = self.settings, self.recovered
        market = await read_market(settings.rest_url)
        if market.paused:
            self._say("the market is paused; waiting until it runs")
            market = await wait_until_running(settings.rest_url)
        if not await wait_until_past(market.clock, found.last_ns):
            behind = market.clock.wall_s(found.last_ns - market.clock.now_ns())
            self._say(
                f"the market's clock is {behind:.0f} s behind the journal's end: was the machine's clock set back?"
            )
        rest = await stack.enter_async_context(
            RestClient(
                settings.rest_url,
                settings.api_key,
                settings.api_secret,
                ExchangeTime(market.clock),
                settings.recv_window_ms,
            )
        )
        try:
            info = await rest.call(Request("GET", "/fapi/v1/exchangeInfo", signed=False))
            await rest.sync_time()
        except VenueError as error:
            raise ConnectionError(str(error)) from None
        instrument = instruments.versioned(instrument_of(info, BTCUSDT_USDM), found.engine)
        self._watched = watched_instruments(settings, info, instrument)
        listed = [instrument, *self._watched]
        gateway = Gateway(instrument)
        await require_keys(rest, gateway)
        epoch = next_epoch(settings.state_dir / "order_epoch")
        self.session = f"{settings.account}-{epoch:08d}"
        head = opening.header(settings, market, listed, self.session, epoch, found.last_seq + 1)
        journal = JournalClient(
            settings.journal_dir,
            head,
            settings.shm_dir,
            ring_bytes=settings.journal.ring_mb << 20,
            policy=settings.journal.policy(),
            cores=self.cores.others,
        )
        core = Core(
            market.clock, journal, found.engine, found.ledger, found.last_seq + 1, ahead=settings.transport == "async"
        )
        core.latency.venue = rest.time
        core.dispatcher = Dispatcher(rest, gateway, self.control.gate, found.ledger, core.publish, core.fresh)
        self.context = Context(
            settings, market, instrument, self.control, core, rest, gateway, core.dispatcher, self._say, self.stop,
            self._fail,
        )  # fmt: skip
        core.tally = Tally(listed)
        trusted = found.ledger.began_ns > 0
        for command in found.lost:
            journal.append(command)
            found.ledger.apply(command)
        self.account = Account(self.context, trusted=trusted)
        self.feeder = FeederLink(settings, instrument, market.clock, market.shift_ns, self.cores.others)
        self.upkeep = Upkeep(
            self.context, self.account, self.feeder, self.models, self.options.until_market_ns, found.last_seq
        )
        for record in opening.events(settings, market, listed, epoch, found.engine, self._swap):
            core.publish(record)
        core.publish(opening.venue_offset(rest.time))
        self.upkeep.follow_mode()

    async def _trade(self, stack: contextlib.AsyncExitStack) -> None:
        context = self.context
        self.control.beat()  # the watchdog expects a heart from here on
        self.control.set_state(RunnerState.HOLD)
        countdown = Countdown(
            context.rest, context.gateway, self.control.gate.check, self.settings.countdown_ms, context.remark
        )
        public = await stack.enter_async_context(PublicApi(self.settings.rest_url, context.instrument.symbol))
        market = self._market(public, stack)
        self.watch = Watch(
            self._watched, context.core, self.settings.ws_url, public.depth,
            quiet=lambda: context.paused, remark=context.remark,
        )  # fmt: skip
        for work in (
            self.upkeep.beat(),
            self.upkeep.ticks(),
            self.upkeep.slow(),
            countdown.run(),
            self.account.stream.run(),
            self.account.run(),
            market,
            instruments.InstrumentWatch(context, self.feed, self.watch.compare).run(),
            *((self.watch.run(),) if self._watched else ()),
            self._announce(),
            self._keep_report(),
            self._show_feeds(),
        ):
            self._start(work)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self.options.seconds)
        self.stop(f"{self.options.seconds} s are over")
        self._say(f"stopping: {self._why}")
        try:
            await quiesce(context)
        except OSError as error:
            self._fail(error)

    def _market(self, public: PublicApi, stack: contextlib.AsyncExitStack) -> Coroutine[Any, Any, None]:
        """Build the feed and what keeps it fed; return its work."""
        context, core = self.context, self.context.core
        url = stream_url(self.settings.ws_url, context.instrument.symbol)
        gauge = StreamGauge() if self.settings.transport == "spin" else None  # a MarketStream measures for itself
        feed = self.feed = PathFeed(
            context.instrument,
            gauge.through(core.on_market) if gauge else core.on_market,
            core.journal,
            liquidation_usd=self.settings.liquidation_usd,
        )
        market = HotMarket(core, feed, gauge.hear if gauge else None)
        workers = stack.enter_context(self.cores.workers())
        asyncio.get_running_loop().set_default_executor(workers)
        self.cores.pin_loop()
        if gauge is None:
            self.connections = stream = MarketStream(
                feed,
                url,
                public.depth,
                core.clock.now_ns,
                on_batch=core.advance,
                quiet=lambda: context.paused,
                room=lambda: core.journal.room,
            )
            return stream.run()
        polled = SpinStream(
            feed,
            url,
            lambda: asyncio.create_task(public.depth()),
            core.clock.now_ns,
            take=market.take_poll,
            quiet=lambda: context.paused,
            workers=workers,
        )
        gauge.watch(polled)
        self.connections = gauge
        return spin(polled, market)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _keep_report(self) -> None:
        """Write the session's report now and every second, so that one which is killed has left it too."""
        while True:
            report.write_report(self.settings.state_dir, self.session, self.context.core, self._started, self._how)
            await asyncio.sleep(REPORT_S)

    async def _show_feeds(self) -> None:
        """Let `bot4 feeds` see the market data of this session, until it ends."""
        settings, core = self.settings, self.context.core
        pools = [self.connections, *((self.watch.pool,) if self._watched else ())]
        publisher = Publisher(settings.shm_dir, role="live", account=settings.account, journal=settings.journal_dir)
        try:
            while True:
                journal = journal_status(core.journal, core.last_seq)
                publisher.publish(core.tally, pools, engine_ns=core.clock.now_ns(), written=journal)
                await asyncio.sleep(PUBLISH_S)
        finally:
            publisher.close()

    async def _announce(self) -> None:
        """Say, once, that trading begins: the venue and the log agree and the book is in use."""
        while not (self.control.state == RunnerState.TRADING and self.feed.live):
            await asyncio.sleep(0.01)
        core, market, champion = self.context.core, self.context.market, self.models.champion
        self._on_ready(
            {
                "state": "trading",
                **self._how,
                "account": self.settings.account,
                "session": self.session,
                "market": self.context.instrument.market,
                "watch": [instrument.market for instrument in self._watched],
                "mode": Mode(self.upkeep.mode).name,
                "speed_milli": market.clock.speed_milli,
                "shift_ns": market.shift_ns,
                "market_ns": market.clock.now_ns(),
                "seq": core.last_seq,
                "position_lots": core.ledger.position,
                "open_orders": len(core.ledger.live_orders()),
                "model_version": champion.version if champion else None,
                "model_alias": champion.alias if champion else None,
                "replayed": self.recovered.replayed,
                "started_in_s": round(time.monotonic() - self._started, 3),
            }
        )

    async def _close(self) -> dict[str, Any]:
        """End the parts in order, keep the state, seal the journal."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        context, champion = self.context, self.models.champion
        await context.dispatcher.close()
        self.feeder.close()
        extra = {
            **self._how,
            "stopped": self._why,
            "model": vars(champion) if champion else None,
            "feed": self.feed.counts.as_dict(),
            "watched": self.watch.counts(),
            "market": context.instrument.market,
            "source": context.market.source,
            "shift_ns": context.market.shift_ns,
        }
        try:
            path, content = report.write_report(
                self.settings.state_dir, self.session, context.core, self._started, extra
            )
            await self.upkeep.finish()
        finally:
            try:
                context.core.journal.close()
            finally:
                self._let_go()
        self._say(f"stopped ({self._why}); latencies and counters are in {path}")
        return content

    def _let_go(self) -> None:
        """Tell the watchdog that we are gone on purpose: one that only vanished has its orders cancelled."""
        self.control.leave()
        self._lock.release()


def run(settings: Settings, options: Options, on_ready: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run one session to its end on uvloop and return its report."""
    import uvloop

    runner = Runner(settings, options, on_ready=on_ready)
    runner.prepare()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(runner.run())
