"""A venue whose clock is 1.3 s off, and is set while we trade: orders go on, latencies stay honest."""

from __future__ import annotations

import json
import time

import pytest

from bot4_live.events import Kind, header_of
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay

pytestmark = pytest.mark.system

MS = 1_000_000
OFF_MS = 1300


def accepted(stack):
    return len(stack.exchange.orders(stack.account))


def offset_logged(stack, off_ms):
    """Return whether the log knows an offset that is right; the engine's clock is itself anchored by a round trip."""
    heads = [header_of(record) for record in Journal(stack.settings.journal_dir).records()]
    offsets = [(int(head["a"]), int(head["b"])) for head in heads if head["kind"] == Kind.VENUE_OFFSET]
    return any(abs(a - off_ms * MS) <= b + 100 * MS for a, b in offsets)


def test_orders_and_latencies_survive_a_venue_whose_clock_is_wrong(stack, faults):
    def orders_go_on(off_ms):
        """Let most of the time be one in which the offset is known: until it is, latencies are off by it."""
        before, began = accepted(stack), time.monotonic()
        stack.wait(lambda: offset_logged(stack, off_ms), 30, f"the log does not know that the clock is {off_ms} ms off")
        enough = time.monotonic() + 2 * (time.monotonic() - began)
        stack.wait(
            lambda: accepted(stack) > before + 10 and time.monotonic() > enough, 90,
            f"no orders with the venue's clock {off_ms} ms off",
        )  # fmt: skip

    with faults(clock_ms=OFF_MS):
        process, ready, _ = stack.start_runner()
        assert ready, stack.log("live")
        orders_go_on(OFF_MS)
    orders_go_on(0)  # it was set right: our stamps are 1.3 s ahead
    with faults(clock_ms=-OFF_MS):
        orders_go_on(-OFF_MS)
    stack.stop_runner(process)
    heads = [header_of(record) for record in Journal(stack.settings.journal_dir).records()]
    assert not [head for head in heads if head["kind"] == Kind.QUARANTINE]
    report = json.loads(next(stack.settings.state_dir.glob("latency-*.json")).read_text())
    found = report["exchange_us"]
    assert found["count"] > 500
    assert found["steps"] >= 2
    assert 0 < found["p50"] < 120_000, "1.3 s of market time are 162 ms of real time"
    assert found["error_us"] < 50_000
    stack.audit()
    assert replay(stack.settings.journal_dir).identical
