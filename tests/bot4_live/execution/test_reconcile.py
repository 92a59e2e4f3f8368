"""After any break, log and venue agree: nothing invented, nothing doubled, nothing kept on a guess."""

from __future__ import annotations

import pytest

from bot4_live.engine_events import hold, record, session
from bot4_live.events import Flag, Kind, SuppressCause, header_of
from bot4_live.execution.ledger import OrderState
from bot4_live.execution.order_id import pack, to_client_id
from bot4_live.execution.rest import Request, VenueError, Withheld


async def place(bench, client_id, side, price, qty="0.004", life="GTC"):
    """An order that the ledger does not know of."""
    params = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": life, "quantity": qty,
              "price": str(bench.gateway.instrument.price(price)), "newClientOrderId": client_id}  # fmt: skip
    return await bench.rest.call(Request("POST", "/fapi/v1/order", params))


async def test_a_fresh_account(bench):
    report = await bench.reconciler.run(trusted=False)
    assert (report.position, report.fills, report.adopted, report.corrected) == (0, 0, [], 0)
    assert bench.kinds() == [Kind.SESSION, Kind.POSITION, Kind.BALANCE]
    assert header_of(bench.last(Kind.BALANCE))["a"] == 100_000 * 10**8


async def test_an_order_of_ours_that_the_journal_lost_is_adopted_and_cancelled(bench):
    lost = pack(1, 77)
    await place(bench, to_client_id(lost), "SELL", bench.best[1] + 500)
    report = await bench.reconciler.run()
    assert report.cancelled == [to_client_id(lost)]
    assert (bench.dispatcher.counts["unasked"], bench.dispatcher.counts["cancels"]) == (1, 0)
    assert bench.kinds(lost) == [Kind.ORDER_ADOPTED, Kind.SEND_ATTEMPT, Kind.ORDER_CANCELED]
    assert header_of(bench.last(Kind.ORDER_ADOPTED))["flags"] == Flag.SELL | Flag.REPLAYED
    assert bench.exchange.venue.open_orders("paper") == []


async def test_not_even_a_cancel_passes_a_closed_gate(bench):
    lost = pack(1, 77)
    await place(bench, to_client_id(lost), "SELL", bench.best[1] + 500)
    bench.gate.cause = SuppressCause.NO_LEASE
    with pytest.raises(Withheld):
        await bench.reconciler.run()
    assert bench.kinds(lost) == [Kind.ORDER_ADOPTED]
    assert len(bench.exchange.venue.open_orders("paper")) == 1
    bench.gate.cause = 0
    await bench.reconciler.run()
    assert bench.exchange.venue.open_orders("paper") == []


async def test_orders_of_others_are_left_alone(bench):
    await place(bench, "web_1", "BUY", bench.best[0] - 500)
    report = await bench.reconciler.run()
    assert report.foreign == 1
    assert len(bench.exchange.venue.open_orders("paper")) == 1


async def test_an_order_that_still_rests_is_taken_up_again(bench):
    order_id = bench.new(bench.best[0] - 500)
    await bench.dispatcher.drain(5)
    bench.emit(session(0, 2))
    assert bench.ledger.orders[order_id].state == OrderState.UNKNOWN
    report = await bench.reconciler.run()
    assert report.adopted == [to_client_id(order_id)]
    assert report.cancelled == []
    assert bench.ledger.orders[order_id].state == OrderState.OPEN
    assert bench.kinds(order_id) == [Kind.SEND_ATTEMPT, Kind.ORDER_ACCEPTED, Kind.ORDER_ACCEPTED]


async def test_fills_that_nobody_told_of_are_caught_up_once(bench):
    order_id = bench.new(bench.best[1] + 500, qty=6, flags=Flag.IOC)
    await bench.dispatcher.drain(5)
    assert bench.ledger.position == 0  # the acknowledgement does not say what was matched
    report = await bench.reconciler.run()
    assert report.position == bench.ledger.position == 6
    assert report.corrected == 0
    assert bench.kinds(order_id).count(Kind.ORDER_FILL) >= 1
    assert bench.ledger.orders[order_id].filled == 6
    again = await bench.reconciler.run()
    assert (again.fills, again.position, again.corrected) == (0, 6, 0)


async def test_a_sent_order_that_never_arrived_ends_as_rejected(bench):
    made, order_id = bench.command(bench.best[0] - 500)
    bench.emit(made)
    bench.emit(record(Kind.SEND_ATTEMPT, 0, order_id, Kind.CMD_NEW))  # and then the process died
    bench.emit(session(0, 2))
    await bench.reconciler.run()
    assert bench.kinds(order_id)[-1] == Kind.ORDER_REJECTED
    assert bench.ledger.orders[order_id].state == OrderState.CLOSED


async def test_an_order_that_was_sent_and_filled_before_the_answer_is_named_by_its_client_id(bench):
    made, order_id = bench.command(bench.best[1] + 500, flags=Flag.IOC)
    bench.emit(made)
    bench.emit(record(Kind.SEND_ATTEMPT, 0, order_id, Kind.CMD_NEW))
    await place(bench, to_client_id(order_id), "BUY", bench.best[1] + 500, life="IOC")
    bench.emit(session(0, 2))
    await bench.reconciler.run()
    fills = [item for item in bench.log if header_of(item)["kind"] == Kind.ORDER_FILL]
    assert fills
    assert {int(header_of(item)["a"]) for item in fills} == {order_id}
    assert bench.ledger.position == 4


async def test_a_fill_seen_after_the_break_does_not_hide_the_one_before(bench):
    bench.emit(hold(0, False))
    first = bench.new(bench.best[1] + 500, qty=4, flags=Flag.IOC)
    await bench.dispatcher.drain(5)
    assert await bench.reconciler.fetch_fills() >= 1
    bench.emit(hold(0, True))  # the stream breaks here
    missed = bench.new(bench.best[1] + 500, qty=2, flags=Flag.IOC)
    seen = bench.new(bench.best[1] + 500, qty=3, flags=Flag.IOC)
    await bench.dispatcher.drain(5)
    rows = await bench.rest.call(bench.gateway.trades_from(1))
    venue_id = bench.ledger.orders[seen].venue_id
    for row in rows:
        if row["orderId"] == venue_id:
            for item in bench.gateway.on_trade(seen, row, 3):
                bench.emit(item)
    assert bench.ledger.position == 7
    report = await bench.reconciler.run()
    assert report.fills >= 1
    assert bench.ledger.position == 9
    assert bench.ledger.orders[missed].filled == 2
    assert bench.ledger.orders[first].filled == 4


async def test_a_position_nobody_explains_is_corrected_and_said(bench):
    wrong = bench.gateway.on_position([])
    header_of(wrong)["a"] = 9
    bench.emit(wrong)
    report = await bench.reconciler.run(trusted=True)
    assert (report.position, report.corrected) == (0, -9)
    assert bench.ledger.position == 0
    assert b"9 lots by fills, 0 at the venue" in bench.last(Kind.NOTE).tobytes()


async def test_trades_before_the_journals_first_session_are_history(bench):
    await place(bench, "web_2", "BUY", bench.best[1] + 500, life="IOC")
    bench.ledger.began_ns = bench.exchange.now_ns() + 10 * 10**9
    report = await bench.reconciler.run(trusted=False)
    assert report.fills == 0
    assert report.position == 4  # the position itself is the venue's


async def test_a_venue_that_cannot_be_asked_is_no_reconciliation(bench):
    await bench.server.__aexit__()
    with pytest.raises(VenueError):
        await bench.reconciler.run()
    assert Kind.POSITION not in bench.kinds()
