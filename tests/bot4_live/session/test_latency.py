"""Histograms agree with the sorted samples."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

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
