"""Histograms agree with the sorted samples."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bot4_live.clock import MS, MarketClock
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.session.latency import Histogram, Latency


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_quantiles_are_within_a_bin(samples, q):
    histogram = Histogram()
    for ns in samples:
        histogram.add(ns)
    exact = sorted(samples)[min(len(samples) - 1, int(q * len(samples)))]
    found = histogram.quantile_us(q) * 1000
    assert exact * 0.999 - 1 <= found <= exact * 1.008 + 1


def test_bins_hold_every_sample_once():
    histogram = Histogram()
    for ns in (-5, 0, 1, 127, 128, 129, 255, 256, 10**6, 10**9):
        histogram.add(ns)
    content = histogram.as_dict()
    assert content["count"] == 10
    assert sum(n for _, n in content["histogram"]) == 10
    assert content["max"] == 10**6
    edges = [edge for edge, _ in content["histogram"]]
    assert edges == sorted(edges)


def test_nothing_measured_is_null():
    content = json.loads(json.dumps(Latency().as_dict()))
    assert content["decision_us"]["p50"] is None
    assert content["wire_us"] == {"count": 0, "p50": None, "p99": None, "p999": None, "max": None, "histogram": []}
    assert content["exchange_us"]["p50"] is None
    assert content["exchange_us"]["error_us"] is None


def measured(offset_ms, error_us, speed_milli=1000):
    latency = Latency()
    latency.venue = ExchangeTime(MarketClock(0, 0, speed_milli))
    latency.venue.offset_ns, latency.venue.error_ns, latency.venue.rtt_ns = offset_ms * MS, error_us * 1000, 1
    return latency


def test_exchange_latency_is_corrected_by_the_offset():
    latency = measured(1300, 400)
    for ms in (2, 3, 50):
        latency.market(10_000 * MS, 10_000 * MS + (1300 - ms) * MS)  # raw: 1.25 s before it happened
    latency.market(10_000 * MS, 0)  # an event without a time of the venue
    found = json.loads(json.dumps(latency.as_dict()))["exchange_us"]
    assert found["count"] == 3
    assert 3000 <= found["p50"] <= 3030
    assert found["max"] == 50_000
    assert (found["offset_ms"], found["error_us"], found["impossible"]) == (1300, 400, 0)


def test_what_is_impossible_is_counted_and_never_shown():
    latency = measured(0, 400)
    latency.market(10_000 * MS, 10_000 * MS + 300_000)  # within the error: as good as none
    latency.market(10_000 * MS, 10_000 * MS + 500_000)
    found = latency.as_dict()["exchange_us"]
    assert (found["count"], found["max"], found["below_error"], found["impossible"]) == (1, 0, 1, 1)


def test_latencies_are_in_real_time():
    latency = measured(0, 800, speed_milli=8000)
    latency.market(10_000 * MS, 9_920 * MS)
    found = latency.as_dict()["exchange_us"]
    assert (found["max"], found["error_us"]) == (10_000, 100)


def test_nothing_is_said_before_the_offset_is_known():
    latency = Latency()
    latency.venue = ExchangeTime(MarketClock(0, 0))
    latency.market(5, 3)
    found = latency.as_dict()["exchange_us"]
    assert (found["count"], found["uncorrected"], found["error_us"]) == (0, 1, None)
