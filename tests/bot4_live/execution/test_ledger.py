"""The ledger: duplicates stay out, and what is dumped or replayed gives the same again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.engine_events import hold, record, session
from bot4_live.events import Flag, Kind, SuppressCause, header_of, slots_of
from bot4_live.execution.ledger import Ledger, OrderState
from bot4_live.execution.order_id import pack
from bot4_live.instrument import BTCUSDT_USDM

BUY, SELL = pack(1, 1), pack(1, 2)


def new(order_id, price=100, qty=5, flags=0):
    made = record(Kind.CMD_NEW, 0, order_id, slots=1)
    header_of(made)["flags"] = flags
    slots_of(made)[0] = (price, qty)
    return made


def attempt(order_id, at=7):
    return record(Kind.SEND_ATTEMPT, at, order_id, Kind.CMD_NEW)


def accepted(order_id, venue_id=11, done=0):
    made = record(Kind.ORDER_ACCEPTED, 0, order_id, venue_id, done, slots=1)
    slots_of(made)[0] = (100, 5)
    return made


def fill(order_id, trade_id, qty, cumulative, venue_id=11, flags=0, exch_ns=0):
    made = record(Kind.ORDER_FILL, 0, order_id, trade_id, venue_id, slots=2)
    header_of(made)["flags"] = flags
    header_of(made)["exch_ns"] = exch_ns
    slots_of(made)[:] = [(100, qty), (cumulative, 0)]
    return made


def told(*records):
    ledger = Ledger()
    for item in records:
        ledger.apply(item)
    return ledger


def test_life_of_an_order():
    ledger = told(new(BUY))
    assert ledger.orders[BUY].state == OrderState.DECIDED
    assert not ledger.live_orders()
    ledger.apply(attempt(BUY, at=77))
    assert (ledger.orders[BUY].state, ledger.orders[BUY].sent_ns, ledger.sent) == (OrderState.SENT, 77, 1)
    ledger.apply(accepted(BUY))
    assert [order.id for order in ledger.live_orders()] == [BUY]
    ledger.apply(fill(BUY, 1, 2, 2))
    ledger.apply(fill(BUY, 2, 3, 5))
    assert ledger.orders[BUY].state == OrderState.CLOSED
    assert (ledger.position, ledger.last_trade_id, ledger.fills) == (5, 2, 2)


def test_a_fill_is_admitted_once_by_trade_and_order():
    ledger = told(new(BUY), attempt(BUY), fill(BUY, 9, 1, 1))
    assert not ledger.admits(fill(BUY, 9, 1, 1))
    assert ledger.admits(fill(BUY, 9, 1, 1, venue_id=12))  # a trade against oneself is two fills
    assert ledger.admits(fill(BUY, 10, 1, 2))


def test_a_fill_before_its_acknowledgement_is_legal_and_the_late_acknowledgement_is_not_news():
    ledger = told(new(BUY), attempt(BUY), fill(BUY, 1, 5, 5))
    assert ledger.orders[BUY].state == OrderState.CLOSED
    assert not ledger.admits(accepted(BUY))


def test_repeated_reports_are_not_news_but_a_growing_fill_is():
    ledger = told(new(BUY), attempt(BUY), accepted(BUY))
    assert not ledger.admits(accepted(BUY))
    assert ledger.admits(accepted(BUY, done=2))
    ledger.apply(record(Kind.ORDER_CANCELED, 0, BUY, 11, 0))
    assert not ledger.admits(record(Kind.ORDER_CANCELED, 0, BUY, 11, 0))
    assert ledger.admits(fill(BUY, 3, 1, 1))  # a fill that was under way when it was cancelled


def test_executed_lots_without_their_fills_are_missed():
    ledger = told(new(BUY), attempt(BUY), accepted(BUY), record(Kind.ORDER_CANCELED, 0, BUY, 11, 2))
    assert ledger.missing_fills()
    ledger.apply(fill(BUY, 3, 2, 2))
    assert not ledger.missing_fills()


def test_suppressed_orders_never_lived_and_a_refused_cancel_is_a_doubt():
    ledger = told(new(BUY), record(Kind.SUPPRESSED, 0, BUY, SuppressCause.NO_LEASE, Kind.CMD_NEW))
    assert ledger.orders[BUY].state == OrderState.CLOSED
    ledger = told(new(BUY), attempt(BUY), accepted(BUY), record(Kind.CANCEL_REJECTED, 0, BUY, -2011))
    assert ledger.orders[BUY].state == OrderState.UNKNOWN
    assert ledger.admits(accepted(BUY))


def test_a_session_leaves_what_was_sent_in_doubt_and_forgets_what_was_not():
    ledger = told(new(BUY), attempt(BUY), accepted(BUY), new(SELL, flags=Flag.SELL), session(1000, 2))
    assert ledger.orders[BUY].state == OrderState.UNKNOWN
    assert ledger.orders[SELL].state == OrderState.CLOSED
    assert (ledger.began_ns, ledger.holding) == (1000, True)


def test_a_fill_after_a_break_does_not_hide_the_ones_before_it():
    ledger = told(session(1, 1), hold(2, False), new(BUY), attempt(BUY), fill(BUY, 5, 1, 1))
    ledger.apply(hold(3, True))  # the user stream broke; trade 6 is missed; trade 7 comes after the reconnect
    ledger.apply(fill(BUY, 7, 1, 3))
    assert (ledger.last_trade_id, ledger.complete_to) == (7, 5)


def test_the_venues_position_counts_on_hold_and_covers_the_fills_up_to_its_time():
    ledger = told(session(1, 1), record(Kind.POSITION, 2, 40, 0, 500))
    assert ledger.position == 40
    ledger.apply(fill(BUY, 5, 1, 1, exch_ns=500))  # is in the 40
    assert ledger.position == 40
    ledger.apply(fill(BUY, 6, 1, 2, exch_ns=501))
    assert ledger.position == 41
    ledger.apply(hold(3, False))
    ledger.apply(record(Kind.POSITION, 2, 99, 0, 900))
    assert (ledger.position, ledger.venue_position) == (41, 99)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 40), st.booleans()), max_size=60))
def test_whatever_comes_twice_counts_once(events):
    """Position is the sum of the distinct fills, in any order, with any repetition."""
    ledger, distinct = Ledger(), {}
    for sequence in range(1, 7):
        ledger.apply(new(pack(1, sequence), qty=1000))
        ledger.apply(attempt(pack(1, sequence)))
    for sequence, trade, sells in events:
        item = fill(pack(1, sequence), trade, 1, 1, venue_id=sequence, flags=Flag.SELL if sells else 0)
        if ledger.admits(item):
            ledger.apply(item)
        distinct.setdefault((trade, sequence), -1 if sells else 1)
    assert ledger.position == sum(distinct.values())
    assert ledger.fills == len(distinct)


def test_a_dump_gives_the_same_ledger():
    ledger = told(
        session(1, 1), new(BUY), attempt(BUY), accepted(BUY), fill(BUY, 5, 1, 1), new(SELL, flags=Flag.SELL),
        attempt(SELL), record(Kind.ORDER_UNKNOWN, 0, SELL, 1), record(Kind.POSITION, 2, 3, 0, 9), hold(3, False),
    )  # fmt: skip
    again = Ledger.load(json.loads(json.dumps(ledger.dump())))
    assert again.dump() == ledger.dump()
    assert again.by_venue == ledger.by_venue
    assert not again.admits(fill(BUY, 5, 1, 1))


@pytest.mark.parametrize("trades", [70_000])
def test_memory_is_bounded(trades):
    ledger = told(new(BUY, qty=10**9), attempt(BUY))
    for trade in range(1, trades):
        ledger.apply(fill(BUY, trade, 1, trade))
    assert len(ledger.dump()["trades"]) == 65_536
    assert not ledger.admits(fill(BUY, trades - 1, 1, 1))


def test_another_tick_and_lot_count_the_same_things_anew() -> None:
    ledger = Ledger()
    ledger.apply(BTCUSDT_USDM.record(0))
    ledger.apply(new(7, price=600_000))
    ledger.apply(record(Kind.POSITION, 0, -3))
    again = Ledger.load(ledger.dump())
    for one in (ledger, again):
        one.apply(replace(BTCUSDT_USDM, version=2, tick_e8=10**6, lot_e8=10**4).record(1))
        assert (one.position, one.venue_position) == (-30, -30)
        assert (one.orders[7].price, one.orders[7].qty) == (6_000_000, 50)
