"""The order table: every transition, and any interleaving and duplication of what a venue may report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numba import njit

from bot4_live.engine_events import record
from bot4_live.events import HEADER, HEADER_SIZE, Flag, Kind, header_of, slots_of
from bot4_live.execution import orders as table
from bot4_live.execution.account import ACCOUNT, on_fill
from bot4_live.execution.orders import CAPACITY, ORDERS, TRADES, OrderState, on_order_event

S = OrderState
UNIT = 10_000


@njit
def _take(t: Any, a: Any, h: Any, slots: np.ndarray) -> bool:
    new = on_order_event(t, h, slots)
    if new:
        on_fill(a, h, slots, UNIT)
    return new


class Book:
    """A table with its account, fed by records."""

    def __init__(self, epoch: int = 7) -> None:
        self.table, self.account = np.zeros(1, ORDERS), np.zeros(1, ACCOUNT)
        table.start_session(self.table[0], epoch)

    def make(self, side: int = 1, price: int = 600_000, qty: int = 10) -> int:
        row = table.make(self.table[0], side, price, qty, int(Flag.POST_ONLY), 0)
        assert row >= 0
        return int(self.table["rows"]["id"][0, row])

    def take(self, event: np.ndarray) -> bool:
        header = event[:HEADER_SIZE].view(HEADER)[0]
        return bool(_take(self.table[0], self.account[0], header, slots_of(event)))

    def row(self, order_id: int) -> np.void:
        index = table.find(self.table[0], order_id)
        assert index >= 0
        return self.table["rows"][0, index]

    def state(self, order_id: int) -> OrderState:
        return OrderState(int(self.row(order_id)["state"]))

    def ask_cancel(self, order_id: int) -> None:
        table.ask_cancel(self.table[0], table.find(self.table[0], order_id), 5)

    def count(self, name: str) -> int:
        return int(self.table[name][0])

    @property
    def position(self) -> int:
        return int(self.account["position"][0])


def attempt(order_id: int, command: Kind = Kind.CMD_NEW) -> np.ndarray:
    return record(Kind.SEND_ATTEMPT, 0, order_id, int(command))


def suppressed(order_id: int, command: Kind = Kind.CMD_NEW) -> np.ndarray:
    return record(Kind.SUPPRESSED, 0, order_id, 2, int(command))


def report(kind: Kind, order_id: int, cumulative: int = 0, venue_id: int = 0) -> np.ndarray:
    return record(kind, 0, order_id, venue_id, cumulative, slots=1)


def adopted(order_id: int, qty: int, cumulative: int, side: int = 1, venue_id: int = 1) -> np.ndarray:
    made = record(Kind.ORDER_ADOPTED, 0, order_id, venue_id, cumulative, slots=1)
    slots_of(made)[0] = (600_000, qty)
    header_of(made)["flags"] = Flag.SELL if side < 0 else 0
    return made


def fill(order_id: int, trade: int, qty: int, cumulative: int, side: int = 1, venue_id: int = 0) -> np.ndarray:
    made = record(Kind.ORDER_FILL, 0, order_id, trade, venue_id, slots=2)
    slots_of(made)[:] = [(600_000, qty), (cumulative, 100)]
    header_of(made)["flags"] = Flag.SELL if side < 0 else 0
    return made


# What is done to an order of 10 lots, step by step, and the state it must be in afterwards.
STEPS: dict[str, Any] = {
    "attempt": lambda b, i: b.take(attempt(i)),
    "ack": lambda b, i: b.take(report(Kind.ORDER_ACCEPTED, i)),
    "fill4": lambda b, i: b.take(fill(i, 1, 4, 4)),
    "fill6": lambda b, i: b.take(fill(i, 2, 6, 10)),
    "cancel": lambda b, i: b.ask_cancel(i),
    "cancelled": lambda b, i: b.take(report(Kind.ORDER_CANCELED, i)),
    "expired": lambda b, i: b.take(report(Kind.ORDER_EXPIRED, i)),
    "rejected": lambda b, i: b.take(report(Kind.ORDER_REJECTED, i)),
    "unknown": lambda b, i: b.take(report(Kind.ORDER_UNKNOWN, i)),
    "cancel_rejected": lambda b, i: b.take(report(Kind.CANCEL_REJECTED, i)),
    "adopted": lambda b, i: b.take(adopted(i, 10, 0)),
    "gate_new": lambda b, i: b.take(suppressed(i)),
    "gate_cancel": lambda b, i: b.take(suppressed(i, Kind.CMD_CANCEL)),
    "gate_cancel_all": lambda b, i: b.take(suppressed(0, Kind.CMD_CANCEL_ALL)),
    "attempt_cancel": lambda b, i: b.take(attempt(i, Kind.CMD_CANCEL)),
    "session": lambda b, i: table.start_session(b.table[0], 8),
}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("", S.PENDING_SEND),
        ("attempt", S.SENT),
        ("attempt ack", S.ACCEPTED),
        ("attempt ack ack", S.ACCEPTED),
        ("attempt fill4", S.PARTIAL),  # fill before acknowledgement
        ("attempt fill4 ack", S.PARTIAL),
        ("attempt fill6", S.DONE),  # its cumulative says that nothing is left, though a fill is still to come
        ("attempt fill6 fill4", S.DONE),
        ("attempt fill4 fill4", S.PARTIAL),
        ("attempt rejected", S.DONE),
        ("attempt expired ack", S.DONE),  # the late acknowledgement does not reopen it
        ("attempt ack rejected", S.ACCEPTED),  # cannot be true: counted, not believed
        ("gate_new", S.DONE),
        ("attempt gate_new", S.DONE),
        ("gate_new adopted", S.ACCEPTED),  # thought never sent, but it is there
        ("attempt ack gate_new", S.ACCEPTED),
        ("attempt ack cancel", S.PENDING_CANCEL),
        ("attempt ack cancel gate_cancel", S.ACCEPTED),
        ("attempt ack fill4 cancel gate_cancel", S.PARTIAL),
        ("attempt ack cancel gate_cancel_all", S.ACCEPTED),
        ("attempt ack cancel fill4", S.PENDING_CANCEL),
        ("attempt ack cancel fill4 gate_cancel", S.PARTIAL),
        ("attempt ack cancel attempt_cancel", S.PENDING_CANCEL),
        ("attempt cancel ack gate_cancel", S.ACCEPTED),
        ("cancel attempt gate_cancel", S.SENT),
        ("attempt ack cancel cancelled", S.DONE),
        ("attempt ack cancel cancel_rejected", S.UNKNOWN),
        ("attempt ack cancel cancel_rejected fill4 fill6", S.DONE),
        ("attempt cancelled cancel_rejected", S.DONE),
        ("attempt unknown", S.UNKNOWN),
        ("attempt unknown cancel", S.UNKNOWN),  # a cancel is no answer
        ("attempt unknown ack", S.ACCEPTED),
        ("attempt unknown fill4", S.PARTIAL),
        ("attempt unknown rejected", S.DONE),
        ("attempt unknown expired", S.DONE),
        ("attempt unknown cancelled", S.DONE),
        ("attempt unknown adopted", S.ACCEPTED),
        ("attempt ack cancelled unknown", S.DONE),
        ("attempt ack cancelled adopted", S.DONE),  # a query answered before the cancel
        ("attempt ack cancel adopted", S.PENDING_CANCEL),
        ("session", S.DONE),  # decided, never attempted: never sent
        ("cancel session", S.DONE),
        ("attempt session", S.UNKNOWN),
        ("attempt ack session", S.UNKNOWN),
        ("attempt ack cancel session", S.UNKNOWN),
        ("attempt ack session adopted", S.ACCEPTED),
    ],
)
def test_state_machine(steps: str, expected: OrderState) -> None:
    book = Book()
    order_id = book.make()
    for step in steps.split():
        STEPS[step](book, order_id)
    assert book.state(order_id) is expected


def test_ids_are_epoch_and_sequence_and_never_come_twice() -> None:
    book = Book(epoch=3)
    first, second = book.make(), book.make()
    assert (first, second) == ((3 << 32) | 1, (3 << 32) | 2)
    table.start_session(book.table[0], 3)  # an epoch that does not rise starts no new sequence
    assert book.make() == (3 << 32) | 3
    book.take(adopted((3 << 32) | 9, 5, 0))  # of this epoch, and forgotten
    assert book.make() == (3 << 32) | 10
    table.start_session(book.table[0], 4)
    assert book.make() == (4 << 32) | 1


def test_a_fill_of_an_order_we_never_sent_is_accepted_and_counted_as_foreign() -> None:
    book = Book()
    assert book.take(fill(0, 5, 3, 3, side=-1, venue_id=99))
    assert book.take(fill((6 << 32) | 1, 6, 2, 2))
    assert book.position == -3 + 2
    assert book.count("foreign_fills") == 2
    assert not book.take(fill(0, 5, 3, 3, side=-1, venue_id=99))
    assert book.position == -1


def test_one_trade_of_two_orders_of_ours_counts_for_both() -> None:
    book = Book()
    buy, sell = book.make(1), book.make(-1)
    assert book.take(fill(buy, 5, 4, 4, 1, venue_id=11))
    assert book.take(fill(sell, 5, 4, 4, -1, venue_id=12))
    assert book.position == 0
    assert book.count("fills") == 2


def test_a_late_fill_moves_the_position_and_leaves_the_order_done() -> None:
    book = Book()
    order_id = book.make()
    for event in (attempt(order_id), report(Kind.ORDER_CANCELED, order_id, 4), fill(order_id, 1, 4, 4)):
        book.take(event)
    assert (book.position, book.state(order_id), book.count("late_fills")) == (4, S.DONE, 1)


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_fills_in_any_order_with_or_without_a_cumulative(order: tuple[int, ...], cumulative: bool) -> None:
    book = Book()
    order_id = book.make(qty=10)
    lots, before = [3, 1, 4], 0
    for i in order:
        book.take(fill(order_id, i + 1, lots[i], sum(lots[: i + 1]) if cumulative else 0))
        filled = int(book.row(order_id)["filled"])
        assert filled >= before
        before = filled
    assert (book.position, before, book.state(order_id)) == (8, 8, S.PARTIAL)


def test_trades_older_than_the_ring_count_as_seen() -> None:
    book = Book()
    for trade in range(1, TRADES + 11):
        assert book.take(fill(0, trade, 1, 1, venue_id=trade))
    assert not book.take(fill(0, 3, 1, 1, venue_id=3))
    assert not book.take(fill(0, TRADES, 1, 1, venue_id=TRADES))
    assert book.position == TRADES + 10


def test_the_table_reuses_the_order_finished_longest_ago_and_never_an_open_one() -> None:
    book = Book()
    ids = [book.make() for _ in range(CAPACITY)]
    assert table.make(book.table[0], 1, 600_000, 1, 0, 0) == -1
    book.take(report(Kind.ORDER_CANCELED, ids[9]))
    book.take(report(Kind.ORDER_CANCELED, ids[4]))
    book.make()
    assert table.find(book.table[0], ids[4]) == -1  # the older one
    assert table.find(book.table[0], ids[9]) >= 0
    assert table.open_count(book.table[0]) == CAPACITY - 1
    book.make()
    book.take(adopted(12345, 1, 0))
    assert book.count("table_full") == 1


def test_open_lots_counts_what_may_still_fill() -> None:
    book = Book()
    first, second, third = book.make(1, qty=10), book.make(1, qty=5), book.make(-1, qty=7)
    book.take(fill(first, 1, 4, 4))
    book.take(report(Kind.ORDER_UNKNOWN, second))
    book.ask_cancel(third)
    assert table.open_lots(book.table[0], 1) == 6 + 5
    assert table.open_lots(book.table[0], -1) == 7
    book.take(report(Kind.ORDER_EXPIRED, second))
    assert table.open_lots(book.table[0], 1) == 6


def test_adopting_an_order_keeps_what_was_filled_before() -> None:
    book = Book()
    book.take(adopted((5 << 32) | 3, 10, 4, side=-1, venue_id=77))
    row = book.row((5 << 32) | 3)
    assert (int(row["side"]), int(row["filled"]), int(row["venue_id"])) == (-1, 4, 77)
    assert table.open_lots(book.table[0], -1) == 6
    assert book.position == 0  # that part is in the venue's position
    book.take(adopted(0, 10, 4))
    assert book.count("foreign_orders") == 1


class Venue(RuleBasedStateMachine):
    """A venue with a truth of its own; what it reports arrives late, in any order, and again."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.orders: dict[int, dict[str, Any]] = {}
        self.reports: list[np.ndarray] = []
        self.told: list[bool] = []
        self.trade = 0
        self.distinct: dict[int, int] = {}  # trade id -> signed lots, of those delivered
        self.filled_before: dict[int, int] = {}

    @initialize()
    def _begin(self) -> None:
        self.send(1, 10)

    @rule(side=st.sampled_from([1, -1]), qty=st.integers(1, 20))
    def send(self, side: int, qty: int) -> None:
        if len(self.orders) >= CAPACITY:
            return
        order_id = self.book.make(side, 600_000, qty)
        self.book.take(attempt(order_id))
        self.orders[order_id] = {"side": side, "qty": qty, "filled": 0, "open": False, "over": False}
        self.filled_before[order_id] = 0

    def _tell(self, event: np.ndarray) -> None:
        self.reports.append(event)
        self.told.append(False)

    def _pick(self, data: st.DataObject, *, is_open: bool) -> tuple[int, dict[str, Any]] | None:
        fitting = [(i, o) for i, o in self.orders.items() if o["open"] == is_open and not o["over"]]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @rule(data=st.data(), accept=st.booleans())
    def judge(self, data: st.DataObject, accept: bool) -> None:
        found = self._pick(data, is_open=False)
        if found:
            order_id, order = found
            order["open"], order["over"] = accept, not accept
            self._tell(report(Kind.ORDER_ACCEPTED if accept else Kind.ORDER_REJECTED, order_id))

    @rule(data=st.data(), share=st.integers(1, 20), cumulative=st.booleans())
    def trades(self, data: st.DataObject, share: int, cumulative: bool) -> None:
        found = self._pick(data, is_open=True)
        if found:
            order_id, order = found
            qty = min(share, order["qty"] - order["filled"])
            order["filled"] += qty
            order["over"] = order["filled"] == order["qty"]
            self.trade += 1
            # A query of trades has no cumulative: 0.
            self._tell(fill(order_id, self.trade, qty, order["filled"] if cumulative else 0, order["side"]))

    @rule(data=st.data(), kind=st.sampled_from([Kind.ORDER_CANCELED, Kind.ORDER_EXPIRED]), ask=st.booleans())
    def ends(self, data: st.DataObject, kind: Kind, ask: bool) -> None:
        found = self._pick(data, is_open=True)
        if found:
            order_id, order = found
            if ask:
                self.book.ask_cancel(order_id)
            order["over"] = True
            self._tell(report(kind, order_id, order["filled"]))

    @rule(data=st.data())
    def asks(self, data: st.DataObject) -> None:
        found = self._pick(data, is_open=True)
        if found:
            order_id, order = found
            self._tell(adopted(order_id, order["qty"], order["filled"], order["side"]))

    @rule(data=st.data())
    def times_out(self, data: st.DataObject) -> None:
        self.book.take(report(Kind.ORDER_UNKNOWN, data.draw(st.sampled_from(sorted(self.orders)))))

    @rule()
    def restarts(self) -> None:
        table.start_session(self.book.table[0], int(self.book.table["epoch"][0]) + 1)

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def arrives(self, data: st.DataObject) -> None:
        """Some reports arrive, the newest first as likely as the oldest, told before or not."""
        indices = st.integers(0, len(self.reports) - 1)
        for index in data.draw(st.lists(indices, min_size=1, max_size=6)):
            self._deliver(index)
            self.filled_never_falls_and_never_passes_the_quantity()

    def _deliver(self, index: int) -> None:
        event = self.reports[index]
        self.told[index] = True
        head = header_of(event)
        if head["kind"] == Kind.ORDER_FILL:
            lots = int(slots_of(event)[0, 1])
            new = int(head["b"]) not in self.distinct
            self.distinct[int(head["b"])] = -lots if int(head["flags"]) & Flag.SELL else lots
            assert self.book.take(event) is new
        else:
            assert self.book.take(event) is False

    @invariant()
    def position_is_the_sum_of_distinct_fills(self) -> None:
        assert self.book.position == sum(self.distinct.values())

    @invariant()
    def filled_never_falls_and_never_passes_the_quantity(self) -> None:
        for order_id, before in self.filled_before.items():
            filled = int(self.book.row(order_id)["filled"])
            assert before <= filled <= self.orders[order_id]["filled"] <= self.orders[order_id]["qty"]
            self.filled_before[order_id] = filled

    @invariant()
    def an_order_that_may_fill_is_never_taken_for_done(self) -> None:
        for order_id, order in self.orders.items():
            if not order["over"]:
                assert self.book.state(order_id) is not S.DONE
        lots = sum(o["qty"] - o["filled"] for o in self.orders.values() if o["side"] == 1 and not o["over"])
        assert table.open_lots(self.book.table[0], 1) >= lots

    def teardown(self) -> None:
        """Once everything has arrived, both sides agree."""
        for index, told in enumerate(self.told):
            if not told:
                self._deliver(index)
        truth = sum(o["side"] * o["filled"] for o in self.orders.values())
        assert self.book.position == truth
        for order_id, order in self.orders.items():
            assert (self.book.state(order_id) is S.DONE) == order["over"]
            assert int(self.book.row(order_id)["filled"]) == order["filled"]


TestVenue = Venue.TestCase
TestVenue.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
