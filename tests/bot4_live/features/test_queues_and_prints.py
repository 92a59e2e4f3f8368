"""Queue places, fills and print sizes by hand, and against distributions whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bot4_live.events import Kind
from bot4_live.features.batch import FeatureTable, compute

BIDS = [(600_000, 100), (599_990, 700)]
ASKS = [(600_004, 300), (600_010, 900)]


def features(builder: Any, grid_ms: int = 10) -> FeatureTable:
    log = builder.log()
    return compute(log.buffer, log.offsets, grid_ms)


def place(builder: Any, to_ms: float) -> float:
    """Let time pass to the TICK and return the place of the bid."""
    builder.advance(to_ms)
    return float(features(builder).column("queue_place_bid")[-1])


def test_an_order_moves_up_by_trades_and_by_its_share_of_cancellations(builder: Any) -> None:
    builder.snapshot(5, BIDS, ASKS)
    assert place(builder, 10) == 1.0  # joined at the end
    builder.ticker(12, (600_000, 200), ASKS[0])  # 100 more behind it
    assert place(builder, 20) == 0.5
    builder.trade(22, 600_000, 40, sell=True)  # 60 of 160 remain before it
    builder.ticker(23, (600_000, 160), ASKS[0])
    assert place(builder, 30) == 60 / 160
    builder.ticker(32, (600_000, 80), ASKS[0])  # a cancellation is spread evenly: 30 of 80
    assert place(builder, 40) == 30 / 80
    builder.trade(42, 600_004, 50)  # the other side's trades do not matter
    builder.trade(43, 599_990, 50, sell=True)  # nor those at another price
    assert place(builder, 50) == 30 / 80
    builder.trade(52, 600_000, 31, sell=True)  # filled: joins again behind the 49 that are left
    builder.ticker(53, (600_000, 49), ASKS[0])
    assert place(builder, 60) == 1.0


@pytest.mark.parametrize("within", [True, False])
def test_a_trade_explains_what_leaves_until_the_next_tick(builder: Any, within: bool) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.ticker(12, (600_000, 200), ASKS[0])
    builder.advance(20)
    builder.trade(21, 600_000, 50, sell=True)
    if not within:
        builder.advance(30)
    builder.ticker(31 if not within else 22, (600_000, 150), ASKS[0])
    assert place(builder, 40) == pytest.approx(50 / 150 if within else 50 * 0.75 / 150)


def test_a_better_price_and_a_stale_book_begin_the_queue_anew(builder: Any) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.ticker(12, (600_000, 400), ASKS[0])
    assert place(builder, 20) == 0.25
    builder.ticker(22, (600_001, 7), ASKS[0])
    assert place(builder, 30) == 1.0
    builder.ticker(32, (600_001, 28), ASKS[0])
    assert place(builder, 40) == 0.25
    builder.push(Kind.BOOK_STALE, 41, a=2)
    builder.snapshot(42, [(600_001, 28)], ASKS)
    assert place(builder, 50) == 1.0


def test_fill_probability_weighs_turnover_against_departure(builder: Any) -> None:
    """Two rises of the bid and 300 lots that left, all within one TICK: 300 / (300 + 2 x 100) for a queue of 100."""
    builder.snapshot(5, BIDS, ASKS)
    builder.advance(10)
    builder.ticker(12, (600_001, 400), ASKS[0])  # rises
    builder.ticker(13, (600_001, 150), ASKS[0])  # 250 leave
    builder.ticker(14, (600_002, 50), ASKS[0])  # rises
    builder.ticker(15, (600_000, 100), ASKS[0])  # 50 are given up
    builder.advance(20)
    row = features(builder)
    assert row.column("fill_bid")[-1] == pytest.approx(300 / (300 + 2 * 100))
    assert row.column("fill_ask")[-1] == 0.0  # nothing left it, it went nowhere
    builder.advance(5000)
    assert features(builder).column("fill_bid")[-1] == pytest.approx(0.6)  # both decay alike


def test_size_quantiles_and_tail_of_a_pareto_sample(builder: Any) -> None:
    """Pareto of index 2: median 2^(1/2), 95 % quantile 20^(1/2) times the smallest size, so a ratio of 10^(1/2)."""
    sizes = 1000 * (1 - np.random.default_rng(1).random(20_000)) ** -0.5
    builder.snapshot(5, BIDS, ASKS)
    for i, size in enumerate(sizes):
        builder.trade(10 + 5 * i, 600_000, int(size), sell=bool(i % 2))
    builder.advance(10 + 5 * len(sizes))
    row = features(builder, 1000)
    later = slice(20, None)
    assert np.median(row.column("print_size_ratio")[later]) == pytest.approx(10**0.5, rel=0.07)
    assert np.median(row.column("print_tail_index")[later]) == pytest.approx(2.0, rel=0.1)
    assert (row.column("print_tail_index") >= 1.0)[later].all()


@pytest.mark.parametrize(("cluster", "low", "high"), [(1, 0.8, 1.2), (10, 8.0, 12.0)])
def test_fano_tells_clusters_from_a_poisson_process(builder: Any, cluster: int, low: float, high: float) -> None:
    """Clusters of k at Poisson times: a compound Poisson process of variance / mean k."""
    times = np.cumsum(np.random.default_rng(2).exponential(40.0 * cluster, 3000 // cluster))
    builder.snapshot(5, BIDS, ASKS)
    for at in 10 + times:
        builder.advance(float(at))
        for _ in range(cluster):
            builder.trade(float(at), 600_000, 5)
    builder.advance(float(times[-1]) + 20)
    fano = features(builder, 100).column("trade_fano")
    assert low < np.mean(fano[300:]) < high


def test_another_instrument_voids_them(builder: Any) -> None:
    from dataclasses import replace

    from bot4_live.instrument import BTCUSDT_USDM

    builder.snapshot(5, BIDS, ASKS)
    for i in range(100):
        builder.trade(10 + i, 600_000, 1 + i, sell=True)
    builder.advance(200)
    row = features(builder)
    assert row.column("print_size_ratio")[-1] > 1.0
    assert row.column("print_flow_10s")[-1] < 0.0
    builder.instrument(replace(BTCUSDT_USDM, version=2, tick_e8=2 * BTCUSDT_USDM.tick_e8), 201)
    builder.advance(500)
    row = features(builder)
    for name in ("print_size_ratio", "print_flow_10s", "print_tail_index", "trade_fano", "fill_bid", "queue_place_bid"):
        assert row.column(name)[-1] == 0.0, name
