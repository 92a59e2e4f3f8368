"""A trading session for benchmarks: the real feed, sequencer and engine, and a venue that accepts at once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot4_live.benchmarks.inputs import EventLog, MemoryJournal
from bot4_live.benchmarks.random_model import random_model
from bot4_live.engine import Engine
from bot4_live.engine_events import hold, mode, model_swap, opening, record
from bot4_live.events import FIRST_COMMAND, LAST_COMMAND, Kind, Mode, Source, header_of, slots_of
from bot4_live.features.batch import FeatureTable
from bot4_live.features.registry import NAMES
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore, RawLog
from bot4_live.models import bundle
from bot4_live.models.bundle import GOLDEN_ROWS, Bundle, BundleInfo, full_rows
from bot4_live.models.layout import new_slot
from bot4_live.models.linear import LinearModel
from bot4_live.models.predict import predict_rows
from bot4_live.models.trees import TreeModel
from bot4_live.sequencer import JournalSink, Sequencer
from bot4_live.settings import StrategyParams

TREES, LEAVES = 100, 31


class NoJournal:
    """A sink that keeps nothing, for measuring the decision alone."""

    def append(self, record: np.ndarray | bytes) -> None:
        """Forget the record."""


def benchmark_bundle(table: FeatureTable, kind: str) -> Bundle:
    """Return a bundle over all features, written and loaded like a promoted one: `lightgbm` (100 x 31) or `linear`."""
    x = table.x[table.valid]
    if len(x) < GOLDEN_ROWS:
        raise ValueError("too few messages to benchmark with: features need 5 s of market; give it more")
    model: LinearModel | TreeModel
    if kind == "lightgbm":
        data = random_model(x, NAMES, TREES, LEAVES).encode()
        model = TreeModel.decode(data)
    else:
        scale = np.maximum(x.std(axis=0), 1e-9)
        weights = np.random.default_rng(1).normal(scale=0.01, size=len(NAMES))
        model = LinearModel(NAMES, tuple(weights.tolist()), tuple(x.mean(axis=0).tolist()), tuple(scale.tolist()))
        data = model.encode()
    golden = x[:: len(x) // GOLDEN_ROWS][:GOLDEN_ROWS]
    slot = new_slot()
    model.fill(slot)
    scores = predict_rows(slot[0], full_rows(NAMES, golden))
    info = BundleInfo("benchmark", 1, kind, NAMES, "random", 10**9)
    with tempfile.TemporaryDirectory(prefix="bot4-bench-") as folder:
        return bundle.load_digest(Path(folder), bundle.write(Path(folder), info, data, golden, scores))


@dataclass
class Session:
    """An armed session: push frames into `core`, then `answer` the commands that came out."""

    engine: Engine
    sequencer: Sequencer
    core: FeedCore
    commands: list[np.ndarray]
    orders: int = 0

    def answer(self) -> None:
        """Let the venue accept what was placed and confirm what was cancelled, as events."""
        while self.commands:
            waiting, self.commands[:] = self.commands[:], []
            for command in waiting:
                head = header_of(command)
                order, now = int(head["a"]), self.sequencer.last_ns
                self._push(record(Kind.SEND_ATTEMPT, now, order, int(head["kind"]), source=Source.ORDER_REST))
                if head["kind"] == Kind.CMD_NEW:
                    self.orders += 1
                    accepted = record(Kind.ORDER_ACCEPTED, now, order, self.orders, slots=1, source=Source.ORDER_REST)
                    slots_of(accepted)[0] = slots_of(command)[0]
                    self._push(accepted)
                elif head["kind"] == Kind.CMD_CANCEL:
                    self._push(record(Kind.ORDER_CANCELED, now, order, self.orders, source=Source.ORDER_REST))

    def _push(self, event: np.ndarray) -> None:
        self.commands.extend(self.sequencer.push(event))


def open_session(
    start_ns: int,
    model: Bundle | None,
    journal: JournalSink | None = None,
    core_type: type[FeedCore] = FeedCore,
    *,
    raw_log: RawLog | None = None,
) -> Session:
    """Return a session that may trade from `start_ns` on: settings, mode NORMAL, HOLD off, the model skewing quotes."""
    engine = Engine()
    sequencer = Sequencer(journal or NoJournal(), engine, start_ns)
    commands: list[np.ndarray] = []
    core = core_type(BTCUSDT_USDM, lambda event: commands.extend(sequencer.push(event)), raw_log)
    events = [*opening(BTCUSDT_USDM, StrategyParams(), start_ns, 1), mode(start_ns, Mode.NORMAL)]
    if model is not None:
        engine.load_model(0, model)
        events.append(model_swap(start_ns, 0, model.digest, model.info.version, use=True))
    for event in [*events, hold(start_ns, False)]:
        sequencer.push(event)
    return Session(engine, sequencer, core, commands)


def recorded_session(frames: list[tuple[int, bytes]], model: Bundle) -> tuple[EventLog, int]:
    """Return the events of a whole session over `frames` (commands left out) and how many orders it placed."""
    journal = MemoryJournal()
    session = open_session(frames[0][0], model, journal)
    session.core.on_connect(frames[0][0])
    for recv_ns, raw in frames:
        session.core.on_frame(recv_ns, raw)
        if session.commands:
            session.answer()
    buffer = np.frombuffer(journal.data, np.uint8).copy()
    log = EventLog(buffer, np.array(journal.starts, np.int64))
    events = (log.kinds < FIRST_COMMAND) | (log.kinds > LAST_COMMAND)
    return EventLog(buffer, log.offsets[events]), session.orders
