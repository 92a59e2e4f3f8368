"""Every command has exactly one end, and nothing is sent twice."""

from __future__ import annotations

import asyncio

from bot4_live.events import Flag, Kind, SuppressCause, header_of
from bot4_live.execution.dispatch import MARGIN_MS
from bot4_live.execution.gateways.binance_usdm import NO_SUCH_ORDER, POST_ONLY_WOULD_TAKE, UNKNOWN_ORDER
from bot4_live.execution.ledger import OrderState
from bot4_live.execution.order_id import to_client_id
from bot4_live.simulation import rest_trading

MS = 1_000_000
TAKE = Flag.IOC


async def test_the_attempt_is_logged_before_the_answer(bench):
    order_id = bench.new(bench.best[0] - 500)
    assert await bench.dispatcher.drain(5)
    assert bench.kinds(order_id) == [Kind.SEND_ATTEMPT, Kind.ORDER_ACCEPTED]
    attempt = header_of(bench.log[1])
    assert (attempt["b"], attempt["a"]) == (Kind.CMD_NEW, order_id)
    order = bench.venue_orders()[to_client_id(order_id)]
    assert bench.ledger.orders[order_id].venue_id == order.id
    assert bench.dispatcher.counts["sent"] == 1


async def test_a_closed_gate_lets_nothing_out(bench):
    bench.gate.cause = SuppressCause.NO_LEASE
    order_id = bench.new(bench.best[0] - 500)
    bench.cancel(order_id)
    assert await bench.dispatcher.drain(5)
    assert bench.kinds(order_id) == [Kind.SUPPRESSED]  # the cancel had nothing left to cancel
    head = header_of(bench.last(Kind.SUPPRESSED))
    assert (head["b"], head["c"]) == (SuppressCause.NO_LEASE, Kind.CMD_NEW)
    assert bench.venue_orders() == {}


async def test_a_cancel_waits_for_the_answer_to_its_order(bench):
    bench.fault(response_delay_ms=150)
    order_id = bench.new(bench.best[0] - 500)
    bench.cancel(order_id)
    assert await bench.dispatcher.drain(5)
    kinds = bench.kinds(order_id)
    assert kinds == [Kind.SEND_ATTEMPT, Kind.ORDER_ACCEPTED, Kind.SEND_ATTEMPT, Kind.ORDER_CANCELED]
    assert bench.exchange.venue.open_orders("paper") == []


async def test_orders_go_out_side_by_side(bench):
    bench.fault(response_delay_ms=200)
    began = asyncio.get_running_loop().time()
    for i in range(5):
        bench.new(bench.best[0] - 500 - i)
    assert await bench.dispatcher.drain(5)
    assert asyncio.get_running_loop().time() - began < 0.8
    assert len(bench.venue_orders()) == 5


async def test_a_lost_answer_is_asked_about_and_the_order_is_there_once(bench):
    bench.fault(lose_response=1.0)
    order_id = bench.new(bench.best[0] - 500)
    await bench.until(lambda: Kind.ORDER_UNKNOWN in bench.kinds(order_id))
    await bench.until(lambda: Kind.ORDER_ACCEPTED in bench.kinds(order_id))
    assert header_of(bench.last(Kind.ORDER_ACCEPTED))["flags"] & Flag.REPLAYED
    assert bench.kinds(order_id).count(Kind.SEND_ATTEMPT) == 1
    assert list(bench.venue_orders()) == [to_client_id(order_id)]


async def test_not_found_proves_nothing_before_the_window_has_passed(bench):
    bench.fault(lose_request=1.0)
    order_id = bench.new(bench.best[0] - 500)
    await bench.until(lambda: Kind.ORDER_REJECTED in bench.kinds(order_id))
    rejected = header_of(bench.last(Kind.ORDER_REJECTED))
    assert rejected["b"] == NO_SUCH_ORDER
    waited = int(rejected["recv_ns"]) - bench.ledger.orders[order_id].sent_ns
    assert waited >= (bench.rest.recv_window_ms + MARGIN_MS) * MS
    assert bench.kinds(order_id) == [Kind.SEND_ATTEMPT, Kind.ORDER_UNKNOWN, Kind.ORDER_REJECTED]
    assert bench.venue_orders() == {}


async def test_an_answer_that_cannot_be_read_leaves_no_order_in_limbo(bench, monkeypatch):
    shown = rest_trading._show
    strange = {"orderId": "none"}
    monkeypatch.setattr(rest_trading, "_show", lambda call, order: shown(call, order) | strange)
    order_id = bench.new(bench.best[0] - 500)
    await bench.until(lambda: Kind.NOTE in bench.kinds() and b"'none'" in bench.last(Kind.NOTE).tobytes())
    await bench.until(lambda: bench.kinds().count(Kind.NOTE) == 2)  # the answer, and what the query brought
    assert bench.kinds(order_id) == [Kind.SEND_ATTEMPT, Kind.ORDER_UNKNOWN]
    strange.clear()
    await bench.until(lambda: bench.ledger.orders[order_id].state == OrderState.OPEN)
    strange["orderId"] = "none"
    bench.cancel(order_id)
    await bench.until(lambda: bench.ledger.orders[order_id].state == OrderState.UNKNOWN)
    strange.clear()
    await bench.until(lambda: bench.ledger.orders[order_id].state == OrderState.CLOSED)
    assert bench.kinds(order_id)[-2:] == [Kind.CANCEL_REJECTED, Kind.ORDER_CANCELED]
    assert bench.dispatcher.counts["sent"] == 1
    assert bench.kinds().count(Kind.NOTE) <= 4  # one a doubt, however often it was asked


async def test_a_post_only_order_that_would_take_is_refused(bench):
    order_id = bench.new(bench.best[1] + 200)
    assert await bench.dispatcher.drain(5)
    assert bench.kinds(order_id) == [Kind.SEND_ATTEMPT, Kind.ORDER_REJECTED]
    assert header_of(bench.last(Kind.ORDER_REJECTED))["b"] == POST_ONLY_WOULD_TAKE


async def test_a_cancel_that_comes_too_late_leads_to_the_fills(bench):
    order_id = bench.new(bench.best[1] + 200, flags=TAKE)
    assert await bench.dispatcher.drain(5)
    bench.cancel(order_id)
    assert await bench.dispatcher.drain(5)
    assert header_of(bench.last(Kind.CANCEL_REJECTED))["b"] == UNKNOWN_ORDER
    await bench.until(lambda: bench.ledger.orders[order_id].state == OrderState.CLOSED)
    fills = [item for item in bench.log if header_of(item)["kind"] == Kind.ORDER_FILL]
    assert bench.ledger.position == 4
    assert all(header_of(item)["flags"] & Flag.REPLAYED for item in fills)


async def test_a_lost_cancel_is_asked_about(bench):
    order_id = bench.new(bench.best[0] - 500)
    assert await bench.dispatcher.drain(5)
    bench.fault(lose_response=1.0)
    bench.cancel(order_id)
    await bench.until(lambda: bench.ledger.orders[order_id].state == OrderState.CLOSED)
    assert bench.kinds(order_id)[-2:] == [Kind.CANCEL_REJECTED, Kind.ORDER_CANCELED]


async def test_a_lost_cancel_that_did_not_arrive_leaves_the_order_open(bench):
    order_id = bench.new(bench.best[0] - 500)
    assert await bench.dispatcher.drain(5)
    bench.fault(lose_request=1.0)
    bench.cancel(order_id)
    await bench.until(lambda: bench.kinds(order_id)[-2:] == [Kind.CANCEL_REJECTED, Kind.ORDER_ACCEPTED])
    assert bench.ledger.orders[order_id].state == OrderState.OPEN


async def test_cancel_all_ends_every_order(bench):
    ids = [bench.new(bench.best[0] - 500 - i) for i in range(3)]
    bench.dispatcher.submit(_cancel_all())
    assert await bench.dispatcher.drain(5)
    await bench.until(lambda: not bench.ledger.live_orders())
    assert [bench.ledger.orders[i].state for i in ids] == [OrderState.CLOSED] * 3
    assert bench.exchange.venue.open_orders("paper") == []


async def test_an_unreachable_venue_means_that_nothing_left(bench):
    await bench.server.__aexit__()
    order_id = bench.new(600_000)
    assert await bench.dispatcher.drain(10)
    kinds = bench.kinds(order_id)
    # A connection from the pool may have died under the request: then it is unknown, which is the safe word.
    assert kinds in ([Kind.SUPPRESSED], [Kind.SEND_ATTEMPT, Kind.ORDER_UNKNOWN])


def _cancel_all():
    from bot4_live.engine_events import record

    return record(Kind.CMD_CANCEL_ALL, 0)


async def test_an_order_decided_on_old_data_is_not_sent_and_cancels_are(bench):
    resting = bench.new(bench.best[0] - 500)
    await bench.until(lambda: Kind.ORDER_ACCEPTED in bench.kinds(resting))
    bench.dispatcher._fresh = lambda recv_ns: False
    late = bench.new(bench.best[0] - 400)
    await bench.until(lambda: Kind.SUPPRESSED in bench.kinds(late))
    told = header_of(bench.last(Kind.SUPPRESSED))
    assert (int(told["a"]), int(told["b"])) == (late, SuppressCause.BEHIND)
    bench.cancel(resting)
    await bench.until(lambda: Kind.ORDER_CANCELED in bench.kinds(resting))
    assert Kind.SEND_ATTEMPT not in bench.kinds(late)
