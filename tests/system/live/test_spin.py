"""The runner with `BOT4_TRANSPORT=spin`: it trades, stops cleanly, survives kill -9, and sees what async sees."""

from __future__ import annotations

import json
import os
import time

import psutil
import pytest

from bot4_live.events import HEADER_SIZE, Kind, header_of
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState

pytestmark = pytest.mark.system

SPIN = {"BOT4_TRANSPORT": "spin", "BOT4_SPIN_FORCE": "1"}


def report_of(stack):
    return json.loads(max(stack.settings.state_dir.glob("latency-*.json")).read_text())


def test_it_trades_stops_and_starts_again(stack):
    process, ready, _ = stack.start_runner(**SPIN)
    assert ready, stack.log("live")
    assert (ready["state"], ready["transport"]) == ("trading", "spin")
    stack.wait(lambda: stack.control("last_seq") > ready["seq"] + 600, 30, "too few events")
    stack.wait(lambda: len(stack.exchange.orders(stack.account)) > 10, 20, "too few orders")
    stack.wait(lambda: stack.control("open_orders") > 0, 20, "no order rests")
    stack.stop_runner(process)
    assert stack.control("runner_state") == RunnerState.STOPPED
    assert stack.exchange.open_orders(stack.account) == []
    report = report_of(stack)
    assert report["transport"] == "spin"
    frames = report["feed"]["frames"]
    assert frames > 100
    assert report["decision_us"]["count"] > 0.9 * frames
    assert 0 < report["decision_us"]["p50"] <= report["decision_us"]["p99"]
    assert report["wire_us"]["count"] == report["counters"]["orders_sent"] + report["counters"]["cancels_sent"]
    assert report["feed"]["quarantined"] == {}
    journal = Journal(stack.settings.journal_dir)
    assert all(segment.sealed for segment in journal.segments())
    kept = [header_of(r) for r in journal.events() if header_of(r)["kind"] in (Kind.DEPTH_DIFF, Kind.BOOK_TICKER)]
    for head in kept[:: len(kept) // 50]:
        assert str(int(head["b"])).encode() in journal.raw(int(head["c"])).raw
    again, ready, _ = stack.start_runner(**SPIN)
    assert ready, stack.log("live")
    assert ready["replayed"] == 0
    stack.stop_runner(again)
    stack.audit()
    assert replay(stack.settings.journal_dir).identical


@pytest.mark.slow
def test_killed_it_starts_again_and_nothing_was_done_twice(stack):
    mine, *others = sorted(os.sched_getaffinity(0))
    pinned = SPIN | {"BOT4_LOOP_CPU": str(mine), "BOT4_JOURNAL__RING_MB": "33"}
    for pause in (0.7, 0.2):
        process, ready, _ = stack.start_runner(**pinned)
        assert ready, stack.log("live")
        stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "no order rests")
        assert os.sched_getaffinity(process.pid) == {mine}
        helpers = psutil.Process(process.pid).children()
        assert len(helpers) == 2  # journal writer and feeder
        assert all(helper.cpu_affinity() == (others or [mine]) for helper in helpers)
        time.sleep(pause)  # anywhere in its work
        process.kill()
        process.wait()
    process, ready, _ = stack.start_runner(**SPIN)
    assert ready, stack.log("live")
    stack.wait(stack.agrees, 10, "position and open orders are not the exchange's")
    stack.stop_runner(process)
    assert stack.audit()["orders"] > 0
    assert replay(stack.settings.journal_dir).identical


def market_events(stack, first_of=(Kind.DEPTH_DIFF, Kind.BOOK_TICKER, Kind.TRADE)):
    """Return, by kind, the market's events by their ids: venue's time and levels."""
    found = {kind: {} for kind in first_of}
    for record in Journal(stack.settings.journal_dir).events():
        head = header_of(record)
        if head["kind"] in found:
            ids = int(head["a"]), int(head["b"])
            found[head["kind"]][ids] = int(head["exch_ns"]), int(head["flags"]), bytes(record[HEADER_SIZE:])
    return found


@pytest.mark.slow
@pytest.mark.capture
@pytest.mark.parametrize(("speed", "seconds"), [(8.0, 5.0), (1.0, 30.0)], ids=["8x", "1x"])
def test_a_capture_is_the_same_to_both(stack_on, usdm_capture, speed, seconds):
    """Slow; in short, and for any frames: tests/bot4_live/wire/test_path.py."""
    with stack_on("--capture", str(usdm_capture), "--speed", str(speed), accounts=("a0", "a1")) as stacks:
        runners = []
        for stack, settings in zip(stacks, ({}, SPIN), strict=True):
            runners.append(stack.start_runner(**settings)[0])
            assert stack.control("runner_state") == RunnerState.TRADING, stack.log("live")
        time.sleep(seconds)
        for stack, runner in zip(stacks, runners, strict=True):
            stack.stop_runner(runner)
            assert stack.audit()["orders"] > 0
    for stack in stacks:
        assert report_of(stack)["feed"]["stale"] == {"start": 1, "disconnect": 1}
        assert replay(stack.settings.journal_dir).identical
    for one, other in zip(*(market_events(stack).values() for stack in stacks), strict=True):
        first, last = max(min(one), min(other)), min(max(one), max(other))
        both = [{ids: event for ids, event in events.items() if first <= ids <= last} for events in (one, other)]
        assert both[0] == both[1]
        assert len(both[0]) > 50
