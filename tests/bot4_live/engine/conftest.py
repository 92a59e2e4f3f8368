"""A session in memory: sequencer, engine, and a small venue that answers with a delay."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bot4_live import engine_events as ev
from bot4_live.clock import TICK_NS
from bot4_live.engine import Engine
from bot4_live.events import Flag, Kind, Mode, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.models import bundle
from bot4_live.models.linear import LinearModel
from bot4_live.sequencer import Sequencer
from bot4_live.settings import StrategyParams

START = 1_723_161_255_000_000_000
MS = 1_000_000
MID = 600_000


class Log:
    """A journal in memory; may pass records on to a real one."""

    def __init__(self, sink: Any = None) -> None:
        self.events: list[np.ndarray] = []
        self.commands: list[np.ndarray] = []
        self._sink = sink

    def append(self, record: np.ndarray | bytes) -> None:
        copy = np.frombuffer(record if isinstance(record, bytes) else record.tobytes(), np.uint8).copy()
        (self.commands if 64 <= int(header_of(copy)["kind"]) < 80 else self.events).append(copy)
        if self._sink is not None:
            self._sink.append(record)

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the events as one buffer with offsets."""
        sizes = [0, *(event.size for event in self.events)]
        return np.concatenate(self.events), np.cumsum(sizes[:-1], dtype=np.int64)


class Rig:
    """Feeds an engine; every record gets the instrument's version."""

    def __init__(self, engine: Engine | None = None, *, log: Log | None = None, now: int = START, seq: int = 1) -> None:
        self.engine = engine or Engine()
        self.log = log or Log()
        self.now = now
        self.sequencer = Sequencer(self.log, self.engine, now, seq)
        self.update = self.last_diff = 100
        self.trade_id = 0
        self.exchange: Exchange | None = None

    def push(self, record: np.ndarray, *, version: int = 1) -> list[np.ndarray]:
        head = header_of(record)
        head["recv_ns"] = self.now
        head["inst_version"] = version
        return self._route(self.sequencer.push(record))

    def _route(self, commands: list[np.ndarray]) -> list[np.ndarray]:
        if self.exchange is not None:
            for command in commands:
                self.exchange.take(command)
        return commands

    def wait(self, ms: int) -> list[np.ndarray]:
        """Let engine time go by: TICKs, and what the venue answers meanwhile."""
        end, commands = self.now + ms * MS, []
        while self.now < end:
            self.now = min(self.now + TICK_NS, end)
            commands += self._route(self.sequencer.advance(self.now))
            if self.exchange is not None:
                for record in self.exchange.due(self.now):
                    commands += self.push(record)
        return commands

    def configure(self, epoch: int = 1, **params: float) -> Rig:
        for record in ev.opening(BTCUSDT_USDM, StrategyParams(**params), self.now, epoch):
            self.push(record)
        return self

    def start(self, epoch: int = 1, **params: float) -> Rig:
        """Configure, show a book, and let it trade."""
        self.configure(epoch, **params)
        self.push(ev.mode(self.now, Mode.NORMAL))
        self.snapshot()
        self.push(ev.hold(self.now, False))
        return self

    def snapshot(self, bid: int = MID, ask: int = MID + 1, depth: int = 10, qty: int = 1_000) -> list[np.ndarray]:
        self.last_diff = self.update
        record = ev.record(Kind.DEPTH_SNAPSHOT, 0, self.update, self.update, -1, slots=1 + 2 * depth)
        rows = [(0, depth), *((bid - i, qty) for i in range(depth)), *((ask + i, qty) for i in range(depth))]
        slots_of(record)[:] = rows
        return self.push(record)

    def diff(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]], **changes: int) -> list[np.ndarray]:
        before, first = self.last_diff, self.update + 1
        self.update += 3
        self.last_diff = self.update
        record = ev.record(Kind.DEPTH_DIFF, 0, first, self.update, -1, slots=1 + len(bids) + len(asks))
        slots_of(record)[:] = [(before, len(bids)), *bids, *asks]
        return self.push(record, **changes)

    def quote(self, bid: int, ask: int, qty: int = 500) -> list[np.ndarray]:
        self.update += 1
        record = ev.record(Kind.BOOK_TICKER, 0, self.update, 0, -1, slots=2)
        slots_of(record)[:] = [(bid, qty), (ask, qty)]
        return self.push(record)

    def trade(self, price: int, qty: int, *, sell: bool) -> list[np.ndarray]:
        self.trade_id += 1
        record = ev.record(Kind.TRADE, 0, self.trade_id, 0, -1, slots=1)
        slots_of(record)[0] = (price, qty)
        header_of(record)["flags"] = Flag.SELL if sell else 0
        if self.exchange is not None:
            self.exchange.market_trade(price, qty, sell)
        return self.push(record)

    def report(self, kind: Kind, order_id: int, cumulative: int = 0, b: int = 1) -> list[np.ndarray]:
        return self.push(ev.record(kind, 0, order_id, b, cumulative, slots=1))

    def fill(
        self, order_id: int, trade: int, qty: int, cumulative: int, *, sell: bool, fee: int = 0
    ) -> list[np.ndarray]:
        record = ev.record(Kind.ORDER_FILL, 0, order_id, trade, 0, slots=2)
        price = next((o.price for o in self.engine.orders() if o.id == order_id), MID)
        slots_of(record)[:] = [(price, qty), (cumulative, fee)]
        header_of(record)["flags"] = Flag.MAKER | (Flag.SELL if sell else 0)
        return self.push(record)


class Exchange:
    """Accepts, fills when the market trades through, cancels; answers come 15 to 60 ms later, in order."""

    def __init__(self, rig: Rig, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.rig = rig
        self.answers: list[tuple[int, np.ndarray]] = []
        self.resting: dict[int, list[int]] = {}  # id -> side, price, qty, filled
        self.trades = 1_000
        self.position = 0
        rig.exchange = self

    def _answer(self, record: np.ndarray) -> None:
        at = self.rig.now + self.random.randrange(15, 60) * MS
        self.answers.append((max(at, self.answers[-1][0] if self.answers else 0), record))

    def due(self, now: int) -> list[np.ndarray]:
        ready = [record for at, record in self.answers if at <= now]
        self.answers = [(at, record) for at, record in self.answers if at > now]
        return ready

    def take(self, command: np.ndarray) -> None:
        head = header_of(command)
        kind, order_id = int(head["kind"]), int(head["a"])
        self._answer(ev.record(Kind.SEND_ATTEMPT, 0, order_id, kind))
        if kind == Kind.CMD_NEW:
            price, qty = (int(v) for v in slots_of(command)[0])
            self.resting[order_id] = [-1 if int(head["flags"]) & Flag.SELL else 1, price, qty, 0]
            self._answer(ev.record(Kind.ORDER_ACCEPTED, 0, order_id, order_id & 0xFFFF, 0, slots=1))
        elif kind == Kind.CMD_CANCEL:
            self._cancel(order_id)
        else:
            for resting in list(self.resting):
                self._cancel(resting)

    def _cancel(self, order_id: int) -> None:
        order = self.resting.pop(order_id, None)
        kind = Kind.CANCEL_REJECTED if order is None else Kind.ORDER_CANCELED
        self._answer(ev.record(kind, 0, order_id, -2011 if order is None else 1, order[3] if order else 0))

    def market_trade(self, price: int, qty: int, sell: bool) -> None:
        for order_id, order in list(self.resting.items()):
            side, own, size, filled = order
            if (side == 1) != sell or (price > own if sell else price < own):
                continue
            lots = min(qty, size - filled)
            order[3] += lots
            self.position += side * lots
            self.trades += 1
            record = ev.record(Kind.ORDER_FILL, 0, order_id, self.trades, order_id & 0xFFFF, slots=2)
            slots_of(record)[:] = [(own, lots), (order[3], own * lots * BTCUSDT_USDM.unit_e8 // 5_000)]
            header_of(record)["flags"] = Flag.MAKER | (Flag.SELL if side < 0 else 0)
            self._answer(record)
            if self.random.random() < 0.2:
                self._answer(record.copy())  # told twice
            if order[3] == size:
                del self.resting[order_id]


def trade_market(rig: Rig, seed: int, steps: int) -> None:
    """Let a seeded market go by: a random walk with quotes, diffs and trades through it."""
    rnd = random.Random(seed)
    mid = MID
    for _ in range(steps):
        mid += rnd.choice((-40, -9, -3, 0, 0, 3, 9, 40))
        half = rnd.randrange(1, 4)
        bid, ask = mid - half, mid + half
        bids = [(bid - i, rnd.randrange(1, 900)) for i in range(4)]
        asks = [(ask + i, rnd.randrange(1, 900)) for i in range(4)]
        # Levels that the new best prices have overtaken are taken out, as an exchange would.
        gone = range(bid + 1, bid + 60), range(ask - 60, ask)
        rig.diff([*((p, 0) for p in gone[0]), *bids], [*asks, *((p, 0) for p in gone[1])])
        if rnd.random() < 0.5:
            rig.quote(bid, ask, rnd.randrange(1, 900))
        if rnd.random() < 0.4:
            sell = rnd.random() < 0.5
            through = rnd.choice((0, 0, 150))
            rig.trade(bid - through if sell else ask + through, rnd.randrange(1, 20), sell=sell)
        rig.wait(rnd.randrange(0, 60))


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    return Rig


@pytest.fixture
def make_log() -> Callable[..., Log]:
    return Log


def write_bundle(models_dir: Path, weight: float = 0.8) -> str:
    """Write a linear model of two features, without the engine's help; return its digest."""
    features = ("imbalance_1", "return_1s")
    model = LinearModel(features, (weight, -0.3), (0.0, 0.1), (0.5, 2.0), 0.05)
    rows = np.random.default_rng(1).normal(size=(bundle.GOLDEN_ROWS, 2))
    scores = np.array([0.05 + weight * ((a - 0.0) * (1 / 0.5)) + -0.3 * ((b - 0.1) * (1 / 2.0)) for a, b in rows])
    info = bundle.BundleInfo("test", 3, "linear", features, "mid_return_bp", 10**9)
    return bundle.write(models_dir, info, model.encode(), rows, scores)


def swap(rig: Rig, models_dir: Path, digest: str, *, use: bool = True) -> list[np.ndarray]:
    """Load a bundle into the spare slot and switch to it, as a runner does."""
    slot = rig.engine.spare_slot
    rig.engine.load_model(slot, bundle.load_digest(models_dir, digest))
    return rig.push(ev.model_swap(0, slot, digest, 3, use=use))


def _traded(
    seed: int = 1, steps: int = 120, *, log: Log | None = None, models: Path | None = None, **params: float
) -> Rig:
    made = Rig(log=log)
    Exchange(made, seed)
    made.start(**params)
    if models is not None:
        swap(made, models, write_bundle(models))
    trade_market(made, seed, steps)
    return made


@pytest.fixture
def traded() -> Callable[..., Rig]:
    """Return a rig that has traded a seeded market: `traded(seed, steps, **params)`."""
    return _traded


@pytest.fixture(scope="session")
def traded_once() -> Rig:
    """One traded market for all tests that only read it."""
    return _traded(seed=11, steps=300)


@pytest.fixture
def bundles() -> Any:
    """`write(models_dir, weight)` makes a bundle, `swap(rig, models_dir, digest, use=)` puts it to use."""
    return SimpleNamespace(write=write_bundle, swap=swap)


@pytest.fixture(scope="session")
def traded_with_model(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """The same, with a model that skews the quotes."""
    return _traded(seed=12, steps=300, models=tmp_path_factory.mktemp("models"))


@pytest.fixture
def go_on() -> Callable[[Rig, int, int], None]:
    """Let a rig trade on: `go_on(rig, seed, steps)`."""

    def run(rig: Rig, seed: int, steps: int) -> None:
        rig.exchange or Exchange(rig, seed)
        trade_market(rig, seed, steps)

    return run


@pytest.fixture
def make_exchange() -> Callable[..., Exchange]:
    return Exchange
