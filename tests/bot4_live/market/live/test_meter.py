"""The meter of a channel against the plain definitions, and what may be shown of an address."""

from __future__ import annotations

import json
import math
import random

import pytest

from bot4_live.market.live.meter import FEWEST_GAPS, Meter
from bot4_live.market.live.status import ConnectionStatus, PoolStatus, State, public_url

SECOND = 1_000_000_000


def _heard(gaps):
    meter, now = Meter(), 5 * SECOND
    meter.hear(now)
    for gap in gaps:
        now += gap
        meter.hear(now)
    return meter, now


@pytest.mark.parametrize("q", [0.5, 0.9, 0.999, 1.0])
def test_quantiles_are_those_of_the_sorted_gaps_at_most_an_eighth_too_high(q):
    rng = random.Random(3)
    gaps = [int(10 ** rng.uniform(0, 11)) for _ in range(5000)]
    meter, _ = _heard(gaps)
    true = sorted(gaps)[math.ceil(q * len(gaps)) - 1]
    assert true <= meter.quantile_ns(q) <= true * 1.125 + 1


def test_the_limit_is_five_times_the_usual_greatest_gap_but_half_a_second_at_least():
    few, _ = _heard([SECOND] * (FEWEST_GAPS - 1))
    assert few.limit_ns() is None
    quick, _ = _heard([1_000_000] * 1000)
    assert quick.limit_ns() == SECOND // 2
    slow, _ = _heard([2 * SECOND] * 100)
    assert 10 * SECOND <= slow.limit_ns() <= 11.25 * SECOND


def test_the_time_without_a_connection_is_no_gap():
    meter, now = _heard([SECOND // 10] * 50)
    meter.interrupt()
    meter.hear(now + 3600 * SECOND)
    assert meter.frames == 52
    assert meter.gaps == 50
    assert meter.quantile_ns(1.0) < SECOND


def test_the_rate_is_frames_a_second_and_fades():
    meter, now = _heard([SECOND // 50] * 5000)
    assert meter.rate(now) == pytest.approx(50, rel=0.02)
    assert meter.rate(now + 10 * SECOND) == pytest.approx(50 / math.e, rel=0.02)
    assert Meter().quantile_ns(0.5) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://user:word@host.example:443/ws?listenKey=abc", "wss://host.example:443/ws"),
        ("wss://fstream.binance.com/public/stream?streams=a", "wss://fstream.binance.com/public/stream"),
        ("ws://[::1]:8080/ws/key#x", "ws://[::1]:8080/ws/key"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url, shown):
    assert public_url(url) == shown


def test_a_status_is_plain_json():
    connection = ConnectionStatus(
        name="okx-0", venue="okx", url="ws://x", state=State.OPEN, connects=1, failures=0, silences=0, renewals=0,
        frames=2, bytes=3, last_frame_ns=4, last_error="", open_s=1.5, stale_books=("BTC-USDT",), channels=(),
    )  # fmt: skip
    said = json.loads(json.dumps(PoolStatus("okx", "closed", (connection,)).as_dict()))
    assert said["connections"][0]["state"] == "open"
    assert said["connections"][0]["stale_books"] == ["BTC-USDT"]
