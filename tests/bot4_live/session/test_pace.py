"""A burst is journaled ahead of the engine, which catches up in order; replay and recovery see one log."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from bot4_live import compile_cache, engine_events
from bot4_live.clock import MarketClock
from bot4_live.engine import Engine
from bot4_live.events import Kind, Mode, SuppressCause, header_of, new_record
from bot4_live.execution.ledger import Ledger, OrderState
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient, settle
from bot4_live.journal.layout import SegmentHeader
from bot4_live.journal.reader import Journal
from bot4_live.replay import replay
from bot4_live.session import recovery
from bot4_live.session.core import Core
from bot4_live.session.hot_market import HotMarket
from bot4_live.settings import StrategyParams
from bot4_live.simulation.generator import generate
from bot4_live.wire.path import PathFeed


@pytest.fixture(scope="module")
def frames():
    return list(generate(21, duration_s=30))


class Suppressor:
    """Stops each new order, as a closed gate does: the engine hears of it and decides anew."""

    def __init__(self, core):
        self.core, self.times = core, []

    def submit(self, command, _written):
        head = header_of(command)
        self.times.append(int(head["recv_ns"]))
        if head["kind"] == Kind.CMD_NEW:
            record = new_record(Kind.SUPPRESSED)
            told = header_of(record)
            told["a"], told["b"], told["c"] = head["a"], SuppressCause.BEHIND, head["kind"]
            self.core.publish(record)


class Session:
    """A core over a real journal, fed without a socket."""

    def __init__(self, folder, frames, *, engine=None, ledger=None, first_seq=1, epoch=1, hold=False):
        self.folder = folder
        start_ns = frames[0][0]
        self.now_ns = start_ns
        self.clock = MarketClock(start_ns, start_ns, 1000, lambda: self.now_ns)  # market time is that of the frames
        header = SegmentHeader(
            account="paper", session=str(epoch), first_seq=first_seq, market="binance_usdm:BTCUSDT", shift_ns=0,
            speed_milli=1000, start_market_ns=start_ns, start_mono_ns=0, order_epoch=epoch,
            source_hash=compile_cache.source_hash(), lock_hash="", cpu="", schema=1,
        )  # fmt: skip
        self.journal = JournalClient(folder / "journal", header, folder / "shm", segment_bytes=1 << 20)
        self.core = Core(self.clock, self.journal, engine or Engine(), ledger or Ledger(), first_seq, ahead=True)
        self.core.sequencer.backlog._limit = 20_000
        for record in engine_events.opening(BTCUSDT_USDM, StrategyParams(requote_ms=50), 0, epoch):
            self.core.publish(record)
        self.core.publish(engine_events.mode(0, Mode.NORMAL))
        self.core.publish(engine_events.hold(0, hold))
        self.core.dispatcher = Suppressor(self.core)
        self.core.pace.ahead_after_s = 0.0
        self.feed = PathFeed(BTCUSDT_USDM, self.core.on_market, self.journal)
        self.market = HotMarket(self.core, self.feed)
        self.feed.on_connect(start_ns)

    def push(self, frames):
        for recv_ns, raw in frames:
            self.now_ns = max(self.now_ns, recv_ns)
            self.feed.on_frame(recv_ns, raw)

    def close(self):
        self.journal.close()

    async def level(self):
        async with asyncio.timeout(30):
            while self.core.behind:
                await asyncio.sleep(0.001)


def markers(folder):
    heads = [header_of(record) for record in Journal(folder / "journal").events()]
    return [(int(h["a"]), int(h["b"]), int(h["c"])) for h in heads if h["kind"] == Kind.BACKLOG]


async def test_a_burst_is_stepped_later_and_nothing_else_is_different(tmp_path, frames):
    session = Session(tmp_path, frames)
    core, pace = session.core, session.core.pace
    pace.slice = 64
    session.push(frames[:200])
    await asyncio.sleep(0.01)
    assert (core.behind, pace.times_ahead) == (False, 0)
    session.push(frames[200:])  # one turn
    assert core.behind
    assert core.sequencer.backlog.on_disk > 1000
    assert core.engine.last_seq < core.last_seq - 3000
    assert core.lag_s > 20
    before = core.last_seq
    core.publish(engine_events.intent(0, 0))  # what else comes waits its turn as well
    core.advance()
    assert core.last_seq > before
    assert session.market.path.declined < len(frames) / 10, "frames that wait take the compiled path as well"
    await session.level()
    assert core.engine.last_seq == core.last_seq
    assert core.sequencer.backlog.from_disk > 1000
    session.push(frames[-5:])  # level again: stepped at once
    assert core.engine.last_seq == core.last_seq
    session.close()
    begun, ended = markers(tmp_path)
    assert begun[0] == 1
    assert ended[:1] == (0,)
    assert ended[2] == ended[1] - begun[1]
    found = replay(tmp_path / "journal")
    assert found.identical
    assert found.commands > 50
    late = [t for t in core.dispatcher.times if not core.fresh(t)]
    assert len(late) > 20, "decisions on old data are known as such"
    engine = Engine()
    for segment in Journal(tmp_path / "journal").segments():
        engine.run(segment.buffer, segment.offsets[~segment.is_command])
    assert engine.snapshot() == core.engine.snapshot()


async def test_a_crash_while_behind_loses_nothing_that_was_decided_or_came(tmp_path, frames):
    session = Session(tmp_path, frames, hold=True)
    session.core.pace.slice = 64
    session.push(frames[:2000])
    session.core.publish(engine_events.hold(0, False))  # quoting begins in what waits
    session.push(frames[2000:])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert session.core.behind
    session.core.pace._over = True  # the process is gone: nothing is stepped any more
    last_seq, stepped = session.core.last_seq, session.core.engine.last_seq
    session.close()
    found = replay(tmp_path / "journal")
    assert found.identical
    assert found.lost_tail > 0
    settle(tmp_path / "journal", tmp_path / "shm")
    again = recovery.recover(tmp_path / "journal", tmp_path / "state", tmp_path / "models")
    assert (again.last_seq, again.engine.last_seq) == (last_seq, last_seq)
    assert len(again.lost) == found.lost_tail
    assert all(int(header_of(command)["seq"]) > stepped for command in again.lost)
    second = Session(
        tmp_path, frames, engine=again.engine, ledger=again.ledger, first_seq=again.last_seq + 1, epoch=2
    )  # as the runner does: what was owed comes before anything that is sent
    for command in again.lost:
        again.ledger.apply(command)
    second.core.pace.finish(5.0)
    second.close()
    assert not [order for order in again.ledger.orders.values() if order.state == OrderState.SENT]


async def test_without_a_loop_or_a_burst_it_is_never_ahead(tmp_path, frames):
    session = Session(tmp_path, frames)
    for start in range(0, 3000, 100):
        session.push(frames[start : start + 100])
        await asyncio.sleep(0)
    assert session.core.pace.times_ahead == 0
    assert session.core.lag_s == 0
    await asyncio.to_thread(session.push, frames[3000:])
    assert session.core.pace.times_ahead == 0
    session.close()
    assert np.array_equal(markers(tmp_path), [])
