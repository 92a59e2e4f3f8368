"""kill -9 at any moment: within 10 s of restart log and venue agree, and nothing was done twice."""

from __future__ import annotations

import random
import signal
import time

import pytest

from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState

pytestmark = pytest.mark.system

RESTART_S = 10.0
# Eight places around the way of an order, each met for the n-th time.
PLACES = (
    "decided:20", "before_send:9", "after_send:7", "before_ack:8", "after_ack:10", "before_fill:2", "after_fill:1",
    "after_cancel:6",
)  # fmt: skip


def restart_and_compare(stack, **extra):
    process, ready, took = stack.start_runner(**extra)
    assert ready, stack.log("live")
    assert took <= RESTART_S, f"trading again after {took:.1f} s"
    stack.wait(stack.agrees, RESTART_S - took, "position and open orders are not the exchange's")
    return process


def finish(stack, process):
    stack.stop_runner(process)
    assert stack.control("runner_state") == RunnerState.STOPPED
    assert stack.exchange.open_orders(stack.account) == []
    counts = stack.audit()
    assert counts["orders"] > 0
    found = replay(stack.settings.journal_dir)
    assert found.identical, f"commands differ from seq {found.first_difference}"
    return counts


@pytest.mark.slow  # a seeded moment below is the sample
@pytest.mark.timeout(280)
def test_kill_at_each_place_of_an_orders_way(stack):
    for place in PLACES:
        # A place may be met in the reconciliation already, before trading begins.
        process, _, _ = stack.start_runner(patient="fill" in place, BOT4_CRASH_AT=place)
        assert process.wait(60) == -signal.SIGKILL, f"{place} was not reached\n{stack.log('live')}"
        if place == "before_fill:2":
            # Let what rests meet the market while nobody looks: fills to catch up.
            time.sleep(0.3)
    counts = finish(stack, restart_and_compare(stack))
    assert counts["fills"] > 0


@pytest.mark.parametrize("moments", [1, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_kill_at_seeded_moments(stack, moments):
    chance = random.Random(20240808 + moments)
    process = None
    for _ in range(moments):
        process = restart_and_compare(stack, patient=chance.random() < 0.5)
        time.sleep(chance.uniform(0.0, 2.0))
        process.kill()
        process.wait()
        time.sleep(chance.choice([0.0, 0.0, 0.3]))
    finish(stack, restart_and_compare(stack))


def test_while_it_is_down_the_countdown_empties_the_book(stack):
    process, ready, _ = stack.start_runner(patient=True)
    assert ready, stack.log("live")
    stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "no order rests")
    stack.watchdog.kill()  # it would cancel by its own key: here the venue is alone
    stack.watchdog.wait()
    process.kill()
    process.wait()
    assert stack.exchange.open_orders(stack.account), "the book was empty before the countdown could have run out"
    began = time.monotonic()
    stack.wait(lambda: not stack.exchange.open_orders(stack.account), 10, "the countdown did not empty the book")
    assert time.monotonic() - began <= stack.settings.countdown_ms / 1000 / 8 + 1.0


def test_a_dead_watchdog_stops_the_runner_from_sending(stack):
    process, ready, _ = stack.start_runner()
    assert ready, stack.log("live")
    stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "no order rests")
    stack.watchdog.kill()
    stack.watchdog.wait()
    time.sleep(0.4)
    before = len(stack.exchange.orders(stack.account))
    time.sleep(1.0)
    assert len(stack.exchange.orders(stack.account)) == before
    stack.wait(lambda: not stack.exchange.open_orders(stack.account), 10, "the countdown was renewed")
    process.kill()
    process.wait()
    stack.start_watchdog()
    finish(stack, restart_and_compare(stack))
