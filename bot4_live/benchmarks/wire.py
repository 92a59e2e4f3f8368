"""`bot4 bench wire`: from a frame's sending to the engine's decision, over loopback, between two processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from websockets.asyncio.client import connect

from bot4_live.benchmarks.inputs import event_log, load_frames
from bot4_live.benchmarks.report import Noise, NoiseMeter, Result, best, percentiles
from bot4_live.benchmarks.session import benchmark_bundle, open_session
from bot4_live.benchmarks.wire_server import write_frames
from bot4_live.features.batch import compute
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.import_capture import segment_header
from bot4_live.market.stream import MarketStream
from bot4_live.models.bundle import Bundle

MESSAGES = 10_000
RATE = 2_000.0
HIGHER = frozenset({"async_msgs_per_s"})
WARM = 500
PATIENCE_S = 30.0
MISSING = {
    "spin_us": "there is no spinning receiver yet",
    "tls_spin_us": "there is no spinning receiver yet",
    "spin_msgs_per_s": "there is no spinning receiver yet",
    "picows_us": "the peer picows is not installed",
}


class TimedCore(FeedCore):
    """A feed that notes when each frame had become a decision (CLOCK_MONOTONIC, after `step` has returned).

    Engine time is the input's own, whatever the rate of sending, so that every run decides the same.
    """

    times: list[int]
    done: np.ndarray
    count = 0
    answer: Callable[[], None]
    finished: Callable[[], None]

    def on_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame, note the time, then let the venue answer."""
        super().on_frame(self.times[self.count], raw)
        self.done[self.count] = time.monotonic_ns()
        self.count += 1
        self.answer()
        if self.count == len(self.done):
            self.finished()


def run(
    capture: Path | None = None,
    *,
    messages: int = MESSAGES,
    runs: int = 3,
    rate: float = RATE,
    progress: Callable[[str], None] = lambda line: None,
) -> Result:
    """Measure `runs` times with the first `messages` frames of the input; see BENCH.md for the metrics' names."""
    progress("input: frames, model")
    name, frames = load_frames(capture, messages)
    log = event_log(frames)
    model = benchmark_bundle(compute(log.buffer, log.offsets, every_event=True), "lightgbm")
    found: list[dict[str, Any]] = []
    noises: list[Noise] = []
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        for number in range(runs):
            work = Path(folder) / str(number)
            work.mkdir()
            progress(f"run {number + 1} of {runs}")
            with NoiseMeter() as meter:
                found.append(_run(frames, model, work, rate))
            noises.append(meter.noise)
    metrics = {"spin_us": None} | best(found, HIGHER) | dict.fromkeys(MISSING)
    notes = MISSING | {
        "async_us": "send -> websockets, uvloop, feed, journal, engine with LightGBM -> decision, two processes",
        "websockets_us": "send -> message in hand, the library alone",
    }
    return Result("wire", metrics, f"{name}, {len(frames)} messages at {rate:.0f}/s", noises, notes)


def _run(frames: list[tuple[int, bytes]], model: Bundle, work: Path, rate: float) -> dict[str, Any]:
    raws = [raw for _, raw in frames]
    warm = min(WARM, len(raws) // 10)
    with _sender(raws, work, rate) as (port, stamps):
        library = uvloop.run(_library_alone(port, len(raws)))
        alone = percentiles((library - stamps)[warm:])
        decided = uvloop.run(_feed(port, frames, model, work / "paced"))
        paced = percentiles((decided - stamps)[warm:])
    with _sender(raws, work, 0.0) as (port, stamps):
        decided = uvloop.run(_feed(port, frames, model, work / "flood"))
        rate_found = len(raws) / (int(decided[-1]) - int(stamps[0])) * 1e9
    return {"async_us": paced, "websockets_us": alone, "async_msgs_per_s": round(rate_found)}


@contextmanager
def _sender(raws: list[bytes], work: Path, rate: float) -> Iterator[tuple[int, np.ndarray]]:
    """Start the sending process; yields its port and its stamps."""
    write_frames(work / "frames", raws)
    stamps = np.memmap(work / "stamps", np.int64, "w+", shape=(len(raws),))
    command = [sys.executable, "-m", "bot4_live.benchmarks.wire_server", str(work / "frames"), str(work / "stamps")]
    with subprocess.Popen([*command, str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise OSError("the sending process did not start; run the benchmark again")
            yield int(line), stamps
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def _library_alone(port: int, n: int) -> np.ndarray:
    """Return when each message was in hand, int64 ns (n,)."""
    done = np.zeros(n, np.int64)
    async with asyncio.timeout(PATIENCE_S + n / 100):
        async with connect(f"ws://127.0.0.1:{port}", compression=None, max_queue=1024) as socket:
            for i in range(n):
                await socket.recv(decode=False)
                done[i] = time.monotonic_ns()
    return done


async def _feed(port: int, frames: list[tuple[int, bytes]], model: Bundle, work: Path) -> np.ndarray:
    """Return when each frame had become a decision."""
    first = frames[0][0]
    journal = JournalClient(work / "journal", segment_header(BTCUSDT_USDM, 1, first), work / "shm")
    try:
        session = open_session(first, model, journal, TimedCore)
        core = session.core
        assert isinstance(core, TimedCore)
        core.times, core.done = [recv_ns for recv_ns, _ in frames], np.zeros(len(frames), np.int64)
        core.answer = session.answer
        # The capture holds its own snapshot: fetching one would add an event that the input does not have.
        stream = MarketStream(core, f"ws://127.0.0.1:{port}", _never, lambda: session.sequencer.last_ns)
        core.finished = stream.stop
        async with asyncio.timeout(PATIENCE_S + len(frames) / 100):
            await stream.run()
        if core.count != len(frames):
            raise OSError(f"the connection ended after {core.count} of {len(frames)} messages: {stream.last_error}")
        if core.counts.quarantined:
            raise ValueError(f"the input has broken frames: {core.counts.as_dict()['quarantined']}; choose another")
        return core.done
    finally:
        journal.close()


async def _never() -> bytes:
    await asyncio.Event().wait()
    raise AssertionError
