"""The runner's market side in a process of its own: stream, feed, sequencer, journal writer, engine; it takes a burst.

Run as `python burst_client.py PORT FOLDER FRAMES MODE`. MODE `held` keeps the engine from stepping until all frames are
in the log, so that all of them wait on disk at once. It prints a JSON report.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import uvloop

from bot4_live import compile_cache, engine_events
from bot4_live.clock import MarketClock
from bot4_live.engine import Engine
from bot4_live.events import Mode
from bot4_live.execution.ledger import Ledger
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.journal.layout import SegmentHeader
from bot4_live.market.stream import MarketStream
from bot4_live.session.core import Core
from bot4_live.session.hot_market import HotMarket
from bot4_live.session.pace import SLICE
from bot4_live.settings import StrategyParams
from bot4_live.wire.path import PathFeed
from tests.system.faults.books import depth


def rss_mb(pid="self", field="VmRSS"):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024


def segment_header(clock):
    return SegmentHeader(
        account="burst", session="1", first_seq=1, market="binance_usdm:BTCUSDT", shift_ns=0, speed_milli=1000,
        start_market_ns=clock.start_market_ns, start_mono_ns=clock.start_mono_ns, order_epoch=1,
        source_hash=compile_cache.source_hash(), lock_hash="", cpu="", schema=1,
    )  # fmt: skip


async def run(port: int, folder: Path, frames: int, mode: str) -> dict[str, object]:
    clock = MarketClock(time.time_ns(), time.monotonic_ns())
    journal = JournalClient(folder / "journal", segment_header(clock), folder / "shm")
    core = Core(clock, journal, Engine(), Ledger(), 1, ahead=True)
    for record in engine_events.opening(BTCUSDT_USDM, StrategyParams(), clock.now_ns(), 1):
        core.publish(record)
    core.publish(engine_events.mode(0, Mode.NORMAL))
    core.publish(engine_events.hold(0, False))
    feed = PathFeed(BTCUSDT_USDM, core.on_market, journal)
    market = HotMarket(core, feed)
    snapshot = (folder / "snapshot.json").read_bytes()

    async def fetch() -> bytes:
        return snapshot

    stream = MarketStream(
        feed,
        f"ws://127.0.0.1:{port}/",
        fetch,
        clock.now_ns,
        on_batch=core.advance,
        quiet=lambda: feed.counts.frames >= frames,  # nothing more is to come while the engine catches up
        room=lambda: journal.room,
    )
    if mode == "held":
        core.pace.ahead_after_s = core.pace.slice = 0
    before, most, lag, unread = rss_mb(), 0.0, 0.0, 0
    began = time.monotonic()
    task = asyncio.create_task(stream.run())
    told = began
    while feed.counts.frames < frames:
        await asyncio.sleep(0.05)
        most, lag = max(most, rss_mb()), max(lag, core.lag_s)
        unread += not journal.room
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"{feed.counts.frames:,} frames, {core.sequencer.backlog.on_disk:,} on disk", file=sys.stderr)
        if task.done():
            task.result()
    received_s = time.monotonic() - began
    backlog = core.sequencer.backlog
    waiting, on_disk = len(backlog), backlog.on_disk
    core.pace.slice = SLICE
    caught = time.monotonic()
    while core.behind:
        await asyncio.sleep(0.01)
        most = max(most, rss_mb())
    caught_up_s = time.monotonic() - caught
    writer = rss_mb(journal._process.pid, "VmHWM")
    book = core.engine.state["book"]
    sides = {name: depth(book, side) for name, side in (("bids", 1), ("asks", -1))}
    live, update_id = feed.live, int(book["update_id"][0])
    stream.stop()
    await task
    journal.close(120.0)
    kinds = {int(kind): count for kind, count in core.kinds.items()}
    return sides | {
        "update_id": update_id, "live": live, "kinds": kinds, "frames": feed.counts.frames,
        "quarantined": sum(feed.counts.quarantined.values()), "last_seq": core.last_seq,
        "engine_seq": core.engine.last_seq, "received_s": received_s, "caught_up_s": caught_up_s,
        "frames_per_s": frames / received_s, "waiting": waiting, "on_disk": on_disk, "most_waiting": backlog.most,
        "from_disk": backlog.from_disk, "lag_s": lag, "times_ahead": core.pace.times_ahead, "rss_before_mb": before,
        "rss_mb": max(most, rss_mb()), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "writer_mb": writer, "ring_full": unread, "declined": market.path.declined,
    }  # fmt: skip


def main() -> None:
    port, folder, frames, mode = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    np.seterr(all="raise")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(port, folder, frames, mode))))


if __name__ == "__main__":
    main()
