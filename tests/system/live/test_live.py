"""The runner against the real exchange process: start, doubt, faults, stop."""

from __future__ import annotations

import json
import os
import signal

import pytest

from bot4_live.events import Kind, header_of
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState
from bot4_live.short_slices import short_slices

pytestmark = pytest.mark.system


def kinds(stack):
    return [int(header_of(record)["kind"]) for record in Journal(stack.settings.journal_dir).records()]


def test_start_trade_stop_and_start_again(stack):
    process, ready, _ = stack.start_runner()
    assert ready, stack.log("live")
    assert (ready["state"], ready["account"], ready["speed_milli"]) == ("trading", stack.account, 8000)
    stack.wait(lambda: stack.exchange.orders(stack.account), 20, "no order was sent")
    stack.wait(lambda: stack.control("open_orders") > 0, 20, "no order rests")
    stack.wait(lambda: stack.control("runner_state") == RunnerState.TRADING, 20, "it holds")
    stack.stop_runner(process)
    assert stack.control("runner_state") == RunnerState.STOPPED
    assert stack.exchange.open_orders(stack.account) == []
    position = stack.exchange.position_lots(stack.account)
    report = json.loads(next(stack.settings.state_dir.glob("latency-*.json")).read_text())
    assert report["decision_us"]["count"] > 20
    assert 0 < report["decision_us"]["p50"] <= report["decision_us"]["p99"]
    with short_slices() as given:
        assert (report["transport"], report["short_slices"]) == ("async", given)
    assert report["wire_us"]["count"] == report["counters"]["orders_sent"] + report["counters"]["cancels_sent"]
    assert report["counters"]["position_lots"] == position
    assert all(segment.sealed for segment in Journal(stack.settings.journal_dir).segments())
    core = min(os.sched_getaffinity(0))
    again, ready, _ = stack.start_runner(BOT4_LOOP_CPU=str(core))
    assert ready, stack.log("live")
    assert ready["replayed"] == 0, "a clean stop leaves a snapshot: nothing is to be replayed"
    assert os.sched_getaffinity(again.pid) == {core}
    stack.stop_runner(again)
    stack.audit()
    assert replay(stack.settings.journal_dir).identical


def test_lost_requests_and_answers_leave_no_order_behind(stack, faults):
    process, ready, _ = stack.start_runner()
    assert ready, stack.log("live")
    with faults(seed=3, lose_request=0.15, lose_response=0.15):
        stack.wait(lambda: len(stack.exchange.orders(stack.account)) > 60, 40, "too few orders")
    stack.wait(stack.agrees, 10, "position and open orders are not the exchange's")
    stack.stop_runner(process)
    assert stack.exchange.open_orders(stack.account) == []
    found = kinds(stack)
    assert found.count(Kind.ORDER_UNKNOWN) > 5
    counts = stack.audit()
    assert counts["orders"] < counts["attempts"]  # some never arrived, and none of those was sent again
    assert replay(stack.settings.journal_dir).identical


def test_a_breaking_user_stream_is_reconciled_each_time(stack, faults):
    process, ready, _ = stack.start_runner()
    assert ready, stack.log("live")
    for times in range(1, 4):
        stack.wait(lambda: stack.control("open_orders") > 0, 20, "no order rests")
        # The market's stream breaks too, so the quotes are pulled: the news of that meets the break.
        with faults(seed=times, user=True, disconnect=0.5):
            stack.wait(
                lambda n=times: stack.log("live").count("user stream broke") >= n, 20, "the stream did not break"
            )
        stack.wait(lambda: stack.control("runner_state") == RunnerState.TRADING, 20, "HOLD was not released")
    stack.wait(stack.agrees, 10, "position and open orders are not the exchange's")
    stack.stop_runner(process)
    holds = [
        int(header_of(r)["a"])
        for r in Journal(stack.settings.journal_dir).events()
        if header_of(r)["kind"] == Kind.HOLD
    ]
    assert holds.count(0) >= 4  # the start and each break
    stack.audit()
    assert replay(stack.settings.journal_dir).identical


def test_one_runner_an_account(stack):
    process, ready, _ = stack.start_runner()
    assert ready, stack.log("live")
    other, line, _ = stack.start_runner()
    assert line is None
    assert other.wait(10) == 1
    assert f"process {process.pid} already trades account {stack.account}" in stack.log("live")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
