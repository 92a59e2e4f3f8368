"""`bot4 bench wire`: from a frame's sending to the engine's decision, over loopback, between two processes.

Every receiver gets the same frames from the same sender, which writes encoded frames to its socket. What lies between
the two times is said with each figure: `async_us` and `spin_us` are the runner's two transports before
its compiled path; `spin_feed_us` is the polled socket before the feed in Python; `websockets_us` and `picows_us` end
with the message in hand.

A venue takes no processor time of ours, so the sender has a core of its own and everything else keeps off it. The
session's loop has one as well where there are three, as BOT4_LOOP_CPU gives it; `async_anywhere_us` is without. As in a
session no processor halts while it is idle, where the kernel grants that, in the libraries' runs too;
`async_halting_us` is without it. The async loop has short slices as a session's has.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from websockets.asyncio.client import connect

from bot4_live.benchmarks.certificate import self_signed
from bot4_live.benchmarks.inputs import event_log, load_frames
from bot4_live.benchmarks.places import Places, running_on
from bot4_live.benchmarks.report import Noise, NoiseMeter, Result, best, percentiles
from bot4_live.benchmarks.session import Session, benchmark_bundle, open_session
from bot4_live.benchmarks.wire_server import write_frames
from bot4_live.benchmarks.wire_spin import CompiledPath, parse_all
from bot4_live.cores import Cores, keep_to, kept_awake
from bot4_live.features.batch import compute
from bot4_live.hot_loop import HotLoop
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.client import JournalClient
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.hot_feed import HotFeed
from bot4_live.market.import_capture import segment_header
from bot4_live.market.stream import MarketStream
from bot4_live.models.bundle import Bundle
from bot4_live.short_slices import short_slices
from bot4_live.wire.path import PathFeed, WirePath
from bot4_live.wire.spin import SpinSocket
from bot4_live.wire.spsc import SpscRing

MESSAGES = 10_000
RATE = 2_000.0
FLOOD = 10  # times as many messages, where the input has them: the compiled path takes ten thousand in 10 ms
HIGHER = frozenset({"async_msgs_per_s", "spin_msgs_per_s", "spin_decisions_per_s"})
WARM = 500
PATIENCE_S = 30.0
ANYWHERE = Cores()
NO_PICOWS = "the peer picows is not installed; make setup installs it"
_COMPILED_PATH = "hot loop (parser, validation, sequence rules, engine with LightGBM), journal ring"
_COMPILED = f"polled socket, framing, {_COMPILED_PATH}"
NOTES = {
    "async_us": f"send -> websockets, uvloop, framing, {_COMPILED_PATH} -> decision, two processes",
    "async_anywhere_us": "the same with a loop that has no core of its own, as a session's without BOT4_LOOP_CPU",
    "async_halting_us": "async_us while idle processors halt",
    "spin_us": f"send -> {_COMPILED} -> decision",
    "tls_spin_us": "the same over TLS 1.3 by Python's ssl",
    "spin_feed_us": "send -> polled socket, then feed, journal and engine called from Python -> decision",
    "spin_msgs_per_s": "flood: polled socket, framing, parsed to records",
    "spin_decisions_per_s": f"flood: {_COMPILED}, orders answered",
    "websockets_us": "send -> message in hand, the library alone",
    "picows_us": "send -> message in hand, the library alone",
}

AWAKE, HALTING = "; no processor halts meanwhile", "; idle processors halt: /dev/cpu_dma_latency is not ours to open"

Frames = list[tuple[int, bytes]]  # (receive time ns, bytes)


class TimedCore(PathFeed):
    """The runner's feed; it notes when each frame had become a decision (CLOCK_MONOTONIC, as soon as `step` is over).

    Engine time is the input's own, whatever the rate of sending, so that every run decides the same.
    """

    times: list[int]
    done: np.ndarray
    count = 0
    answer: Callable[[], None]
    finished: Callable[[], None]

    def on_frame(self, recv_ns: int, raw: bytes) -> None:
        """Take one frame, then let the venue answer."""
        super().on_frame(self.times[self.count], raw)
        self.count += 1
        self.answer()
        if self.count == len(self.done):
            self.finished()

    def taken(self, first: int, after: int, result: int) -> None:
        """Note when the frame had become a decision."""
        self.done[self.count] = time.monotonic_ns()


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
    name, flood = load_frames(capture, FLOOD * messages)
    frames = flood[:messages]
    log = event_log(frames)
    model = benchmark_bundle(compute(log.buffer, log.offsets, every_event=True), "lightgbm")
    found: list[dict[str, Any]] = []
    noises: list[Noise] = []
    places = Places.of(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        for number in range(runs):
            work = Path(folder) / str(number)
            work.mkdir()
            progress(f"run {number + 1} of {runs}")
            with NoiseMeter() as meter, running_on(places.sleeping):
                found.append(_run(frames, flood, model, work, rate, places))
            noises.append(meter.noise)
    metrics = {"spin_us": None} | best(found, HIGHER)
    notes = NOTES | ({"picows_us": NO_PICOWS} if metrics["picows_us"] is None else {})
    with kept_awake() as awake:
        notes["async_us"] += AWAKE if awake else HALTING
    return Result("wire", metrics, f"{name}, {len(frames)} messages at {rate:.0f}/s", noises, notes)


def _run(frames: Frames, flood: Frames, model: Bundle, work: Path, rate: float, places: Places) -> dict[str, Any]:
    raws = [raw for _, raw in frames]
    warm = min(WARM, len(raws) // 10)

    def taken(done: np.ndarray, stamps: np.ndarray) -> Any:
        return percentiles((done - stamps)[warm:])

    def asleep(port: int, name: str, cores: Cores) -> np.ndarray:
        with running_on(cores):
            return uvloop.run(_feed(port, frames, model, work / name, cores))

    def spinning(url: str, name: str, frames: Frames = frames, certificate: Path | None = None) -> np.ndarray:
        return _spin(url, frames, model, work / name, certificate, places.polling)

    out: dict[str, Any] = {}
    with _sender(raws, work, rate, on=places.sender) as (port, stamps):
        with kept_awake():
            out["spin_us"] = taken(spinning(f"ws://127.0.0.1:{port}", "spin"), stamps)
            out["async_us"] = taken(asleep(port, "paced", places.polling), stamps)
            out["async_anywhere_us"] = taken(asleep(port, "anywhere", places.sleeping), stamps)
            with running_on(places.polling):
                out["spin_feed_us"] = taken(_spin_feed(port, frames, model, work / "spin-feed"), stamps)
            out["websockets_us"] = taken(uvloop.run(_library_alone(port, len(raws))), stamps)
            done = uvloop.run(_picows_alone(port, len(raws))) if _installed("picows") else None
            out["picows_us"] = None if done is None else taken(done, stamps)
        out["async_halting_us"] = taken(asleep(port, "halting", places.polling), stamps)
    certificate = self_signed(work)
    with _sender(raws, work, rate, certificate, on=places.sender) as (port, stamps):
        done = spinning(f"wss://127.0.0.1:{port}", "tls", certificate=certificate)
        out["tls_spin_us"] = taken(done, stamps)
    with _sender(raws, work, 0.0, on=places.sender) as (port, stamps):
        out["async_msgs_per_s"] = _rate(len(raws), asleep(port, "flood", places.polling)[-1], stamps)
    with _sender([raw for _, raw in flood], work, 0.0, on=places.sender) as (port, stamps):
        decided = spinning(f"ws://127.0.0.1:{port}", "spin-flood", flood)
        out["spin_decisions_per_s"] = _rate(len(flood), decided[-1], stamps)
        with running_on(places.polling), SpinSocket.connect(f"ws://127.0.0.1:{port}") as wire:
            ended, parsed = parse_all(wire, len(flood), PATIENCE_S)
        if parsed < 0.99 * len(flood):
            raise ValueError(f"only {parsed} of {len(flood)} frames are the venue's own; choose another input")
        out["spin_msgs_per_s"] = _rate(len(flood), ended, stamps)
    return out


def _installed(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _rate(n: int, ended_ns: int, stamps: np.ndarray) -> int:
    return round(n / (int(ended_ns) - int(stamps[0])) * 1e9)


@contextmanager
def _sender(
    raws: list[bytes], work: Path, rate: float, certificate: Path | None = None, on: frozenset[int] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Start the sending process, on these cores; yields its port and its stamps."""
    write_frames(work / "frames", raws)
    stamps = np.memmap(work / "stamps", np.int64, "w+", shape=(len(raws),))
    command = [sys.executable, "-m", "bot4_live.benchmarks.wire_server", str(work / "frames"), str(work / "stamps")]
    command += [str(rate), *([] if certificate is None else [str(certificate)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        keep_to(process, on)
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
    """Return when `websockets` had each message in hand, int64 ns (n,)."""
    done = np.zeros(n, np.int64)
    async with asyncio.timeout(PATIENCE_S + n / 100):
        async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, max_queue=1024) as socket:
            for i in range(n):
                await socket.recv(decode=False)
                done[i] = time.monotonic_ns()
    return done


async def _picows_alone(port: int, n: int) -> np.ndarray:
    """Return when `picows` had each message in hand, int64 ns (n,)."""
    from picows import WSListener, ws_connect

    done = np.zeros(n, np.int64)

    class Listener(WSListener):
        count = 0

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            frame.get_payload_as_bytes()
            done[self.count] = time.monotonic_ns()
            self.count += 1
            if self.count == n:
                transport.disconnect()

    async with asyncio.timeout(PATIENCE_S + n / 100):
        transport, _ = await ws_connect(Listener, f"ws://127.0.0.1:{port}")
        await transport.wait_disconnected()
    return done


@contextmanager
def _session(
    frames: Frames, model: Bundle, work: Path, core_type: type[FeedCore] = FeedCore, cores: Cores = ANYWHERE
) -> Iterator[tuple[Session, JournalClient]]:
    """A session with a journal of its own (frames in its raw log), closed (drained, sealed) at the end."""
    header = segment_header(BTCUSDT_USDM, 1, frames[0][0])
    journal = JournalClient(work / "journal", header, work / "shm", cores=cores.others)
    try:
        yield open_session(frames[0][0], model, journal, core_type, raw_log=journal), journal
    finally:
        journal.close()


def _spin(
    url: str, frames: Frames, model: Bundle, work: Path, certificate: Path | None = None, cores: Cores = ANYWHERE
) -> np.ndarray:
    """Return when each frame had become a decision on the compiled path."""
    done = np.zeros(len(frames), np.int64)
    context = None if certificate is None else ssl.create_default_context(cafile=str(certificate))
    with running_on(cores), _session(frames, model, work, HotFeed, cores) as (session, journal):
        with SpinSocket.connect(url, context=context) as wire:
            session.core.on_connect(session.sequencer.last_ns)
            path = CompiledPath(wire, session, journal, np.array([recv_ns for recv_ns, _ in frames]))
            path.run(done, PATIENCE_S + len(frames) / 100)
        session.core.on_disconnect(session.sequencer.last_ns)
    return done


def _spin_feed(port: int, frames: Frames, model: Bundle, work: Path) -> np.ndarray:
    """Return when each frame had become a decision: the polled socket before the feed in Python."""
    done, at = np.zeros(len(frames), np.int64), 0
    deadline = time.monotonic() + PATIENCE_S + len(frames) / 100
    with _session(frames, model, work) as (session, _), SpinSocket.connect(f"ws://127.0.0.1:{port}") as wire:
        session.core.on_connect(session.sequencer.last_ns)
        while at < len(frames):
            for i in range(wire.poll()):
                session.core.on_frame(frames[at][0], wire.framer.message(i))
                done[at] = time.monotonic_ns()
                session.answer()
                at += 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {at} of {len(frames)} messages came")
        session.core.on_disconnect(session.sequencer.last_ns)
    return done


async def _feed(port: int, frames: Frames, model: Bundle, work: Path, cores: Cores = ANYWHERE) -> np.ndarray:
    """Return when each frame had become a decision on the `async` transport."""
    with short_slices(), _session(frames, model, work, TimedCore, cores) as (session, journal):
        core = session.core
        assert isinstance(core, TimedCore)
        ring = SpscRing(journal.ring)
        loop = HotLoop(core, session.sequencer, session.engine, None)
        core.front = WirePath(loop, core, ring, journal, core.taken, session.commands.extend).take_frame
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


async def _never() -> bytes:
    await asyncio.Event().wait()
    raise AssertionError
