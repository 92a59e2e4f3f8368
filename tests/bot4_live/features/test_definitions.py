"""Each feature against its definition, computed another way: whole histories, exact windows, numpy's own functions."""

from __future__ import annotations

from typing import Any

import pytest

from bot4_live.benchmarks.inputs import EventLog, event_log
from bot4_live.features.batch import FeatureTable, compute
from bot4_live.features.registry import NAMES
from bot4_live.simulation.generator import generate

SECONDS = 80
CONSTANT = {"spread_ticks", "spread_bp", "spread_to_median"}  # hardly move in this market: by hand elsewhere


@pytest.fixture(scope="module")
def long_log() -> EventLog:
    """80 s of the generated market: longer than the longest window of bars of 1 s."""
    return event_log(generate(3, duration_s=float(SECONDS)))


@pytest.fixture(scope="module")
def history(long_log: EventLog, reference_modules: Any) -> Any:
    return reference_modules.read(long_log)


@pytest.fixture(scope="module")
def looks(history: Any) -> list[Any]:
    """Every second whole second, where all bars end."""
    return [look for grid, look in sorted(history.looks.items()) if grid % 200 == 0]


@pytest.fixture(scope="module")
def table(long_log: EventLog) -> FeatureTable:
    return compute(long_log.buffer, long_log.offsets, 1000)


def test_every_feature_has_a_reference(reference_modules: Any) -> None:
    assert sorted(reference_modules.references) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_feature_follows_its_definition(
    name: str, table: FeatureTable, history: Any, looks: list[Any], reference_modules: Any
) -> None:
    rows = {int(seq): i for i, seq in enumerate(table.seq)}
    values = table.column(name)
    compared = 0
    distinct = set()
    for look in looks:
        expected = reference_modules.references[name](history, look)
        if expected is None:
            continue
        assert values[rows[look.seq]] == pytest.approx(expected, rel=1e-9, abs=1e-9), look.ns
        compared += 1
        distinct.add(round(expected, 9))
    assert compared >= 30
    if name not in CONSTANT:
        assert len(distinct) > 3  # a constant would prove nothing
