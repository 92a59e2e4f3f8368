"""What benchmarks run on: a capture or the seeded generator, as frames and as the event log the feed makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.market.capture import read_capture
from bot4_live.market.feed_core import FeedCore
from bot4_live.sequencer import Sequencer
from bot4_live.settings import PROJECT_ROOT
from bot4_live.simulation.generator import generate

REAL_CAPTURE = Path("captures/binance_usdm/btcusdt_20240808.gz")
GENERATOR_SEED = 1
GENERATOR_SECONDS = 120.0


class MemoryJournal:
    """A journal sink that keeps records back to back in memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.starts: list[int] = []

    def append(self, record: np.ndarray | bytes) -> None:
        """Keep one record."""
        self.starts.append(len(self.data))
        self.data += record if isinstance(record, bytes) else record.tobytes()


@dataclass(frozen=True)
class EventLog:
    """An event log in memory: `buffer` uint8, records beginning at `offsets` int64 (multiples of 16)."""

    buffer: np.ndarray
    offsets: np.ndarray

    @property
    def kinds(self) -> np.ndarray:
        """Return each record's kind, uint8 (n,)."""
        return self.buffer[self.offsets + 8]

    def record(self, i: int) -> np.ndarray:
        """Return one record as a uint8 view."""
        at = int(self.offsets[i])
        return self.buffer[at : at + int(self.buffer[at : at + 4].view("<u4")[0])]


def find_capture() -> Path | None:
    """Return the real USD-M capture where it lies beside the project (or under BOT4_SHARED_DATA)."""
    root = Path(os.environ.get("BOT4_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    path = root / REAL_CAPTURE
    return path if path.is_file() else None


def load_frames(capture: Path | None, messages: int | None = None) -> tuple[str, list[tuple[int, bytes]]]:
    """Return (name of the input, frames as (local ns, bytes)), at most `messages` of them.

    Without `capture` the real one is taken where it is there, else the generator.
    """
    path = capture or find_capture()
    frames: Iterable[tuple[int, bytes]]
    if path is not None:
        name, frames = path.name, read_capture(path)
    else:
        name = f"generator seed {GENERATOR_SEED}, {GENERATOR_SECONDS:.0f} s"
        frames = generate(GENERATOR_SEED, duration_s=GENERATOR_SECONDS)
    return name, list(islice(frames, messages))


def event_log(frames: Iterable[tuple[int, bytes]], instrument: Instrument = BTCUSDT_USDM) -> EventLog:
    """Return the log that the feed and the sequencer make of frames: INSTRUMENT first, TICKs in their places."""
    journal = MemoryJournal()
    sequencer: Sequencer | None = None
    core: FeedCore | None = None
    for recv_ns, raw in frames:
        if sequencer is None or core is None:
            sequencer = Sequencer(journal, None, recv_ns)
            sequencer.push(instrument.record(recv_ns))
            core = FeedCore(instrument, sequencer.push)
            core.on_connect(recv_ns)
        core.on_frame(recv_ns, raw)
    buffer = np.frombuffer(journal.data, np.uint8).copy()
    return EventLog(buffer, np.array(journal.starts, np.int64))
