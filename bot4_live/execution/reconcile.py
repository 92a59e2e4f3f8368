"""Reconciliation: make the log agree with the venue, at start and after every break of the user stream.

The user stream is subscribed first, so that nothing can happen unseen between the questions and it; then come open
orders, trades since the last one that cannot be missing, position and balance. What the stream tells meanwhile is in
the ledger already and is not told twice. The caller keeps HOLD on until this returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot4_live.clock import MS
from bot4_live.crash_points import reach
from bot4_live.events import Flag, header_of, note
from bot4_live.execution.dispatch import Dispatcher
from bot4_live.execution.gateways.binance_usdm import Gateway
from bot4_live.execution.ledger import Ledger, OrderState
from bot4_live.execution.order_id import from_client_id, to_client_id
from bot4_live.execution.rest import RestClient, UnknownFate, VenueRejected

PAGE = 1000
ROUNDS = 8  # how often a position that does not fit the fills is asked again before the venue's word is taken
PAUSE_S = 0.05
SKEW_NS = 1_000_000_000


@dataclass
class Report:
    """What a reconciliation found."""

    fills: int = 0
    adopted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    foreign: int = 0
    position: int = 0
    rounds: int = 0
    corrected: int = 0  # lots by which the venue's position differed from the fills known

    def summary(self) -> str:
        """Return one line."""
        parts = [f"position {self.position} lots", f"{self.fills} fills caught up", f"{len(self.adopted)} orders found"]
        if self.cancelled:
            parts.append(f"{len(self.cancelled)} cancelled that the journal does not know")
        if self.foreign:
            parts.append(f"{self.foreign} open orders that are not ours left alone")
        if self.corrected:
            parts.append(f"position corrected by {self.corrected} lots")
        return ", ".join(parts)


class Reconciler:
    """Asks and emits. One at a time: `run` and `fetch_fills` may not overlap with themselves."""

    def __init__(
        self,
        rest: RestClient,
        gateway: Gateway,
        ledger: Ledger,
        dispatcher: Dispatcher,
        emit: Callable[[np.ndarray], None],
    ) -> None:
        self._rest, self._gateway, self._ledger, self._dispatcher, self._emit = rest, gateway, ledger, dispatcher, emit
        self._fetching = asyncio.Lock()
        self._unwanted: set[int] = set()  # adopted to be cancelled; until that is done, also in a later run
        dispatcher.fetch_fills = self.fetch_fills

    async def run(self, *, trusted: bool = True) -> Report:
        """Reconcile once. `trusted` says that the journal knows the position, so that a difference is an alarm.

        Raises VenueError when the venue cannot be asked, and Withheld when an order that must not stay cannot be
        cancelled because the gate is closed; nothing is assumed then.
        """
        report = Report()
        await self._dispatcher.drain()
        before = self._ledger.fills
        rows = await self._rest.call(self._gateway.open_orders())
        reach("reconciling")
        names = {int(row["orderId"]): from_client_id(str(row["clientOrderId"])) for row in rows}
        self._ledger.by_venue.update({venue: order_id for venue, order_id in names.items() if order_id})
        await self._closed_meanwhile({order_id for order_id in names.values() if order_id})
        await self.fetch_fills()
        for row in rows:
            await self._open_order(row, report)
        await self._position(report, trusted)
        report.fills = self._ledger.fills - before
        self._emit(self._gateway.on_balance(await self._rest.call(self._gateway.balance())))
        return report

    async def _closed_meanwhile(self, open_ids: set[int]) -> None:
        """Ask about each order that may rest as far as we know and is not among the venue's open ones."""
        doubts = [order.id for order in self._ledger.live_orders() if order.id not in open_ids]
        await asyncio.gather(*(self._dispatcher.resolve(order_id) for order_id in doubts))

    async def _open_order(self, row: dict[str, Any], report: Report) -> None:
        order_id = from_client_id(str(row["clientOrderId"]))
        if not order_id:
            report.foreign += 1
            return
        known = self._ledger.orders.get(order_id)
        report.adopted.append(to_client_id(order_id))
        if known is not None and known.state != OrderState.CLOSED and order_id not in self._unwanted:
            for record in self._gateway.on_order(order_id, row, flags=Flag.REPLAYED):
                self._emit(record)
            return
        if known is not None and known.done >= self._gateway.instrument.lots(row["origQty"]):
            return  # filled since the question was answered
        # Ours by its name and not in the journal (a power cut may lose its last moments), or thought closed: it is
        # made known and then cancelled, never kept on a guess.
        self._emit(self._gateway.adopted(order_id, row))
        self._unwanted.add(order_id)
        try:
            answer = await self._dispatcher.cancel_unasked(order_id)
        except (VenueRejected, UnknownFate):
            await self._dispatcher.resolve(order_id)
        else:
            for record in self._gateway.on_order(order_id, answer, flags=Flag.REPLAYED):
                self._emit(record)
        self._unwanted.discard(order_id)
        report.cancelled.append(to_client_id(order_id))

    async def fetch_fills(self) -> int:
        """Log the trades that the log lacks, oldest first; return how many there were."""
        async with self._fetching:
            ledger, found = self._ledger, 0
            begin = ledger.complete_to if ledger.holding else ledger.last_trade_id
            while True:
                if begin:
                    rows = await self._rest.call(self._gateway.trades_from(begin + 1, PAGE))
                else:
                    rows = await self._rest.call(self._gateway.trades_since(self._began_ms(), PAGE))
                rows.sort(key=lambda row: int(row["id"]))
                for row in rows:
                    found += self._trade(row)
                if len(rows) < PAGE:
                    return found
                begin = int(rows[-1]["id"])

    def _began_ms(self) -> int:
        return max(0, (self._ledger.began_ns - SKEW_NS) // MS)

    def _trade(self, row: dict[str, Any]) -> int:
        trade_id, venue_id = int(row["id"]), int(row["orderId"])
        if self._ledger.seen(trade_id, venue_id) or int(row["time"]) < self._began_ms():
            return 0
        order_id = self._ledger.by_venue.get(venue_id, 0)
        order = self._ledger.orders.get(order_id)
        cumulative = self._gateway.instrument.lots(row["qty"]) + (order.filled if order is not None else 0)
        for record in self._gateway.on_trade(order_id, row, cumulative):
            self._emit(record)
        return 1

    async def _position(self, report: Report, trusted: bool) -> None:
        """Log the venue's position once it fits the fills known; a difference that stays is logged as an alarm."""
        while True:
            report.rounds += 1
            mark = self._ledger.fills
            record = self._gateway.on_position(await self._rest.call(self._gateway.position()))
            lots = int(header_of(record)["a"])
            settled = mark == self._ledger.fills
            if settled and lots == self._ledger.position:
                break
            if settled and (report.rounds >= ROUNDS or not trusted):
                report.corrected = lots - self._ledger.position
                if trusted:
                    self._emit(note(f"position {self._ledger.position} lots by fills, {lots} at the venue: corrected"))
                break
            await self.fetch_fills()
            if report.rounds > 1:
                await asyncio.sleep(PAUSE_S)
        report.position = lots
        self._emit(record)
