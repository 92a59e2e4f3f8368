"""Live features are batch features: the engine stepped event by event against the batch kernels, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot4_live.benchmarks.inputs import EventLog, event_log, load_frames
from bot4_live.engine import Engine
from bot4_live.events import Flag, Kind, header_of
from bot4_live.features.batch import compute
from bot4_live.instrument import BTCUSDT_USDM


def assert_parity(log: EventLog) -> int:
    """Step the engine through the log and compare after each row's event; return how many rows were valid."""
    table = compute(log.buffer, log.offsets, every_event=True)
    rows = {int(seq): i for i, seq in enumerate(table.seq)}
    engine = Engine()
    compared = 0
    for i in range(len(log.offsets)):
        record = log.record(i)
        engine.step(record)
        row = rows.get(int(header_of(record)["seq"]))
        if row is not None and int(header_of(record)["kind"]) < Kind.SESSION:
            live = engine.features.view(np.int64)
            assert np.array_equal(live, table.x[row].view(np.int64)), f"record {i}, seq {table.seq[row]}"
            assert engine.features_valid == table.valid[row]
            compared += 1
    assert compared == len(table) > 0
    return int(table.valid.sum())


def test_engine_and_batch_agree_on_a_market(market_log: EventLog) -> None:
    assert assert_parity(market_log) > 1000


def test_engine_and_batch_agree_on_what_is_passed_over(builder: Any) -> None:
    """Invalid, foreign, repeated and malformed records, a stale book, a new session, a new version."""
    bids, asks = [(600_000, 500), (599_990, 700)], [(600_004, 300), (600_010, 900)]
    builder.snapshot(1, bids, asks)
    builder.advance(6000)
    builder.trade(6001, 600_000, 5)
    builder.push(Kind.TRADE, 6002, [(600_000, 7)], flags=Flag.INVALID)
    builder.push(Kind.TRADE, 6003, [(600_000, 7)], inst_version=9)
    builder.push(Kind.TRADE, 6004, [(600_000, 7)], instrument=3)
    builder.push(Kind.TRADE, 6005)
    builder.push(Kind.BOOK_TICKER, 6006, [(600_001, 7)], a=200)
    builder.push(Kind.DEPTH_DIFF, 6007, [(100, 5), (600_001, 1)], a=101, b=110)
    builder.push(200, 6008, [(1, 1)])
    builder.push(Kind.INSTRUMENT, 6009, [(0, 1), (1, 1), (1, 1), (1, 1), (1, 1)])
    builder.diff(6010, [(600_001, 40)], [])
    builder.advance(6300)
    builder.push(Kind.BOOK_STALE, 6301, a=2)
    builder.ticker(6302, (600_003, 7), (600_009, 2))
    builder.advance(6600)
    builder.snapshot(6601, bids, asks)
    builder.advance(7000)
    builder.push(Kind.SESSION, 7001, [(0, 0)], b=1000, c=2)
    builder.trade(7002, 600_000, 5)
    builder.advance(7100)
    builder.snapshot(7101, bids, asks)
    builder.instrument(replace(BTCUSDT_USDM, version=2, min_qty=2), 7200)
    builder.diff(7201, [(600_002, 40)], [])
    builder.advance(7500)
    builder.instrument(replace(BTCUSDT_USDM, version=3, tick_e8=2 * BTCUSDT_USDM.tick_e8), 7501)
    builder.ticker(7502, (300_003, 7), (300_009, 2))
    builder.snapshot(7503, [(300_000, 4)], [(300_004, 4)])
    builder.advance(14_000)
    log = builder.log()
    assert assert_parity(log) > 300
    again = EventLog(log.buffer, np.concatenate([log.offsets[:700], log.offsets[600:]]))  # a tail read twice
    table = compute(again.buffer, again.offsets, every_event=True)
    np.testing.assert_array_equal(table.x, compute(log.buffer, log.offsets, every_event=True).x)


@pytest.mark.capture
def test_engine_and_batch_agree_on_the_real_capture(usdm_capture: Path) -> None:
    _, frames = load_frames(usdm_capture, 12_000)
    assert assert_parity(event_log(frames)) > 5000
