"""An event log of the generated market and a builder of hand-made ones."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bot4_live.benchmarks.inputs import EventLog, MemoryJournal, event_log
from bot4_live.events import Flag, Kind, header_of, new_record, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.sequencer import Sequencer
from bot4_live.simulation.generator import generate

T0 = 1_723_200_000_000_000_000
MS = 1_000_000


class LogBuilder:
    """Builds a log event by event through the real sequencer; times are ms after T0."""

    def __init__(self, instrument: Any = BTCUSDT_USDM) -> None:
        self.journal = MemoryJournal()
        self.sequencer = Sequencer(self.journal, None, T0 - 1)
        self.update_id = 100
        self.version = 0
        self.instrument(instrument, 0)

    def instrument(self, instrument: Any, at_ms: float) -> None:
        """Push an instrument version; what follows is in its ticks and lots."""
        self.version = instrument.version
        self.sequencer.push(instrument.record(T0 + round(at_ms * MS)))

    def push(self, kind: int, at_ms: float, slots: Iterable[tuple[int, int]] = (), **fields: int) -> None:
        """Push one record."""
        rows = list(slots)
        record = new_record(kind, len(rows))
        head = header_of(record)
        head["recv_ns"], head["inst_version"] = T0 + round(at_ms * MS), self.version
        for name, value in fields.items():
            head[name] = value
        if rows:
            slots_of(record)[:] = rows
        self.sequencer.push(record)

    def snapshot(self, at_ms: float, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """Push a whole book."""
        self.push(
            Kind.DEPTH_SNAPSHOT, at_ms, [(0, len(bids)), *bids, *asks], a=self.update_id, b=self.update_id,
        )  # fmt: skip

    def diff(self, at_ms: float, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """Push changed levels that connect."""
        before, self.update_id = self.update_id, self.update_id + 10
        slots = [(before, len(bids)), *bids, *asks]
        self.push(Kind.DEPTH_DIFF, at_ms, slots, a=before + 1, b=self.update_id)

    def ticker(self, at_ms: float, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        """Push a best quote newer than the levels."""
        self.update_id += 1
        # a quote's id is ahead of the levels' until the next diff
        self.push(Kind.BOOK_TICKER, at_ms, [bid, ask], a=self.update_id)
        self.update_id -= 1

    def trade(self, at_ms: float, price: int, qty: int, *, sell: bool = False) -> None:
        """Push a trade."""
        self.push(Kind.TRADE, at_ms, [(price, qty)], flags=Flag.SELL if sell else 0)

    def advance(self, to_ms: float) -> None:
        """Let time pass."""
        self.sequencer.advance(T0 + round(to_ms * MS))

    def log(self) -> EventLog:
        """Return what was pushed."""
        return EventLog(np.frombuffer(self.journal.data, np.uint8).copy(), np.array(self.journal.starts, np.int64))


@pytest.fixture
def builder() -> LogBuilder:
    """A log that begins with an INSTRUMENT event."""
    return LogBuilder()


@pytest.fixture(scope="session")
def market_log() -> EventLog:
    """20 s of the generated market."""
    return event_log(generate(3, duration_s=20.0))


def _load(name: str) -> ModuleType:
    """Load a module that lies beside the tests."""
    full = f"bot4_test_features_{name}"
    spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference_modules() -> Any:
    """`read(log)` and `references`, every feature's definition over a whole history."""
    references: dict[str, Any] = {}
    for name in ("references", "bar_references", "signal_references"):
        references |= _load(name).REFERENCES
    return SimpleNamespace(read=_load("whole_history").read, references=references)
