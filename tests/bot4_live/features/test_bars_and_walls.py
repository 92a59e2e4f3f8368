"""Bars, medians and walls by hand: what the generated market never does."""

from __future__ import annotations

from typing import Any

import pytest

from bot4_live.events import Kind
from bot4_live.features.batch import FeatureTable, compute
from bot4_live.features.state import decay

BIDS = [(600_000 - 10 * i, 100) for i in range(20)]
ASKS = [(600_004 + 10 * i, 100) for i in range(20)]


def features(builder: Any) -> FeatureTable:
    log = builder.log()
    return compute(log.buffer, log.offsets, 10)


def test_a_rising_market(builder: Any) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.advance(1000)
    for second in range(1, 30):
        builder.ticker(1000 * second + 5, (600_000 + second, 10), (600_004 + second, 10))
        builder.advance(1000 * second + 1000)
    row = features(builder)
    assert row.column("rsi_14")[-1] == 100.0
    assert row.column("stochastic_k")[-1] == 100.0
    assert row.column("ema_60s_bp")[-1] > 0
    assert row.column("atr_14_bp")[-1] == pytest.approx(
        (1 - (13 / 14) ** 16 / 14) / 600_031 * 1e4
    )  # the first was flat
    assert row.column("realised_60s")[-1] == pytest.approx(1 / 600_016 * 1e4, rel=0.05)
    assert row.column("volume_z_60s")[-1] == 0.0
    assert row.column("vwap_60s_bp")[-1] == 0.0


@pytest.mark.parametrize("ends", [True, False])
def test_a_bar_that_ends_without_a_book_begins_the_history_anew(builder: Any, ends: bool) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.advance(1000)
    for second in range(1, 10):
        builder.ticker(1000 * second + 5, (600_000 + second, 10), (600_004 + second, 10))
        builder.advance(1000 * second + 1000)
    builder.push(Kind.BOOK_STALE, 10_100, a=2)
    builder.snapshot(11_005 if ends else 10_900, BIDS, ASKS)
    builder.advance(12_000)
    row = features(builder)
    if ends:  # the first bar after it: nothing moved since its first mid
        assert row.column("rsi_14")[-1] == 50.0
        assert row.column("realised_60s")[-1] == 0.0
    else:
        assert row.column("rsi_14")[-1] == 100.0
        assert row.column("realised_60s")[-1] > 0.0


def test_spread_against_its_median(builder: Any) -> None:
    builder.snapshot(5, BIDS, ASKS)  # spread 4
    builder.advance(3000)
    builder.ticker(3005, (600_000, 10), (600_006, 10))
    builder.advance(3010)
    assert features(builder).column("spread_to_median")[-1] == 6 / 4
    builder.advance(5000)  # bars ended with 4, 4, 4, 6, 6 or one 4 less
    builder.ticker(5005, (600_000, 10), (600_002, 10))
    builder.advance(5010)
    assert features(builder).column("spread_to_median")[-1] == 2 / 4


@pytest.mark.parametrize(
    ("left", "traded_at", "withdrawn"),
    [(0, None, 2000), (300, None, 1700), (900, None, 0), (0, 599_900, 0), (0, 599_910, 2000)],
)
def test_a_wall_that_is_withdrawn(builder: Any, left: int, traded_at: int | None, withdrawn: int) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.diff(50, [(599_900, 2000)], [])
    builder.advance(100)
    row = features(builder)
    assert row.column("wall_bid_size")[-1] == pytest.approx(2000 * 20 / (2000 + 19 * 100))
    assert row.column("wall_bid_bp")[-1] == pytest.approx((600_002 - 599_900) / 600_002 * 1e4)
    assert row.column("wall_ask_size")[-1] == 0.0
    if traded_at:
        builder.trade(120, traded_at, 5, sell=True)
    builder.diff(150, [(599_900, left)], [])
    builder.advance(210)
    row = features(builder)
    assert row.column("spoof_bid")[-1] == pytest.approx(withdrawn * 0.001 * 59_990.0 * decay("10"))
    assert row.column("spoof_ask")[-1] == 0.0
    assert row.column("wall_bid_size")[-1] == (pytest.approx(900 * 20 / (900 + 1900)) if left == 900 else 0.0)
