"""A feed goes on under another tick: the book is stale in between, and right in the new units afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot4_live.engine import Engine
from bot4_live.events import Kind, Reason, StaleCause, header_of, slots_of
from bot4_live.hot_loop import HotLoop
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.hot_feed import HotFeed
from bot4_live.sequencer import Sequencer

FINER = replace(BTCUSDT_USDM, version=2, tick_e8=BTCUSDT_USDM.tick_e8 // 10)
BIDS, ASKS = [["1000.0", "5"], ["999.9", "6"], ["10.5", "1"]], [["1000.1", "4"], ["9000.2", "3"]]


def heads(out):
    return [(Kind(int(h["kind"])), int(h["inst_version"]), int(h["a"])) for h in (header_of(record) for record in out)]


def test_a_finer_tick(frames, make_book, base_ns):
    out: list = []
    core = FeedCore(BTCUSDT_USDM, out.append)
    book = make_book()
    core.on_connect(base_ns)
    core.on_frame(base_ns, frames.diff(90, 100, 89, [["1000.0", "5"]]))
    core.on_snapshot(base_ns, frames.snapshot(100, BIDS, ASKS))
    core.on_frame(base_ns, frames.diff(101, 105, 100, [["999.8", "2"]]))
    assert core.live
    # The venue's new prices are the first that shows it.
    core.on_frame(base_ns, frames.diff(106, 110, 105, [["999.85", "2"]]))
    assert core.counts.quarantined[Reason.LOST_DIGITS] == 1
    out.clear()
    core.change_instrument(base_ns + 1, FINER)
    assert heads(out) == [(Kind.BOOK_STALE, 1, StaleCause.INSTRUMENT), (Kind.INSTRUMENT, 2, 0)]
    assert not core.live
    assert not core.wants_snapshot  # there is no diff yet for it to connect to
    core.on_frame(base_ns + 2, frames.diff(111, 120, 110, [["999.85", "2"]]))
    assert core.wants_snapshot
    core.on_snapshot(base_ns + 3, frames.snapshot(115, [*BIDS, ["999.87", "7"]], ASKS))
    assert core.live
    assert {int(header_of(record)["inst_version"]) for record in out[1:]} == {2}
    for record in out:
        if header_of(record)["kind"] != Kind.INSTRUMENT:
            book.apply(record)
    assert book.best() == (100_000, 5_000, 100_010, 4_000)
    # Levels far from the touch are there too.
    assert book.depth(1, 9) == [(100_000, 5_000), (99_990, 6_000), (99_987, 7_000), (99_985, 2_000), (1_050, 1_000)]
    assert book.depth(-1, 9) == [(100_010, 4_000), (900_020, 3_000)]


def test_diffs_that_waited_are_journaled_as_what_they_were(frames, base_ns):
    out: list = []
    core = FeedCore(BTCUSDT_USDM, out.append)
    core.on_connect(base_ns)
    core.on_frame(base_ns, frames.diff(90, 100, 89, [["1000.0", "5"]]))
    out.clear()
    core.change_instrument(base_ns, FINER)
    assert heads(out) == [(Kind.DEPTH_DIFF, 1, 90), (Kind.INSTRUMENT, 2, 0)]  # stale was said at the start
    assert slots_of(out[0])[1].tolist() == [10_000, 5_000]
    core.on_snapshot(base_ns, frames.snapshot(100, BIDS, ASKS))
    core.on_frame(base_ns, frames.diff(101, 105, 100, [["999.8", "2"]]))
    assert core.live


def test_other_filters_leave_the_book_alone(frames, base_ns):
    out: list = []
    core = FeedCore(BTCUSDT_USDM, out.append)
    core.on_connect(base_ns)
    core.on_frame(base_ns, frames.diff(90, 100, 89, [["1000.0", "5"]]))
    core.on_snapshot(base_ns, frames.snapshot(100, BIDS, ASKS))
    out.clear()
    core.change_instrument(base_ns, replace(BTCUSDT_USDM, version=2, min_notional_e8=5 * 10**8))
    core.on_frame(base_ns, frames.diff(101, 105, 100, [["999.8", "2"]]))
    assert heads(out) == [(Kind.INSTRUMENT, 2, 0), (Kind.DEPTH_DIFF, 2, 101)]
    assert core.live


@pytest.mark.parametrize("changes", [{"version": 1}, {"id": 3}, {"symbol": "ETHUSDT"}])
def test_only_a_later_version_of_the_same_instrument_follows(changes):
    core = FeedCore(BTCUSDT_USDM, lambda _: None)
    with pytest.raises(ValueError, match="does not follow"):
        core.change_instrument(1, replace(FINER, **changes))


def test_the_compiled_loop_reads_by_the_new_tick(frames, base_ns):
    engine, log = Engine(), []

    class Sink:
        def append(self, record):
            log.append(record)

    sequencer = Sequencer(Sink(), engine, base_ns, ticks=False)
    sequencer.push(BTCUSDT_USDM.record(base_ns))
    core = HotFeed(BTCUSDT_USDM, sequencer.push)
    loop = HotLoop(core, sequencer, engine, Sink())
    with loop.paused():
        core.on_connect(base_ns)
        core.on_frame(base_ns, frames.diff(90, 100, 89, [["1000.0", "5"]]))
        core.on_snapshot(base_ns, frames.snapshot(100, BIDS, ASKS))
    loop.on_frame(base_ns, frames.diff(101, 105, 100, [["999.8", "2"]]))
    assert engine.state["bid"][0] == 10_000
    with loop.paused():
        core.change_instrument(base_ns, FINER)
    assert engine.state["bid"][0] == 0
    loop.on_frame(base_ns, frames.diff(106, 110, 105, [["999.8", "3"]]))
    with loop.paused():
        core.on_snapshot(base_ns, frames.snapshot(110, BIDS, ASKS))
    assert engine.state["bid"][0] == 100_000
    loop.on_frame(base_ns, frames.diff(111, 115, 110, [["1000.05", "3"]]))
    assert engine.state["bid"][0] == 100_005
    assert engine.counters["unknown_instrument"] == 0
    assert core.counts.quarantined.total() == 0
