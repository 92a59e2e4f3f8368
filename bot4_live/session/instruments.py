"""Tick, lot and filters change while we trade: noticed, said to the log, and taken over without a wrong price.

Another tick or lot makes every number we hold mean something else. So: HOLD, by which the engine cancels its quotes;
wait until none of our orders rests; then one INSTRUMENT event, after which feed, engine, gateway and ledger count in
the new units; the book comes back with its next snapshot, and HOLD ends when venue and log agree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bot4_live.engine import Engine
from bot4_live.events import Reason
from bot4_live.execution.gateways.binance_usdm import instrument_of
from bot4_live.execution.rest import Request, VenueError, Withheld
from bot4_live.instrument import Instrument
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.listing_watch import ListingWatch
from bot4_live.session.context import Context

CANCEL_S = 5.0
FIELDS = ("tick_e8", "lot_e8", "min_qty", "max_qty", "min_notional_e8", "maker_fee_e8", "taker_fee_e8")


def versioned(instrument: Instrument, engine: Engine) -> Instrument:
    """Return the instrument under the version that the engine knows it by, or under the next when it has changed."""
    told = engine.state["instrument"][0]
    if not told["known"] or int(told["id"]) != instrument.id:
        return instrument
    changed = any(int(told[name]) != getattr(instrument, name) for name in FIELDS)
    return replace(instrument, version=int(told["version"]) + changed)


def difference(old: Instrument, new: Instrument) -> str:
    """Return what differs, for people: `tick_e8 10000000 -> 1000000`."""
    names = [name for name in FIELDS if getattr(old, name) != getattr(new, name)]
    return ", ".join(f"{name} {getattr(old, name)} -> {getattr(new, name)}" for name in names) or "digits"


class InstrumentWatch:
    """`run` is a task of the session. It asks every `instrument_check_s`, and soon after a frame lost digits."""

    def __init__(self, context: Context, feed: FeedCore, others: Callable[[Any], None] = lambda _: None) -> None:
        """Compare `context.instrument`, which it keeps up to date, with the venue's; `others` sees exchangeInfo too."""
        self._context, self._feed, self._others = context, feed, others
        self._halted = ""

    async def run(self) -> None:
        """Look and ask until cancelled."""
        lost = self._feed.counts.quarantined
        every_s = self._context.settings.instrument_check_s
        await ListingWatch(lambda: lost[Reason.LOST_DIGITS], every_s, self.check).run()

    async def check(self) -> bool:
        """Compare the instrument with the venue's and take over what has changed; False, as there is more to watch."""
        context = self._context
        try:
            info = await context.rest.call(Request("GET", "/fapi/v1/exchangeInfo", signed=False))
        except VenueError:
            return False  # asked again
        self._others(info)
        try:
            found = instrument_of(info, context.instrument)
        except (ValueError, KeyError) as error:
            self._halt(str(error))
            return False
        if self._halted:
            context.remark(f"{context.instrument.symbol} is traded again")
            self._halted = ""
            context.reconcile_wanted.set()
        if found is not context.instrument:
            await self._take_over(found)
        return False

    def _halt(self, why: str) -> None:
        """Hold while the venue does not trade it, or says of it what cannot be used."""
        if why != self._halted:
            self._halted = why
            self._context.remark(f"holding: {why}")
        self._context.hold()

    async def _take_over(self, found: Instrument) -> None:
        context, old = self._context, self._context.instrument
        context.remark(f"{found.symbol} version {found.version}: {difference(old, found)}")
        rescales = (found.tick_e8, found.lot_e8) != (old.tick_e8, old.lot_e8)
        if rescales:
            context.hold()
            await self._empty_book()
        while context.core.behind:  # what waits was sequenced, and will be decided, in the old units
            await asyncio.sleep(0.01)
        self._feed.change_instrument(context.market.clock.now_ns(), found)
        context.instrument = context.gateway.instrument = found
        context.core.ledger.apply(found.record(0))
        if rescales:
            context.reconcile_wanted.set()

    async def _empty_book(self) -> None:
        """Wait until none of our orders rests; after a while cancel all, unasked by the engine."""
        context = self._context
        if await self._cancelled():
            return
        try:
            await context.dispatcher.cancel_unasked()
        except (VenueError, Withheld) as error:
            context.remark(f"cancel-all before a change of units: {error}")
        if not await self._cancelled():
            left = len(context.core.ledger.live_orders())
            context.remark(f"{left} orders are not confirmed cancelled; reconciliation asks about them")

    async def _cancelled(self) -> bool:
        deadline = time.monotonic() + CANCEL_S
        while self._context.core.ledger.live_orders():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True
