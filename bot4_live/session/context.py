"""What the parts of a running session share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bot4_live import engine_events
from bot4_live.events import note
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.gateways.binance_usdm import Gateway
from bot4_live.execution.rest import RestClient
from bot4_live.instrument import Instrument
from bot4_live.safety.control import RunnerState
from bot4_live.session.control_link import ControlLink
from bot4_live.session.core import Core
from bot4_live.session.venue import Market
from bot4_live.settings import Settings


@dataclass
class Context:
    """One session's parts. `end(why)` ends it cleanly, `fail(error)` too, with an exit that says why."""

    settings: Settings
    market: Market
    instrument: Instrument
    control: ControlLink
    core: Core
    rest: RestClient
    gateway: Gateway
    dispatcher: Dispatcher
    say: Callable[[str], None]
    end: Callable[[str], None]
    fail: Callable[[BaseException], None]
    paused: bool = False  # a simulated market stands still
    reconcile_wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def remark(self, text: str) -> None:
        """Tell people, and keep it in the log."""
        self.say(text)
        self.core.publish(note(text))

    def hold(self) -> None:
        """Let nothing leave but cancels and reduce-only orders until a reconciliation is clean."""
        if self.control.state in (RunnerState.TRADING, RunnerState.STARTING):
            self.control.set_state(RunnerState.HOLD)
        if not self.core.ledger.holding:
            self.core.publish(engine_events.hold(0, True))

    def doubt(self, text: str) -> None:
        """Hold and reconcile, because `text`."""
        self.remark(text)
        self.hold()
        self.reconcile_wanted.set()
