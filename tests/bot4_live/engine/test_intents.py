"""An operator's INTENT: one IOC order by the ordinary path, or a counted refusal."""

from __future__ import annotations

from typing import Any

import pytest

from bot4_live import engine_events as ev
from bot4_live.events import Flag, Kind, Mode, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.risk.limits import Denial


def taken(rig: Any, lots: int) -> list[tuple[int, int, int]]:
    """Return (flags, price, qty) of the orders that an INTENT caused."""
    commands = rig.push(ev.intent(0, lots))
    assert all(int(header_of(c)["kind"]) == Kind.CMD_NEW for c in commands)
    return [(int(header_of(c)["flags"]), *(int(v) for v in slots_of(c)[0])) for c in commands]


@pytest.mark.parametrize(("lots", "flag"), [(1, 0), (-1, Flag.SELL)])
def test_the_smallest_the_venue_allows_by_an_ioc_through_the_best_price(rig: Any, lots: int, flag: int) -> None:
    rig.start()
    ((flags, price, qty),) = taken(rig, lots)
    assert flags == Flag.IOC | flag
    assert (price > 600_001) if lots > 0 else (price < 600_000)
    assert abs(price - 600_000) < 0.001 * 600_000
    unit = BTCUSDT_USDM.unit_e8
    assert price * qty * unit >= BTCUSDT_USDM.min_notional_e8
    assert price * (qty - 1) * unit < BTCUSDT_USDM.min_notional_e8


def test_a_larger_wish_is_taken_as_it_is(rig: Any) -> None:
    rig.start()
    assert taken(rig, 7)[0][2] == 7
    assert taken(rig, 0) == []


@pytest.mark.parametrize(
    ("prepare", "lots", "denial"),
    [
        (lambda rig: rig.push(ev.mode(0, Mode.PAUSE)), 1, Denial.PAUSED),
        (lambda rig: rig.push(ev.hold(0, True)), 1, Denial.HOLD),
        (lambda rig: None, 1_000, Denial.ORDER_NOTIONAL),
        (lambda rig: rig.push(ev.record(Kind.BOOK_STALE, 0, 2)), 1, Denial.NO_BOOK),
    ],
)
def test_the_gate_refuses_it_like_any_other_order(rig: Any, prepare: Any, lots: int, denial: Denial) -> None:
    rig.start()
    prepare(rig)
    before = rig.engine.denials.get(denial.name, 0)
    assert taken(rig, lots) == []
    assert rig.engine.denials.get(denial.name, 0) == before + 1


def test_its_fill_is_position_and_cash(rig: Any) -> None:
    rig.start()
    taken(rig, 3)
    order = list(rig.engine.orders())[-1]
    rig.fill(order.id, trade=900, qty=3, cumulative=3, sell=False, fee=E8 // 100)
    assert rig.engine.account["position"] == 3
    assert rig.engine.account["fees_e8"] == E8 // 100
