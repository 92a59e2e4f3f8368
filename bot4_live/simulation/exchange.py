"""The simulated exchange in one piece: a market source, its clock, the venue, and those who listen."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from bot4_live.clock import MS
from bot4_live.instrument import Instrument
from bot4_live.simulation.accounts import Account, Key
from bot4_live.simulation.auth import ListenKeys
from bot4_live.simulation.bad_frames import BadFrame
from bot4_live.simulation.faults import FaultPlan, RequestFaults
from bot4_live.simulation.frames import TRADE as TRADE_FRAME
from bot4_live.simulation.frames import FrameReader, shift_times, stream_name
from bot4_live.simulation.further import FurtherMarket, Listing, open_markets
from bot4_live.simulation.history import MarketHistory, Print, first_trade_id, read_candles
from bot4_live.simulation.limits import RateLimits
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.market_time import MarketTime
from bot4_live.simulation.past import Past, seeded_outages
from bot4_live.simulation.source import Source
from bot4_live.simulation.streams import Hub
from bot4_live.simulation.venue import Venue

_Frame = tuple[int, bytes, FurtherMarket | None]  # exchange time, frame, whose; None: the traded market's
BATCH = 4000  # frames handled before others get their turn
IDLE_S = 0.5


class Exchange:
    """Runs a market and everything on it. `run` is a task for as long as the exchange lives.

    Times: `time.now_ns()` is the source's original exchange time; what goes out is that plus `shift_ms`, and plus
    `clock_ms` when the exchange's clock is wrong on purpose. A frame received at `local` in the source goes out at
    local + skew, which is never before its own event time.
    """

    def __init__(
        self,
        source: Source,
        keys: dict[str, Key],
        accounts: dict[str, Account],
        *,
        speed_milli: int = 1000,
        paused: bool = False,
        from_ns: int | None = None,
        until_ns: int | None = None,
        shift_ms: int | None = None,
        bad_frames: list[BadFrame] | None = None,
        faults: FaultPlan | None = None,
        weight_limit: int | None = None,
        also: Iterable[Listing] = (),
        also_seed: int = 1,
        past_days: int = 90,
        outages: Iterable[tuple[int, int]] | None = None,
        outage_seed: int | None = None,
        candles: Path | None = None,
    ) -> None:
        """Read the source up to `from_ns` (original exchange time; its start by default) and stand there.

        `also` are further symbols, whose generated markets begin just before. Before its frames every market has a
        generated past of `past_days`, with `outages` (from, to; ms as clients see them) or those of `outage_seed`; the
        traded one's candles may be those of a file. Raises ValueError when the start is past the source's end, and for
        a file that holds no candles.
        """
        self.source = source
        self.instrument = source.instrument
        self.keys = keys
        self.reader = FrameReader(source.instrument)
        start_ns = source.start_ns if from_ns is None else max(from_ns, source.start_ns)
        if start_ns > source.last_ns + source.skew_ns:
            raise ValueError(f"{source.name} ends at {source.last_ns + source.skew_ns} ns, before --from-ns {start_ns}")
        wall_ms = time.time_ns() // MS
        self.shift_ms = wall_ms - start_ns // MS if shift_ms is None else shift_ms
        # A moment before the first frame: who connects to a paused exchange misses none.
        self.time = MarketTime(start_ns - 1, speed_milli=speed_milli, paused=paused, until_ns=until_ns)
        # Ids grow from one start of the exchange to the next.
        self.venue = Venue(self.instrument, MarketBook(self.reader.read(source.snapshot)), accounts, wall_ms * 1000)
        self.hub = Hub()
        self.clock_ms = 0
        self.listen_keys = ListenKeys()
        self.limits = RateLimits(speed_milli=lambda: self.time.speed_milli)
        if weight_limit is not None:
            self.limits.weight_limit = weight_limit
        self.set_faults(faults or FaultPlan())
        self.bad_frames = sorted(bad_frames or [], key=lambda bad: bad.after_frame)
        self.sent = 0  # frames of the traded market since the source's start, those passed over by from_ns included
        self.ended = False
        self.further = open_markets(also, source, also_seed, start_ns)
        self.histories = self._make_histories(also_seed, past_days, outages, outage_seed, candles)
        self._frames = self._merged()
        self._next: _Frame | None = next(self._frames)
        self._last_trade = b""
        self._wake = asyncio.Event()
        self._skip_to(start_ns)

    def now_ns(self) -> int:
        """Return the exchange's time as clients see it, in ns."""
        return self.time.now_ns() + self.shown_ms * MS

    @property
    def instruments(self) -> list[Instrument]:
        """Return what is listed: the traded instrument first."""
        return [self.instrument, *(market.instrument for market in self.further.values())]

    @property
    def shown_ms(self) -> int:
        """Return what is added to every time that goes out."""
        return self.shift_ms + self.clock_ms

    def now_ms(self) -> int:
        """Return the exchange's time as clients see it, in ms."""
        return self.now_ns() // MS

    def catch_up(self) -> int:
        """Bring the venue to the present, so that a request meets the market of its own moment; return now in ns."""
        self._pump(BATCH)
        now = self.now_ns()
        self.venue.advance(now)
        return now

    def set_clock(self, *, speed_milli: int | None, paused: bool | None, until_ns: int | None) -> None:
        """Change the pace of market time. Raises ValueError for what cannot be."""
        self.time.set(speed_milli=speed_milli, paused=paused, until_ns=until_ns)
        self._wake.set()

    def clock(self) -> dict[str, Any]:
        """Return what GET /bot4/clock says; unlike the exchange's own, this clock is never wrong."""
        return {
            "market_ns": self.time.now_ns() + self.shift_ms * MS,
            "speed_milli": self.time.speed_milli,
            "shift_ns": self.shift_ms * MS,
            "paused": self.time.paused,
            "until_ns": self.time.until_ns,
            "source": self.source.name,
            "symbol": self.instrument.symbol,
            "also": list(self.further),
            "start_ns": self.source.start_ns,
            "end_ns": self.source.last_ns + self.source.skew_ns,
            "frames_sent": self.sent,
            "ended": self.ended,
            "clients": sum(1 for listener in self.hub.listeners if listener.streams),
        }

    def set_instrument(self, instrument: Instrument) -> None:
        """Change tick or filters from now on: orders and positions stay, counted in the new ticks."""
        self._pump(BATCH)
        self.venue.set_instrument(instrument)
        self.histories[instrument.symbol].refine(instrument)
        self.instrument = instrument
        self.reader = FrameReader(instrument)

    def inject(self, bad: list[BadFrame]) -> None:
        """Send bad frames; each after the market frame that it names, at once when that one is past."""
        self.bad_frames = sorted([*self.bad_frames, *bad], key=lambda item: item.after_frame)
        self._pump(BATCH)

    def set_faults(self, plan: FaultPlan) -> None:
        """Change the faults from now on."""
        self.hub.set_plan(plan)
        self.request_faults = RequestFaults(plan)
        self.clock_ms = round(plan.clock_ms)
        if plan.ban_after:
            self.limits.ban_after = plan.ban_after
        if plan.ban_s:
            self.limits.ban(plan.ban_s)

    def flush_user_events(self) -> None:
        """Send what the venue has to tell its users."""
        outbox = self.venue.outbox
        while outbox:
            account, event = outbox.popleft()
            self.hub.send_user(account, event)

    async def run(self) -> None:
        """Send the market as its time comes; ends only when cancelled."""
        while True:
            self._wake.clear()
            more = self._pump(BATCH)
            now_ns = self.now_ns()
            self.venue.advance(now_ns)
            for account, key in self.listen_keys.expired(now_ns // MS):
                self.hub.end_user(account, key, now_ns // MS)
            self.flush_user_events()
            if more:
                await asyncio.sleep(0)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._idle_s())

    def _idle_s(self) -> float:
        """Return the real seconds until something is due."""
        due = []
        if self._next is not None:
            due.append(self._next[0])
        countdown = self.venue.next_due_ns()
        if countdown is not None:
            due.append(countdown - self.shown_ms * MS)
        waits = [wait for wait in (self.time.real_s(at) for at in due) if wait is not None]
        return min([IDLE_S, *waits])

    def _pump(self, most: int) -> bool:
        """Send up to `most` due market frames as one batch; return whether more are due."""
        now = self.time.now_ns()
        shift_ns = self.shown_ms * MS
        batch: list[tuple[str, bytes]] = []
        self._inject_due(batch)
        taken = 0
        while self._next is not None and self._next[0] <= now and taken < most:
            at, raw, market = self._next
            name = stream_name(raw)
            self._take(at + shift_ns, raw, market)
            if name:  # a recorded REST answer is not sent as a frame
                frame = shift_times(raw, self.shown_ms)
                batch.append((name, frame))
                if market is None and name.endswith("@trade"):
                    self._last_trade = frame
            taken += 1
            self._inject_due(batch)
            self._step()
        if batch:
            self.hub.send_market(batch)
        self.flush_user_events()
        return self._next is not None and self._next[0] <= now

    def _merged(self) -> Iterator[_Frame]:
        """Return the frames of all markets by exchange time; they are made as they are taken."""
        traded = ((local_ns + self.source.skew_ns, raw, None) for local_ns, raw in self.source.frames())
        if not self.further:
            return traded
        return merge(traded, *(market.frames() for market in self.further.values()), key=itemgetter(0))

    def _take(self, now_ns: int, raw: bytes, market: FurtherMarket | None) -> None:
        """Let the market of a frame take it in; what is counted as sent are the traded one's."""
        if market is None:
            update = self.reader.read(raw)
            self.venue.on_market(update, now_ns)
            self.sent += 1
        else:
            update = market.take(raw, now_ns // MS)
        if update.kind == TRADE_FRAME:
            history = self.histories[(market or self).instrument.symbol]
            history.add(Print(update.trade_id, now_ns // MS, update.price, update.qty, update.sells))

    def _make_histories(
        self,
        seed: int,
        days: int,
        outages: Iterable[tuple[int, int]] | None,
        outage_seed: int | None,
        candles: Path | None,
    ) -> dict[str, MarketHistory]:
        """Return what each market can be asked about its past, which ends where its frames begin."""
        begin_ns, out = self.source.start_ns, tuple(outages or ())
        if outage_seed is not None:
            until_ms = begin_ns // MS + self.shift_ms
            out = seeded_outages(outage_seed, until_ms - days * 86_400_000, until_ms)

        def history(
            instrument: Instrument, book: MarketBook, frames: Iterator[tuple[int, bytes]], end_ns: int
        ) -> MarketHistory:
            number, end_ms = zlib.crc32(instrument.symbol.encode()) ^ seed, end_ns // MS + self.shift_ms
            past = Past(number, end_ms, book.best(bids=True)[0], first_trade_id(frames), days, out)
            return MarketHistory(instrument, past)

        found = {self.instrument.symbol: history(self.instrument, self.venue.book, self.source.frames(), begin_ns)}
        for symbol, market in self.further.items():
            found[symbol] = history(market.instrument, market.book, market.raw_frames(), market.begin_ns)
        if candles is not None:
            traded = found[self.instrument.symbol]
            found[self.instrument.symbol] = replace(traded, from_file=read_candles(candles, self.instrument))
        return found

    def _inject_due(self, batch: list[tuple[str, bytes]]) -> None:
        while self.bad_frames and self.bad_frames[0].after_frame <= self.sent:
            if not (frame := self.bad_frames[0].encode(self.now_ms(), self._last_trade)):
                return  # repeats a trade, and none was sent yet
            batch.append(("*", frame))
            self.bad_frames.pop(0)

    def _step(self) -> None:
        self._next = next(self._frames, None)
        self.ended = self._next is None

    def _skip_to(self, start_ns: int) -> None:
        """Read on to `start_ns` without sending; the book follows."""
        shift_ns = self.shown_ms * MS
        while self._next is not None and self._next[0] < start_ns:
            self._take(self._next[0] + shift_ns, self._next[1], self._next[2])
            self._step()
        self.venue.advance(start_ns + shift_ns)
        self.bad_frames = [bad for bad in self.bad_frames if bad.after_frame >= self.sent]
