"""Instruments that are watched, not traded: the engine reads past them, and decides what it would without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bot4_live import engine_events as ev
from bot4_live.engine import Engine
from bot4_live.events import Kind, StaleCause, header_of, slots_of
from bot4_live.execution.ledger import Ledger
from bot4_live.features.batch import compute
from bot4_live.instrument import BTCUSDT_USDM, E8, Instrument
from bot4_live.sequencer import split
from bot4_live.settings import StrategyParams

from .conftest import START

WATCHED = replace(BTCUSDT_USDM, id=1, symbol="ETHUSDT", tick_e8=E8 // 100)
_PLACES = {"counters", "last_seq", "out"}  # counts of events, places in the log; `out` keeps what commands said of it


def of_watched(kind: Kind, *numbers: int, slots: list[tuple[int, int]]) -> np.ndarray:
    record = ev.record(kind, 0, *numbers, slots=len(slots))
    if slots:
        slots_of(record)[:] = slots
    header_of(record)["instrument"] = WATCHED.id
    return record


def stream(n: int) -> list[np.ndarray]:
    """Return what a watched book sends: another price, the same ids, and now and then a gap."""
    if n % 40 == 0:
        return [of_watched(Kind.DEPTH_SNAPSHOT, 100, 100, -1, slots=[(0, 1), (250_000, 7), (250_001, 9)])]
    if n % 40 == 39:
        return [of_watched(Kind.BOOK_STALE, StaleCause.GAP, 1, 2, slots=[]), WATCHED.record(0)]
    return [
        of_watched(Kind.BOOK_TICKER, 10_000 + n, 0, -1, slots=[(250_000 + n, 5), (250_002 + n, 6)]),
        of_watched(Kind.TRADE, n, 0, -1, slots=[(250_000 + n, 3)]),
    ]


def beside(events: list[np.ndarray]) -> list[np.ndarray]:
    """Return a log with another market's records between those of `events`, numbered anew."""
    log: list[np.ndarray] = []
    told = False
    for n, event in enumerate(events):
        log.append(event.copy())
        told = told or int(header_of(event)["kind"]) == Kind.INSTRUMENT
        for record in stream(n) if told else ():
            header_of(record)["recv_ns"] = header_of(event)["recv_ns"]
            log.append(record)
    for seq, record in enumerate(log, int(header_of(events[0])["seq"])):
        header_of(record)["seq"] = seq
    return log


def run(events: list[np.ndarray]) -> tuple[Engine, list[bytes]]:
    """Step an engine; return it and its commands with the place of their cause in the log left out."""
    engine, commands = Engine(), []
    for event in events:
        for command in split(engine.step(event)):
            header_of(command)["seq"] = 0
            commands.append(command.tobytes())
    return engine, commands


def test_the_commands_are_those_without_watched_instruments(traded_once: Any) -> None:
    events = traded_once.log.events
    (alone, expected), (engine, commands) = run(events), run(beside(events))
    assert len(expected) > 50
    assert commands == expected
    for name in alone.state.dtype.names:
        if name not in _PLACES:
            assert engine.state[name].tobytes() == alone.state[name].tobytes(), name
    assert engine.counters["watched"] > len(events)
    assert alone.counters["watched"] == 0
    for name in ("unknown_instrument", "malformed", "seq_gaps", "model_missing"):
        assert engine.counters[name] == alone.counters[name], name


def test_batch_features_are_those_without_watched_instruments(traded_once: Any) -> None:
    events = traded_once.log.events
    alone, among = (
        compute(np.concatenate(log), np.cumsum([0, *map(len, log[:-1])]), every_event=True)
        for log in (events, beside(events))
    )
    assert len(alone.x) > 1000
    assert np.array_equal(alone.recv_ns, among.recv_ns)
    assert alone.x.tobytes() == among.x.tobytes()
    assert alone.mid2.tobytes() == among.mid2.tobytes()


def test_a_watched_book_that_breaks_leaves_the_quotes(rig: Any) -> None:
    rig.start()
    rig.wait(300)
    before = rig.engine.quotes
    assert before["bid"] > 0
    rig.push(WATCHED.record(0))
    rig.push(of_watched(Kind.BOOK_STALE, StaleCause.GAP, 1, 2, slots=[]))
    assert rig.engine.quotes == before
    assert rig.engine.state["book"]["valid"][0] == 1


def test_the_first_instrument_of_a_session_is_the_traded_one(rig: Any) -> None:
    rig.start()
    rig.push(WATCHED.record(0))
    assert int(rig.engine.state["instrument"]["id"][0]) == BTCUSDT_USDM.id
    for record in ev.opening(WATCHED, StrategyParams(), rig.now, 2):
        rig.push(record)
    rig.push(BTCUSDT_USDM.record(0))
    told = rig.engine.state["instrument"][0]
    assert (int(told["id"]), int(told["tick_e8"])) == (WATCHED.id, WATCHED.tick_e8)


@pytest.mark.parametrize("loaded", [False, True])
def test_the_ledger_counts_in_the_units_of_the_traded_one(loaded: bool) -> None:
    def tell(instrument: Instrument) -> None:
        ledger.apply(instrument.record(START))

    ledger = Ledger()
    ledger.apply(ev.session(START, 1))
    tell(BTCUSDT_USDM)
    ledger.position = 8
    if loaded:
        ledger = Ledger.load(ledger.dump())
    tell(replace(WATCHED, lot_e8=BTCUSDT_USDM.lot_e8 * 2))
    assert (ledger.position, ledger.tick_e8) == (8, BTCUSDT_USDM.tick_e8)
    tell(replace(BTCUSDT_USDM, version=2, lot_e8=BTCUSDT_USDM.lot_e8 // 2, tick_e8=BTCUSDT_USDM.tick_e8 * 2))
    assert ledger.position == 16
