"""The hot loop leaves the log, commands and counts that feed, sequencer and engine leave one after the other."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from bot4_live.benchmarks.inputs import MemoryJournal, event_log
from bot4_live.benchmarks.session import NoJournal, Session, benchmark_bundle, open_session
from bot4_live.engine import Engine
from bot4_live.events import FIRST_COMMAND, LAST_COMMAND, Kind, Reason, StaleCause, header_of
from bot4_live.features.batch import compute
from bot4_live.hot_loop import HotLoop
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.capture import read_capture
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.hot_feed import HotFeed
from bot4_live.models.bundle import Bundle
from bot4_live.sequencer import Sequencer, split
from bot4_live.simulation.generator import generate

Frames = list[tuple[int, bytes]]


class RawMemory:
    """A raw log in memory: a reference is the number of frames before."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, bytes, int, int]] = []

    def append_raw(self, recv_ns: int, raw: bytes, reason: int, stream: int) -> int:
        self.kept.append((recv_ns, raw, int(reason), int(stream)))
        return len(self.kept) - 1


def open_with(core_type: type[FeedCore], start_ns: int) -> tuple[Session, MemoryJournal, RawMemory]:
    journal, raw_log = MemoryJournal(), RawMemory()
    session = open_session(start_ns, None, journal, core_type)
    session.core._raw_log = raw_log
    return session, journal, raw_log


def apart(frames: Frames, reconnect: int) -> tuple[Session, MemoryJournal, RawMemory]:
    """Run the ordinary way."""
    session, journal, raw_log = open_with(FeedCore, frames[0][0])
    session.core.on_connect(frames[0][0])
    for i, (recv_ns, raw) in enumerate(frames):
        if i == reconnect:
            session.core.on_disconnect(recv_ns)
            session.core.on_connect(recv_ns)
        session.core.on_frame(recv_ns, raw)
        session.answer()
    return session, journal, raw_log


def together(frames: Frames, reconnect: int) -> tuple[Session, MemoryJournal, RawMemory, int]:
    """Run the hot loop; return also how many frames took the ordinary way."""
    session, journal, raw_log = open_with(HotFeed, frames[0][0])
    session.core.on_connect(frames[0][0])
    assert isinstance(session.core, HotFeed)
    loop = HotLoop(session.core, session.sequencer, session.engine, journal, raw_log)
    slow = 0
    ordinary = session.core.on_frame

    def count(recv_ns: int, raw: bytes) -> None:
        nonlocal slow
        slow += 1
        ordinary(recv_ns, raw)

    session.core.on_frame = count  # type: ignore[method-assign]
    for i, (recv_ns, raw) in enumerate(frames):
        if i == reconnect:
            with loop.paused():
                session.core.on_disconnect(recv_ns)
                session.core.on_connect(recv_ns)
        session.commands.extend(loop.on_frame(recv_ns, raw))
        with loop.paused():
            session.answer()
    return session, journal, raw_log, slow


def check_same(frames: Frames, reconnect: int = -1) -> tuple[int, Session]:
    """Compare both ways; return (frames that took the ordinary way in the loop, its session)."""
    one, journal, raw_log = apart(frames, reconnect)
    other, hot_journal, hot_raw_log, slow = together(frames, reconnect)
    assert raw_log.kept == hot_raw_log.kept
    if journal.data != hot_journal.data:
        for before, after in zip(split(bytes(journal.data)), split(bytes(hot_journal.data)), strict=False):
            assert header_of(before) == header_of(after)
            assert before.tobytes() == after.tobytes()
    assert journal.data == hot_journal.data
    assert one.engine.snapshot() == other.engine.snapshot()
    assert one.core.counts == other.core.counts
    assert one.core.last_frame_ns == other.core.last_frame_ns
    assert one.core.live == other.core.live
    assert one.orders == other.orders
    return slow, other


def generated(seed: int, seconds: float) -> Frames:
    return list(generate(seed, duration_s=seconds))


def disturb(frames: Frames, seed: int) -> Frames:
    """Drop, repeat, exchange, cut and delay frames, and break their numbers."""
    rng = random.Random(seed)
    out: Frames = []
    for recv_ns, raw in frames:
        match rng.randrange(60):
            case 0:
                continue
            case 1:
                out.append((recv_ns, raw))
            case 2 if out:
                out[-1], raw = (out[-1][0], raw), out[-1][1]
            case 3:
                raw = raw[: rng.randrange(1, len(raw))]
            case 4:
                recv_ns += rng.choice([-70_000_000_000, 70_000_000_000, -5_000_000, 300_000_000])
            case 5:
                at = rng.randrange(len(raw))
                raw = raw[:at] + bytes([rng.choice(b"0123456789")]) + raw[at + 1 :]
            case 6 if b"@trade" in raw or b"@bookTicker" in raw:
                raw = raw.replace(b'"6', b'"9', 1)  # far from the market
        out.append((recv_ns, raw))
    return out


def with_snapshots(frames: Frames, every: int) -> Frames:
    """Add a true snapshot after every so many diffs, as a feed that asks again would get it."""
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    out: Frames = []
    diffs = 0
    for recv_ns, raw in frames:
        out.append((recv_ns, raw))
        data = json.loads(raw)
        if "lastUpdateId" in data:
            data = {"data": {"b": data["bids"], "a": data["asks"], "U": 0, "u": data["lastUpdateId"]}}
        if "U" not in data["data"]:
            continue
        for name, levels in sides.items():
            for price, qty in data["data"][name]:
                levels[price] = qty
        diffs += 1
        if diffs % every == 0:
            bids, asks = ([[p, q] for p, q in levels.items() if float(q)] for levels in sides.values())
            last = data["data"]["u"]
            out.append((recv_ns, json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()))
    return out


def test_a_quiet_market() -> None:
    frames = generated(3, 20.0)
    slow, session = check_same(frames)
    assert slow < 0.02 * len(frames)
    assert session.orders > 0


@pytest.mark.parametrize("seed", range(6))
def test_a_disturbed_one(seed: int) -> None:
    frames = disturb(with_snapshots(generated(seed, 8.0), 5), seed)
    slow, session = check_same(frames, reconnect=len(frames) // 2)
    counts = session.core.counts
    assert 0 < slow < 0.6 * len(frames)
    assert counts.quarantined[Reason.DUPLICATE] > 0
    assert counts.quarantined[Reason.TIME_OUT_OF_RANGE] > 0
    assert counts.stale[StaleCause.GAP] > 0
    assert counts.events[Kind.DEPTH_SNAPSHOT] > 0


def test_a_pause_with_more_ticks_than_one_call_takes() -> None:
    frames = generated(4, 8.0)
    late = [(recv_ns + (5_000_000_000 if i > 500 else 0), raw) for i, (recv_ns, raw) in enumerate(frames)]
    check_same(late)


def test_without_ticks_and_journal() -> None:
    """A loop that keeps nothing takes the same steps."""
    frames = generated(5, 6.0)
    states = []
    for hot in (False, True):
        engine = Engine()
        sequencer = Sequencer(NoJournal(), engine, frames[0][0], ticks=False)
        core = HotFeed(BTCUSDT_USDM, sequencer.push)
        sequencer.push(BTCUSDT_USDM.record(frames[0][0]))
        core.follow(engine.state["book"])
        core.on_connect(frames[0][0])
        take = HotLoop(core, sequencer, engine, None).on_frame if hot else core.on_frame
        for recv_ns, raw in frames:
            take(recv_ns, raw)
        states.append(engine.snapshot())
    assert states[0] == states[1]


def test_an_engine_that_does_not_know_the_instrument() -> None:
    engine = Engine()
    sequencer = Sequencer(NoJournal(), engine, 1)
    with pytest.raises(ValueError, match="INSTRUMENT"):
        HotLoop(HotFeed(BTCUSDT_USDM, sequencer.push), sequencer, engine, None)


def test_commands_are_returned() -> None:
    frames = generated(3, 12.0)
    session = open_session(frames[0][0], None, core_type=HotFeed)
    session.core.on_connect(frames[0][0])
    assert isinstance(session.core, HotFeed)
    loop = HotLoop(session.core, session.sequencer, session.engine, None)
    kinds = [header_of(c)["kind"] for recv_ns, raw in frames for c in loop.on_frame(recv_ns, raw)]
    assert Kind.CMD_NEW in kinds
    assert all(FIRST_COMMAND <= kind <= LAST_COMMAND for kind in kinds)


def first(frames: Iterable[tuple[int, bytes]], n: int) -> Frames:
    return [frame for frame, _ in zip(frames, range(n), strict=False)]


@contextmanager
def counted_allocations() -> Iterator[Callable[[], tuple[int, ...]]]:
    """Let numba's runtime count what compiled code allocates and frees; yield what reads the counters."""
    _nrt_python.memsys_enable_stats()
    try:
        yield lambda: tuple(rtsys.get_allocation_stats())
    finally:
        _nrt_python.memsys_disable_stats()


def allocating_frames(frames: Frames, model: Bundle) -> tuple[int, int]:
    """Return (frames that the compiled call took, those of them in which it allocated or freed)."""
    session = open_session(frames[0][0], model, core_type=HotFeed)
    session.core.on_connect(frames[0][0])
    assert isinstance(session.core, HotFeed)
    loop = HotLoop(session.core, session.sequencer, session.engine, None)
    taken = moved = 0
    with counted_allocations() as counters:
        for recv_ns, raw in frames:
            before, events = counters(), session.engine.state["counters"]["events"][0]
            result = loop.take(raw, recv_ns)
            if result >= 0:
                taken += session.engine.state["counters"]["events"][0] > events
                moved += counters() != before
            session.commands.extend(loop.finish(result, recv_ns, raw))
            with loop.paused():
                session.answer()
    assert session.orders > 0
    return taken, moved


def model_over(frames: Frames) -> Bundle:
    log = event_log(frames)
    return benchmark_bundle(compute(log.buffer, log.offsets, every_event=True), "lightgbm")


def test_nothing_is_allocated() -> None:
    frames = generated(3, 20.0)
    taken, moved = allocating_frames(frames, model_over(frames))
    assert taken > 0.98 * len(frames)
    assert moved == 0


def test_allocations_would_be_counted() -> None:
    with counted_allocations() as counters:
        before = counters()
        Engine().step(BTCUSDT_USDM.record(1))  # takes an array, which numba's runtime keeps count of
        assert counters() != before


@pytest.mark.capture
@pytest.mark.slow
@pytest.mark.timeout(0)
def test_nothing_is_allocated_over_a_whole_capture(usdm_capture: Path) -> None:
    frames = list(read_capture(usdm_capture))
    taken, moved = allocating_frames(frames, model_over(frames[:30_000]))
    assert taken >= 90_000
    assert moved == 0


@pytest.mark.capture
def test_a_real_capture(usdm_capture: Path) -> None:
    frames = first(read_capture(usdm_capture), 15_000)
    slow, session = check_same(frames)
    assert slow < 0.01 * len(frames)
    assert session.orders > 0
    assert np.isfinite(session.engine.account["equity_e8"])


@pytest.mark.capture
@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_whole_capture(usdm_capture: Path) -> None:
    slow, _ = check_same(list(read_capture(usdm_capture)))
    assert slow < 1_000
