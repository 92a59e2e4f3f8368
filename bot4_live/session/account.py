"""The account's side of a session: the user stream, and reconciliation whenever it is in doubt."""

from __future__ import annotations

import asyncio
from typing import Any

from bot4_live import engine_events
from bot4_live.execution.reconcile import Reconciler
from bot4_live.execution.rest import VenueError, Withheld
from bot4_live.execution.user_stream import UserStream
from bot4_live.safety.control import RunnerState
from bot4_live.session.context import Context

RETRY_S = 0.5
BEHIND_S = 0.01


class Account:
    """Keeps log and venue in agreement. `stream.run` and `run` are tasks of the session."""

    def __init__(self, context: Context, *, trusted: bool) -> None:
        """`trusted` says that the journal knows the position: a difference is then an alarm."""
        self._context, self._trusted = context, trusted
        self._up = asyncio.Event()
        self._suspect = (0, 0)
        core = context.core
        self.reconciler = Reconciler(context.rest, context.gateway, core.ledger, context.dispatcher, core.publish)
        self.stream = UserStream(
            context.rest,
            context.settings.ws_url,
            on_up=self._connected,
            on_down=self._lost,
            on_message=self._message,
            on_bad=context.doubt,
        )

    def _connected(self) -> None:
        self._up.set()
        self._context.reconcile_wanted.set()

    def _lost(self, why: str) -> None:
        self._up.clear()
        self._context.say(f"the user stream broke ({why}): holding until the venue was asked")
        self._context.hold()

    def _message(self, message: dict[str, Any]) -> None:
        for record in self._context.gateway.on_user_message(message):
            self._context.core.publish(record)

    async def run(self) -> None:
        """Reconcile whenever it is wanted and the user stream is up; release HOLD when log and venue agree."""
        context = self._context
        wanted = context.reconcile_wanted
        while True:
            await wanted.wait()
            await self._up.wait()
            if context.core.lag_s > 0:  # answers would wait behind the backlog, and HOLD is to stay until it is done
                await asyncio.sleep(BEHIND_S)
                continue
            wanted.clear()
            connects = self.stream.connects
            try:
                found = await self.reconciler.run(trusted=self._trusted)
            except (VenueError, Withheld, KeyError, ValueError) as error:
                context.remark(f"reconciliation failed, trying again: {error}")
                wanted.set()
                await asyncio.sleep(RETRY_S)
                continue
            if not self._up.is_set() or self.stream.connects != connects or wanted.is_set():
                wanted.set()  # the stream broke meanwhile: what it did not tell is not known
                continue
            self._trusted = True
            context.remark(f"reconciled: {found.summary()}")
            if context.control.state == RunnerState.HOLD:
                context.core.publish(engine_events.hold(0, False))
                context.control.set_state(RunnerState.TRADING)

    def check(self) -> None:
        """Notice fills that the stream should have told and has not; call it once a second."""
        context, ledger = self._context, self._context.core.ledger
        if context.control.state != RunnerState.TRADING or context.paused:
            self._suspect = (0, 0)
            return
        # One trade comes as fill and as account update: only a difference that stays is one.
        lacking = ledger.position - ledger.venue_position if ledger.venue_known else 0
        suspect = (lacking or int(ledger.missing_fills()), ledger.fills)
        if suspect[0] and suspect == self._suspect:
            context.doubt(f"fills seem to be missing (position {ledger.position}, venue {ledger.venue_position})")
        self._suspect = suspect
