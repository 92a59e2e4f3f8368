"""The exchange's clock: speeds, pauses, and never back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.simulation.market_time import MarketTime


class Ticker:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


def test_runs_at_its_speed_from_the_moment_of_the_change() -> None:
    mono = Ticker()
    time = MarketTime(100, speed_milli=2000, monotonic_ns=mono)
    mono.now += 50
    assert time.now_ns() == 200
    time.set(speed_milli=500)
    assert time.now_ns() == 200
    mono.now += 50
    assert time.now_ns() == 225


def test_stands_while_paused_and_goes_on_from_there() -> None:
    mono = Ticker()
    time = MarketTime(0, monotonic_ns=mono, paused=True)
    mono.now += 10_000
    assert time.now_ns() == 0
    assert time.real_s(5) is None
    time.set(paused=False)
    mono.now += 7
    assert time.now_ns() == 7


def test_stops_exactly_at_until_however_late_it_is_asked() -> None:
    mono = Ticker()
    time = MarketTime(0, speed_milli=8000, until_ns=1000, monotonic_ns=mono)
    mono.now += 1_000_000
    assert time.now_ns() == 1000
    assert time.paused
    time.set(paused=False)
    mono.now += 1
    assert time.now_ns() == 1008
    assert not time.paused


def test_refuses_a_past_until_and_odd_speeds() -> None:
    time = MarketTime(100, paused=True)
    with pytest.raises(ValueError, match="past"):
        time.set(until_ns=99)
    with pytest.raises(ValueError, match="speed"):
        time.set(speed_milli=0)
    with pytest.raises(ValueError, match="speed"):
        MarketTime(0, speed_milli=10**9)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9),
            st.none() | st.integers(1, 10**6),
            st.none() | st.booleans(),
            st.none() | st.integers(0, 10**12),
        ),
        max_size=20,
    )
)
def test_never_goes_back(steps) -> None:
    mono = Ticker()
    time = MarketTime(0, monotonic_ns=mono)
    last = 0
    for passed, speed, paused, ahead in steps:
        mono.now += passed
        time.set(speed_milli=speed, paused=paused, until_ns=None if ahead is None else time.now_ns() + ahead)
        now = time.now_ns()
        assert now >= last
        last = now
