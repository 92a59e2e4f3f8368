"""The tick changes while the runner trades: it holds, counts anew, and trades on; a replay decides the same."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
from numba import njit

from bot4_live.engine import Engine
from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.reader import Journal
from bot4_live.market.book import book_depth
from bot4_live.replay import replay
from bot4_live.safety.control import RunnerState

pytestmark = pytest.mark.system


def events(stack, kind):
    """Headers and slots of the log's events of a kind."""
    found = (record for record in Journal(stack.settings.journal_dir).events() if header_of(record)["kind"] == kind)
    return [(header_of(record), slots_of(record)) for record in found]


def finer_orders(stack):
    """Orders of ours at prices that the first tick did not have."""
    rows = stack.exchange.orders(stack.account)
    return [row for row in rows if Decimal(row["price"]) % Decimal("0.1") != 0]


def test_another_tick_in_the_middle_of_a_session(own_stack):
    stack = own_stack
    process, ready, _ = stack.start_runner(BOT4_INSTRUMENT_CHECK_S="0.5")
    assert ready, stack.log("live")
    stack.wait(lambda: stack.control("open_orders") > 0, 20, "no order rests")
    info = stack.exchange.post("/bot4/instrument", {"tick": "0.01", "min_notional": "50"})
    filters = {f["filterType"]: f for f in info["symbols"][0]["filters"]}
    assert (filters["PRICE_FILTER"]["tickSize"], filters["MIN_NOTIONAL"]["notional"]) == ("0.01", "50")
    stack.wait(lambda: "version 2" in stack.log("live"), 20, "the change was not noticed")
    stack.wait(lambda: finer_orders(stack), 30, "no order at a price of the new tick")
    stack.wait(lambda: stack.control("runner_state") == RunnerState.TRADING, 20, "it does not trade")
    # A change of filters alone is no reason to stop.
    stack.exchange.post("/bot4/instrument", {"min_notional": "20"})
    stack.wait(lambda: "version 3" in stack.log("live"), 20, "the new filter was not noticed")
    stack.wait(stack.agrees, 20, "position and open orders are not the exchange's")
    stack.exchange.post("/bot4/clock", {"paused": True})
    update_id, sides = shown_depth(stack)
    stack.wait(lambda: last_diff(stack) == update_id, 20, "the last diffs did not come")
    stack.stop_runner(process)
    tick = BTCUSDT_USDM.tick_e8
    versions = [(int(head["inst_version"]), int(slots[0, 0])) for head, slots in events(stack, Kind.INSTRUMENT)]
    assert versions == [(1, tick), (2, tick // 10), (3, tick // 10)]
    stale = [int(head["a"]) for head, _ in events(stack, Kind.BOOK_STALE)]
    assert stale == [StaleCause.START, StaleCause.INSTRUMENT, StaleCause.DISCONNECT]
    assert [int(head["inst_version"]) for head, _ in events(stack, Kind.DEPTH_SNAPSHOT)] == [1, 2]
    stack.audit()
    assert replay(stack.settings.journal_dir).identical
    the_book_is(stack, update_id, sides)


def shown_depth(stack):
    """The exchange's whole book, in ticks and lots, with its update id."""
    book = json.loads(stack.exchange._read(f"{stack.exchange.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"))
    sides = [[(round(Decimal(p) * 100), round(Decimal(q) * 1000)) for p, q in book[key]] for key in ("bids", "asks")]
    return book["lastUpdateId"], sides


def last_diff(stack):
    return max(int(head["b"]) for head, _ in events(stack, Kind.DEPTH_DIFF))


def the_book_is(stack, update_id, sides):
    """The engine that the log makes holds these levels, far ones too."""
    engine = Engine()
    for record in Journal(stack.settings.journal_dir).events():
        head = header_of(record)
        if head["kind"] == Kind.BOOK_STALE and head["a"] == StaleCause.DISCONNECT:
            break  # the end of the session
        engine.step(record.copy())
    book = engine.state["book"]
    assert int(book["update_id"][0]) == update_id
    book["ticker_id"] = 0  # the newest best quote lies over the levels; the exchange shows the levels
    for side, levels in zip((1, -1), sides, strict=True):
        out = np.zeros((1000, 2), np.int64)
        assert [tuple(level) for level in out[: depth(book, side, out)].tolist()] == levels


@njit
def depth(books, side, out):
    return book_depth(books[0], side, out, 1000)
