"""The core of a session: every record goes through here, into the log, the engine, the ledger, and out as commands."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import numpy as np

from bot4_live.clock import TICK_NS, MarketClock
from bot4_live.crash_points import reach
from bot4_live.engine import Engine
from bot4_live.events import Kind, header_of
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.ledger import Ledger
from bot4_live.journal.backlog import Backlog
from bot4_live.journal.client import JournalClient
from bot4_live.market.feed_status import Tally
from bot4_live.sequencer import Sequencer
from bot4_live.session.latency import Latency
from bot4_live.session.pace import Pace, market_times

_ACCOUNT = range(Kind.POSITION, Kind.CANCEL_REJECTED + 1)


class Core:
    """One session's way of a record. Nothing here waits."""

    def __init__(
        self,
        clock: MarketClock,
        journal: JournalClient,
        engine: Engine,
        ledger: Ledger,
        first_seq: int,
        *,
        ahead: bool = False,
    ) -> None:
        """With `ahead` a burst is journaled first and stepped later (`pace`)."""
        self.clock, self.journal, self.engine, self.ledger = clock, journal, engine, ledger
        backlog = Backlog(journal.directory, lambda: journal.written) if ahead else None
        self.sequencer = Sequencer(journal, engine, clock.now_ns(), first_seq, backlog=backlog)
        self.pace = Pace(self.sequencer, clock, self._caught_up) if ahead else None
        self.first_seq = first_seq
        self.latency = Latency()
        self.dispatcher: Dispatcher | None = None
        self.duplicates = 0
        self.watched = 0  # records of instruments that are not traded
        self.kinds: Counter[int] = Counter()
        self.tally = Tally()

    @property
    def events(self) -> int:
        """Return how many events this session has sequenced."""
        return self.sequencer.next_seq - self.first_seq

    @property
    def last_seq(self) -> int:
        """Return the seq of the last event."""
        return self.sequencer.next_seq - 1

    def received_mono(self, recv_ns: int) -> int:
        """Return the real time (CLOCK_MONOTONIC) of an engine time."""
        return self.clock.start_mono_ns + (recv_ns - self.clock.start_market_ns) * 1000 // self.clock.speed_milli

    def on_market(self, record: np.ndarray) -> None:
        """Take in a market record; its recv_ns is when its frame was received."""
        head = header_of(record)
        came_ns = int(head["recv_ns"])  # the sequencer may set it on
        received = self.received_mono(came_ns)
        commands = self.sequencer.push(record)
        if not self.sequencer.ahead:
            self.latency.decision.add(time.monotonic_ns() - received)
        self.latency.market(came_ns, int(head["exch_ns"]))
        kind = int(head["kind"])
        self.kinds[kind] += 1
        self.tally.see(kind, record)
        if commands:
            self.route(commands, received, frame=True)

    def on_watched(self, record: np.ndarray) -> None:
        """Take in a record of an instrument that is followed and not traded."""
        received = time.monotonic_ns()
        commands = self.sequencer.push(record)  # those of TICKs that were due
        self.watched += 1
        self.tally.see(int(header_of(record)["kind"]), record)
        if commands:
            self.route(commands, received)

    def publish(self, record: np.ndarray) -> None:
        """Take in any other record, received now. What the log knows already is dropped and counted."""
        head = header_of(record)
        kind = int(head["kind"])
        if kind in _ACCOUNT and not self.ledger.admits(record):
            self.duplicates += 1
            return
        if kind == Kind.ORDER_FILL:
            reach("before_fill")
        received = time.monotonic_ns()
        head["recv_ns"] = self.clock.now_ns()
        commands = self.sequencer.push(record)
        self.ledger.apply(record)
        self.kinds[kind] += 1
        self.tally.see(kind, record)
        if kind == Kind.ORDER_FILL:
            reach("after_fill")
        if commands:
            self.route(commands, received)

    def advance(self) -> None:
        """Emit the TICKs that are due."""
        received = time.monotonic_ns()
        commands = self.sequencer.advance(self.clock.now_ns())
        if commands:
            self.route(commands, received)

    def until_tick_s(self) -> float:
        """Return the real seconds until the next TICK is due."""
        return self.clock.wall_s(TICK_NS - self.clock.now_ns() % TICK_NS)

    @property
    def behind(self) -> bool:
        """Return whether the engine has not yet seen all that is in the log."""
        return self.sequencer.ahead

    @property
    def lag_s(self) -> float:
        """Return how old the engine's data is at least, in real seconds."""
        return self.pace.lag_s if self.pace is not None else 0.0

    def finish(self, timeout_s: float) -> bool:
        """Let the engine see all that is in the log, at the end of a session; nothing is sent any more."""
        self.dispatcher = None
        return self.pace is None or self.pace.finish(timeout_s)

    def fresh(self, recv_ns: int) -> bool:
        """Return whether what an event of this engine time caused may still leave."""
        return self.pace is None or self.pace.fresh(recv_ns)

    def _caught_up(self, heads: np.ndarray, commands: list[np.ndarray]) -> None:
        """Go on with events that were stepped later than they were journaled."""
        now = time.monotonic_ns()
        for recv_ns in market_times(heads[heads["instrument"] == (self.ledger.traded or 0)]):
            self.latency.decision.add(now - self.received_mono(recv_ns))
        for command in commands:
            self.route([command], self.received_mono(int(header_of(command)["recv_ns"])))

    def route(self, commands: list[np.ndarray], received: int, *, frame: bool = False) -> None:
        """Send commands that are in the log; `received` is when their cause came (CLOCK_MONOTONIC ns)."""
        for command in commands:
            self.ledger.apply(command)
            self.kinds[int(header_of(command)["kind"])] += 1
        reach("decided")
        if self.dispatcher is not None:
            for command in commands:
                self.dispatcher.submit(command, partial(self._written, received, frame))

    def _written(self, received: int, frame: bool) -> None:
        elapsed = time.monotonic_ns() - received
        self.latency.wire.add(elapsed)
        if frame:
            self.latency.wire_frame.add(elapsed)
