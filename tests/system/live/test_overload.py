"""More frames than the runner can take, for seconds: it holds, takes down its orders, loses nothing, trades again."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from bot4_live.events import Kind
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState
from bot4_live.simulation.wire_faults import Fault, FaultyWire

pytestmark = pytest.mark.system

RSS_MB = 500


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def count(stack, kind):
    """Return how many records of a kind the journal has; a live one as well."""
    segments = Journal(stack.settings.journal_dir).segments()
    return sum(int((segment.headers["kind"] == kind).sum()) for segment in segments)


@pytest.mark.slow  # tests/bot4_live/session/test_pace.py and the short soak are quicker samples
def test_a_flood_of_frames_holds_the_runner_and_passes(stack):
    exchange = urlsplit(stack.exchange.ws)
    with FaultyWire(exchange.hostname, exchange.port) as wire:
        process, ready, _ = stack.start_runner(patient=True, BOT4_WS_URL=f"ws://127.0.0.1:{wire.port}")
        assert ready, stack.log("live")
        stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "no order rests")
        flood = Fault("duplicate", b'"e":"bookTicker"', times=50, frames=1000)
        wire.commit(flood)
        stack.wait(lambda: "behind its data: holding" in stack.log("live"), 20, "the overload was not noticed")
        stack.wait(lambda: not stack.exchange.open_orders(stack.account), 20, "orders rested while it was behind")
        stack.wait(lambda: flood.hits == flood.times, 60, "the flood did not pass")
        stack.wait(lambda: count(stack, Kind.QUARANTINE) >= flood.times * flood.frames, 60, "a copy is not journaled")
        stack.wait(lambda: stack.control("runner_state") == RunnerState.TRADING, 60, "it did not trade again")
        stack.wait(lambda: stack.exchange.open_orders(stack.account), 20, "it does not quote again")
        stack.wait(stack.agrees, 10, "position and open orders are not the exchange's")
        assert rss_mb(process.pid) < RSS_MB
        stack.stop_runner(process)
    assert count(stack, Kind.BACKLOG) >= 2
    stack.audit()
    assert replay(stack.settings.journal_dir).identical
