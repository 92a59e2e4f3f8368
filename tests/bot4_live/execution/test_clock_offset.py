"""The venue's clock: the truth is within the error, whatever the network does; a clock that is set is noticed."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot4_live.clock import MS, MarketClock
from bot4_live.execution.clock_offset import DRIFT_PPM, STAGES, EventBound, OffsetEstimator
from bot4_live.execution.exchange_time import FIRST_POLL_S, LONGEST_POLL_S, ExchangeTime

SECOND = 1_000_000_000
DELAYS = st.tuples(st.integers(0, 300 * MS), st.integers(0, 300 * MS))  # there, back


class Network:
    """A venue whose clock is off and drifts, behind delays that are not the same both ways."""

    def __init__(self, offset_ns: int, drift_ppm: float = 0.0) -> None:
        self.offset_ns, self.drift = offset_ns, drift_ppm / 1e6
        self.now = 1_000 * SECOND
        self.start = self.now

    def true_offset(self, at: int) -> int:
        return self.offset_ns + int((at - self.start) * self.drift)

    def ask(self, there: int, back: int) -> tuple[int, int, int]:
        sent = self.now
        self.now += there
        venue_ms = (self.now + self.true_offset(self.now)) // MS
        self.now += back
        return venue_ms, sent, self.now


@example(-1, 82.0, [((0, 36586), 0)], 0)  # the clocks drift while the answer is on its way
@given(
    st.integers(-(10**12), 10**12), st.floats(-DRIFT_PPM, DRIFT_PPM),
    st.lists(st.tuples(DELAYS, st.integers(0, 100 * SECOND)), min_size=1, max_size=20), st.integers(0, 100 * SECOND),
)  # fmt: skip
def test_the_truth_is_within_the_error(offset, drift, trips, later):
    network, estimator = Network(offset, drift), OffsetEstimator()
    for (there, back), pause in trips:
        assert not estimator.add(*network.ask(there, back)), "no clock was set"
        found = estimator.estimate(network.now)
        assert found is not None
        assert abs(found.offset_ns - network.true_offset(network.now)) <= found.error_ns + 1
        aged = (there + back) * DRIFT_PPM / 10**6
        assert 2 * found.error_ns <= there + back + MS + 2 * aged + 4, "never worse than the last round trip"
        network.now += pause
    network.now += later
    found = estimator.estimate(network.now)
    assert found is not None
    assert abs(found.offset_ns - network.true_offset(network.now)) <= found.error_ns + 1


@given(st.integers(-(10**12), 10**12), st.lists(DELAYS, min_size=STAGES, max_size=STAGES))
def test_the_shortest_round_trip_counts(offset, trips):
    network, estimator = Network(offset), OffsetEstimator()
    for there, back in trips:
        estimator.add(*network.ask(there, back))
    found = estimator.estimate(network.now)
    assert found is not None
    shortest = min(there + back for there, back in trips)
    aged = sum(there + back for there, back in trips) * DRIFT_PPM // 10**6
    assert found.error_ns <= (shortest + MS) / 2 + aged + 2
    assert found.rtt_ns == shortest


@given(st.integers(-(10**11), 10**11).filter(lambda step: abs(step) > 50 * MS), st.integers(0, STAGES * 2))
def test_a_clock_that_was_set_is_followed_at_once(step, before):
    network, estimator = Network(7 * MS), OffsetEstimator()
    for _ in range(before):
        assert not estimator.add(*network.ask(3 * MS, 4 * MS))
    network.offset_ns += step
    assert estimator.add(*network.ask(3 * MS, 4 * MS)) == (before > 0)
    found = estimator.estimate(network.now)
    assert found is not None
    assert abs(found.offset_ns - 7 * MS - step) <= found.error_ns
    assert estimator.steps == (before > 0)


def test_nothing_is_known_before_the_first_sample():
    assert OffsetEstimator().estimate(5) is None
    assert EventBound().at_least(5) is None


@given(st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, SECOND)), min_size=1), st.integers(-(10**11), 10**11))
def test_events_bound_the_offset_from_below(events, offset):
    bound, now = EventBound(), 10 * SECOND
    for latency, pause in events:
        now += pause
        bound.see(now + offset - latency, now)
        least = bound.at_least(now)
        assert least is not None
        assert offset - latency <= least <= offset


class Venue:
    """What `ExchangeTime` asks, with a clock that the test moves."""

    def __init__(self, network: Network, speed_milli: int = 1000) -> None:
        self.network, self.asked, self.fail = network, 0, False
        self.time = ExchangeTime(MarketClock(0, 0, speed_milli, monotonic_ns=lambda: network.now))

    async def ask(self) -> int:
        self.asked += 1
        if self.fail:
            raise OSError("no answer")
        return self.network.ask(random.randrange(5 * MS), random.randrange(5 * MS))[0]


async def test_refreshing_slows_down_while_nothing_contradicts(monkeypatch):
    venue = Venue(Network(1300 * MS))
    now = [0.0]
    monkeypatch.setattr("bot4_live.execution.exchange_time.time.monotonic", lambda: now[0])
    waits = []
    for _ in range(8):
        assert venue.time.due
        await venue.time.refresh(venue.ask)
        began = now[0]
        while not venue.time.due:
            now[0] += 0.05
        waits.append(now[0] - began)
    assert venue.asked == 8
    assert waits[0] < 2 * FIRST_POLL_S * 1.2
    assert LONGEST_POLL_S * 0.9 <= waits[-1] <= LONGEST_POLL_S * 1.2
    assert abs(venue.time.offset_ns - 1300 * MS) <= venue.time.error_ns
    venue.fail = True
    with pytest.raises(OSError, match="no answer"):
        await venue.time.refresh(venue.ask)
    assert not venue.time.due, "who does not answer is not asked at once again"


async def test_a_step_brings_a_burst_and_ends_the_long_waits():
    venue = Venue(Network(0))
    for _ in range(6):
        await venue.time.refresh(venue.ask)
    venue.network.offset_ns = 1300 * MS
    before = venue.asked
    await venue.time.refresh(venue.ask)
    assert venue.asked - before > 1
    assert venue.time.steps == 1
    assert abs(venue.time.offset_ns - 1300 * MS) <= venue.time.error_ns
    assert venue.time.now_ms() == (venue.network.now + venue.time.offset_ns) // MS


async def test_an_event_from_the_future_contradicts_and_brings_more_samples():
    venue = Venue(Network(0))
    await venue.time.sync(venue.ask)
    assert not venue.time.contradicted
    venue.network.offset_ns = 1300 * MS
    now = venue.network.now
    venue.time.events.see(now + 1299 * MS, now)
    assert venue.time.contradicted
    before = venue.asked
    await venue.time.refresh(venue.ask)
    assert venue.asked - before >= 5
    assert not venue.time.contradicted
    assert abs(venue.time.offset_ns - 1300 * MS) <= venue.time.error_ns


def test_the_error_is_of_the_venues_time_at_any_speed():
    async def measure() -> ExchangeTime:
        venue = Venue(Network(0), 8000)
        clock = venue.time.clock

        async def ask() -> int:
            venue.network.now += 2 * MS
            answer = (clock.now_ns() + 5 * SECOND) // MS
            venue.network.now += 2 * MS
            return answer

        await venue.time.sync(ask)
        return venue.time

    found = asyncio.run(measure())
    assert abs(found.offset_ns - 5 * SECOND) <= found.error_ns
    assert found.rtt_ns == 32 * MS
