"""Over real market data: traded live, the batch agrees to the bit, limits hold and quotes never cross."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot4_live import engine_events as ev
from bot4_live.engine import Engine
from bot4_live.events import Flag, Kind, Mode, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.journal.reader import Journal
from bot4_live.market.import_capture import import_capture

MARKET_NS = 150 * 10**9


@pytest.mark.capture
def test_a_stretch_of_a_real_market(usdm_capture: Path, tmp_path: Path, make_rig: Any, make_exchange: Any) -> None:
    first = import_capture(usdm_capture, tmp_path, BTCUSDT_USDM, until_ns=0).first_ns
    import_capture(usdm_capture, tmp_path / "journal", BTCUSDT_USDM, until_ns=first + MARKET_NS)
    rig = make_rig(now=first)
    exchange = make_exchange(rig, 3)
    rig.configure()
    rig.push(ev.mode(0, Mode.NORMAL))
    rig.push(ev.hold(0, False))
    best = (0, 0)
    for record in Journal(tmp_path / "journal").events():
        head = header_of(record)
        kind, at = int(head["kind"]), int(head["recv_ns"])
        if kind > Kind.BOOK_STALE:
            continue
        rig.wait((at - rig.now) // 1_000_000)
        rig.now = at
        if kind == Kind.TRADE:
            price, qty = (int(v) for v in slots_of(record)[0])
            exchange.market_trade(price, qty, bool(int(head["flags"]) & Flag.SELL))
        rig.push(record.copy())
        state = rig.engine.state
        best = int(state["bid"][0]), int(state["ask"][0])
        assert best == (0, 0) or best[0] < best[1]
    counters = rig.engine.counters
    assert counters["orders"] > 100
    assert counters["fills"] > 0
    assert counters["contradictions"] == counters["foreign_fills"] == counters["malformed"] == 0
    # What the venue knows and has told is what the engine knows.
    rig.wait(1_000)
    assert rig.engine.account["position"] == exchange.position
    assert {o.id for o in rig.engine.orders() if o.state.name == "ACCEPTED"} <= set(exchange.resting)
    _check_limits(rig)
    live = b"".join(c.tobytes() for c in rig.log.commands)
    engine = Engine()
    assert engine.run(*rig.log.batch()) == live
    assert engine.state.tobytes() == rig.engine.state.tobytes()
    assert np.isfinite(engine.features).all()


def _check_limits(rig: Any) -> None:
    """No new order is larger than allowed, and no second has more than the rate and one burst."""
    new = [c for c in rig.log.commands if header_of(c)["kind"] == Kind.CMD_NEW]
    times = np.array([int(header_of(c)["recv_ns"]) for c in new])
    assert all(int(price) * int(qty) * BTCUSDT_USDM.unit_e8 <= 1_000 * 10**8 for c in new for price, qty in slots_of(c))
    assert max(np.searchsorted(times, t + 10**9) - i for i, t in enumerate(times)) <= 40
    assert abs(rig.engine.account["position"]) * 60 <= 5_000 * 1.1
