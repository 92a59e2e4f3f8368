"""What is known of our orders and position: the way out's own memory, rebuilt from the journal.

The engine keeps a state of its own; this one exists so that duplicates never reach the log (the REST answer, the
user stream and a query may tell the same thing) and so that recovery knows what to ask about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from bot4_live.events import Flag, Kind, header_of, slots_of

KEEP_CLOSED = 4096
KEEP_TRADES = 65536


class OrderState(IntEnum):
    """Where an order is, as far as we know."""

    DECIDED = 1  # the engine wants it; not a byte has left
    SENT = 2  # bytes may have left; no answer yet
    OPEN = 3
    UNKNOWN = 4  # asked about
    CLOSED = 5


@dataclass(slots=True)
class Order:
    """One order of ours. Prices in ticks, quantities in lots; `sent_ns` is engine time of the last attempt."""

    id: int
    sell: bool
    price: int
    qty: int
    state: OrderState = OrderState.DECIDED
    venue_id: int = 0
    filled: int = 0  # cumulative, from fills
    done: int = 0  # cumulative, as the venue last said
    sent_ns: int = 0

    @property
    def live(self) -> bool:
        """Return whether it may rest at the venue."""
        return self.state in (OrderState.SENT, OrderState.OPEN, OrderState.UNKNOWN)


class Ledger:
    """Orders, fills and position as the log tells them. `apply` takes every record, in log order."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.by_venue: dict[int, int] = {}
        self.position = 0  # lots, signed: the venue's word while on hold, and the fills since
        self.venue_position = 0  # as last reported, whether taken or not
        self.venue_known = False
        self.truth_ns = 0  # venue time of the position last taken: fills up to then are in it
        self.last_trade_id = 0
        self.fills = 0  # fills applied, ever
        self.sent = 0  # new orders attempted, ever
        self.began_ns = 0  # engine time of the journal's first session: trades before it are not ours to know
        self.complete_to = 0  # while on hold: the trade id up to which no fill can be missing
        self.holding = True
        self.tick_e8 = self.lot_e8 = 0  # of the instrument's version in force, 0 before the first
        self.traded: int | None = None  # instrument id: that of the session's first INSTRUMENT, as for the engine
        self._trades: dict[tuple[int, int], None] = {}
        self._closed: dict[int, None] = {}

    def live_orders(self) -> list[Order]:
        """Return the orders that may rest at the venue."""
        return [order for order in self.orders.values() if order.live]

    def missing_fills(self) -> bool:
        """Return whether the venue has told of executed lots whose fills are not in the log."""
        return any(order.done > order.filled for order in self.orders.values())

    def unsent(self) -> list[Order]:
        """Return the orders that were decided and never attempted (a crash lay between)."""
        return [order for order in self.orders.values() if order.state == OrderState.DECIDED]

    def seen(self, trade_id: int, venue_id: int) -> bool:
        """Return whether this fill is in the log."""
        return (trade_id, venue_id) in self._trades

    def admits(self, record: np.ndarray) -> bool:
        """Return whether an account event says anything new: what was told before must not be in the log twice."""
        head = header_of(record)
        kind = int(head["kind"])
        if kind == Kind.ORDER_FILL:
            return not self.seen(int(head["b"]), int(head["c"]))
        order = self.orders.get(int(head["a"]))
        if order is None:
            return kind != Kind.ORDER_ACCEPTED or int(head["a"]) != 0
        if kind == Kind.ORDER_ACCEPTED:
            if order.state == OrderState.CLOSED:
                return False
            return order.state != OrderState.OPEN or int(head["c"]) > order.done
        if kind in (Kind.ORDER_CANCELED, Kind.ORDER_EXPIRED, Kind.ORDER_REJECTED, Kind.ORDER_UNKNOWN):
            return order.state != OrderState.CLOSED
        return True

    def apply(self, record: np.ndarray) -> None:
        """Take in one record of the log, event or command."""
        head = header_of(record)
        kind, a = int(head["kind"]), int(head["a"])
        if kind == Kind.CMD_NEW:
            price, qty = (int(v) for v in slots_of(record)[0])
            self.orders[a] = Order(a, bool(int(head["flags"]) & Flag.SELL), price, qty)
        elif kind == Kind.SEND_ATTEMPT:
            order = self.orders.get(a)
            if order is not None and int(head["b"]) == Kind.CMD_NEW:
                self.sent += 1
                order.state, order.sent_ns = OrderState.SENT, int(head["recv_ns"])
        elif kind == Kind.SUPPRESSED:
            if int(head["c"]) == Kind.CMD_NEW:
                self._close(a)
        elif kind == Kind.POSITION:
            self.venue_position, self.venue_known = a, True
            if self.holding:  # else fills are the truth: one trade comes as fill and as account update
                self.position, self.truth_ns = a, max(self.truth_ns, int(head["c"]))
        elif kind == Kind.CANCEL_REJECTED:
            order = self.orders.get(a)
            if order is not None and order.state == OrderState.OPEN:
                order.state = OrderState.UNKNOWN  # mostly it has just filled; a query says
        elif kind == Kind.HOLD:
            self._hold(bool(a))
        elif kind == Kind.SESSION:
            self._session(int(head["recv_ns"]))
        elif kind == Kind.INSTRUMENT:
            self.traded = int(head["instrument"]) if self.traded is None else self.traded
            if head["instrument"] == self.traded:
                self._rescale(*(int(v) for v in slots_of(record)[0]))
        elif kind == Kind.ORDER_FILL:
            self._fill(record, head, a)
        elif kind in _STATES:
            self._order(record, kind, head, a)

    def _hold(self, on: bool) -> None:
        # A fill that comes while others may be missing must not move the point to ask from.
        if on and not self.holding:
            self.complete_to = self.last_trade_id
        self.holding = on

    def _rescale(self, tick_e8: int, lot_e8: int) -> None:
        """Count in other ticks and lots; what is no whole number of them, the next reconciliation corrects."""
        if self.tick_e8 and (tick_e8, lot_e8) != (self.tick_e8, self.lot_e8):
            was, now = self.lot_e8, lot_e8
            self.position, self.venue_position = self.position * was // now, self.venue_position * was // now
            for order in self.orders.values():
                order.price = order.price * self.tick_e8 // tick_e8
                order.qty, order.filled, order.done = (n * was // now for n in (order.qty, order.filled, order.done))
        self.tick_e8, self.lot_e8 = tick_e8, lot_e8

    def _session(self, now_ns: int) -> None:
        self.began_ns = self.began_ns or now_ns
        self.traded = None
        self._hold(True)
        for order in list(self.orders.values()):
            if order.state == OrderState.DECIDED:
                self._close(order.id)
            elif order.live:
                order.state = OrderState.UNKNOWN

    def _fill(self, record: np.ndarray, head: np.void, order_id: int) -> None:
        trade_id, venue_id = int(head["b"]), int(head["c"])
        self._trades[trade_id, venue_id] = None
        if len(self._trades) > KEEP_TRADES:
            del self._trades[next(iter(self._trades))]
        self.last_trade_id = max(self.last_trade_id, trade_id)
        self.fills += 1
        slots = slots_of(record)
        qty = int(slots[0, 1])
        if not 0 < int(head["exch_ns"]) <= self.truth_ns:
            self.position += -qty if int(head["flags"]) & Flag.SELL else qty
        order = self.orders.get(order_id)
        if order is None:
            return
        self._name(order, venue_id)
        order.filled += qty
        order.done = max(order.done, int(slots[1, 0]), order.filled)
        if order.filled >= order.qty:
            self._close(order_id)
        elif order.state != OrderState.CLOSED:
            order.state = OrderState.OPEN

    def _order(self, record: np.ndarray, kind: int, head: np.void, order_id: int) -> None:
        order = self.orders.get(order_id)
        if order is None and kind in (Kind.ORDER_ADOPTED, Kind.ORDER_ACCEPTED) and order_id:
            price, qty = (int(v) for v in slots_of(record)[0])
            order = self.orders[order_id] = Order(order_id, bool(int(head["flags"]) & Flag.SELL), price, qty)
        if order is None:
            return
        if kind not in (Kind.ORDER_REJECTED, Kind.ORDER_UNKNOWN):
            self._name(order, int(head["b"]))
            order.done = max(order.done, int(head["c"]))
        if kind == Kind.ORDER_UNKNOWN:
            if order.state != OrderState.CLOSED:
                order.state = OrderState.UNKNOWN
        elif kind in (Kind.ORDER_ACCEPTED, Kind.ORDER_ADOPTED):
            if order.state != OrderState.CLOSED:
                order.state = OrderState.OPEN
            if order.done >= order.qty:
                self._close(order_id)
        else:
            self._close(order_id)

    def _name(self, order: Order, venue_id: int) -> None:
        if venue_id and not order.venue_id:
            order.venue_id = venue_id
            self.by_venue[venue_id] = order.id

    def _close(self, order_id: int) -> None:
        order = self.orders.get(order_id)
        if order is None or order.state == OrderState.CLOSED:
            return
        order.state = OrderState.CLOSED
        self._closed[order_id] = None
        if len(self._closed) > KEEP_CLOSED:
            oldest = next(iter(self._closed))
            del self._closed[oldest]
            gone = self.orders.pop(oldest)
            self.by_venue.pop(gone.venue_id, None)

    def dump(self) -> dict[str, Any]:
        """Return what a snapshot keeps, as JSON: closed orders' ids too, for late fills."""
        return {
            "position": self.position,
            "venue_position": self.venue_position,
            "truth_ns": self.truth_ns,
            "last_trade_id": self.last_trade_id,
            "fills": self.fills,
            "sent": self.sent,
            "began_ns": self.began_ns,
            "complete_to": self.complete_to,
            "holding": self.holding,
            "units": [self.tick_e8, self.lot_e8],
            "traded": self.traded,
            "trades": [list(key) for key in self._trades],
            "orders": [
                [o.id, o.sell, o.price, o.qty, int(o.state), o.venue_id, o.filled, o.done, o.sent_ns]
                for o in self.orders.values()
            ],
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Ledger:
        """Return the ledger of a dump."""
        ledger = cls()
        ledger.position, ledger.last_trade_id = data["position"], data["last_trade_id"]
        ledger.venue_position, ledger.truth_ns = data["venue_position"], data["truth_ns"]
        ledger.fills, ledger.sent = data["fills"], data["sent"]
        ledger.began_ns, ledger.complete_to, ledger.holding = data["began_ns"], data["complete_to"], data["holding"]
        ledger.tick_e8, ledger.lot_e8 = data.get("units", (0, 0))
        ledger.traded = data.get("traded")
        ledger._trades = dict.fromkeys((trade, venue) for trade, venue in data["trades"])
        for order_id, sell, price, qty, state, venue_id, filled, done, sent_ns in data["orders"]:
            order = Order(order_id, sell, price, qty, OrderState(state), venue_id, filled, done, sent_ns)
            ledger.orders[order_id] = order
            if venue_id:
                ledger.by_venue[venue_id] = order_id
            if order.state == OrderState.CLOSED:
                ledger._closed[order_id] = None
        return ledger


_STATES = {
    Kind.ORDER_ACCEPTED,
    Kind.ORDER_CANCELED,
    Kind.ORDER_REJECTED,
    Kind.ORDER_EXPIRED,
    Kind.ORDER_UNKNOWN,
    Kind.ORDER_ADOPTED,
}
