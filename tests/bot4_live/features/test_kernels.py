"""The kernels at their edges: stale books, missed TICKs, changed instruments, look-ahead, splits, any input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.benchmarks.inputs import EventLog
from bot4_live.events import Flag, Kind
from bot4_live.features.batch import BatchState, FeatureTable, compute
from bot4_live.features.registry import N_FEATURES
from bot4_live.features.state import decay
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.book import book_depth

BIDS = [(600_000, 500), (599_990, 700)]
ASKS = [(600_004, 300), (600_010, 900)]


def features(builder: Any, grid_ms: int = 10) -> FeatureTable:
    log = builder.log()
    return compute(log.buffer, log.offsets, grid_ms)


def same(left: FeatureTable, right: FeatureTable) -> None:
    """Every column, bit for bit."""
    for name in ("seq", "recv_ns", "exch_ns", "mid2", "valid"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in ("x", "mid"):
        a, b = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(a.view(np.int64), b.view(np.int64))


def test_a_book_by_hand(builder: Any) -> None:
    builder.snapshot(5, BIDS, ASKS)
    builder.advance(10)
    row = features(builder)
    assert row.column("spread_ticks")[-1] == 4
    assert row.column("spread_bp")[-1] == pytest.approx(4 / 600_002 * 1e4)
    assert row.column("imbalance_1")[-1] == pytest.approx(200 / 800)
    assert row.column("imbalance_5")[-1] == pytest.approx(0.0)
    assert row.column("weighted_mid_bp")[-1] == pytest.approx(0.5 / 600_002 * 1e4)
    assert row.column("depth_5")[-1] == pytest.approx(2400 * 0.001 * 60_000.2)
    assert row.mid[-1] == pytest.approx(60_000.2)
    builder.ticker(15, (600_001, 50), (600_004, 300))  # hides nothing, adds a better bid
    builder.advance(20)
    row = features(builder)
    assert row.column("spread_ticks")[-1] == 3
    assert row.column("imbalance_1")[-1] == pytest.approx((50 - 300) / 350)


def test_order_flow_imbalance_by_hand(builder: Any) -> None:
    """Cont, Kukanov & Stoikov: a better bid adds its size, a lower ask takes its size, a size change its change."""
    builder.snapshot(1, BIDS, ASKS)
    builder.diff(2, [(600_001, 40)], [])  # +40
    builder.diff(3, [(600_001, 90)], [])  # +50
    builder.diff(4, [], [(600_003, 70)])  # -70
    builder.diff(5, [], [(600_003, 0)])  # the ask leaves: +70
    builder.diff(6, [(600_001, 0)], [])  # the bid leaves: -90
    builder.advance(10)
    ofi = features(builder).column("ofi_1s")[-1]
    assert ofi == pytest.approx(0.0, abs=1e-3 * 60_000 * 0.001)
    builder.diff(12, [(600_002, 10)], [])
    builder.advance(20)
    assert features(builder).column("ofi_1s")[-1] == pytest.approx(10 * 0.001 * 60_000.3 * decay("1"), rel=1e-3)


def test_decay_is_a_half_after_a_half_life(builder: Any) -> None:
    builder.snapshot(1, BIDS, ASKS)
    builder.trade(2, 600_000, 1000)
    builder.advance(1000)
    row = features(builder)
    first, last = row.column("flow_1s")[1], row.column("flow_1s")[-1]
    assert last == pytest.approx(60_000.0 / 2)  # 100 TICKs
    assert first == pytest.approx(60_000.0 * 2 ** (-0.01))
    builder.advance(400_000)
    row = features(builder, 100)
    assert row.column("flow_1s")[-1] == 0.0  # flushed, not denormal
    assert row.column("trade_size")[-1] == 0.0


def test_missed_ticks_decay_as_if_they_had_come(builder: Any) -> None:
    builder.snapshot(1, BIDS, ASKS)
    builder.trade(2, 600_000, 1000, sell=True)
    builder.advance(20_000)
    log = builder.log()
    gap = (log.kinds != Kind.TICK) | (np.arange(len(log.offsets)) < 1003)
    gap[-1] = True
    whole, holed = compute(log.buffer, log.offsets, 10), compute(log.buffer, log.offsets[gap], 10)
    for name in ("flow_1s", "flow_10s", "trade_intensity"):
        assert holed.column(name)[-1] == pytest.approx(whole.column(name)[-1], rel=1e-12)
    assert whole.valid[-1]
    assert not holed.valid[-1]  # no mid is known 5 s ago: nothing is invented
    assert holed.column("return_5s")[-1] == 0.0


def test_valid_after_five_seconds_and_never_while_stale(builder: Any) -> None:
    builder.snapshot(1, BIDS, ASKS)
    builder.advance(7000)
    builder.push(Kind.BOOK_STALE, 7005, a=2)
    builder.ticker(7500, (600_100, 1), (600_101, 1))  # levels are not trusted: no mid
    builder.advance(8000)
    builder.snapshot(8005, [(600_100, 5)], [(600_102, 5)])
    builder.advance(14_000)
    row = features(builder)
    ms = (row.recv_ns - row.recv_ns[0]) // 1_000_000
    assert not row.valid[ms < 5010].any()  # the first mid is that of the TICK at 10 ms
    assert row.valid[(ms >= 5010) & (ms < 7005)].all()
    stale = (ms > 7005) & (ms < 8005)
    assert not row.valid[stale].any()
    assert np.isnan(row.mid[stale]).all()
    assert (row.mid2[stale] == 0).all()
    assert row.column("ofi_1s")[-1] == 0.0  # a new snapshot is not order flow
    assert row.valid[-1]


@pytest.mark.parametrize("asks", [[], [(600_000, 10)], [(599_000, 10)]])
def test_one_sided_and_crossed_books_are_not_usable(builder: Any, asks: list[tuple[int, int]]) -> None:
    builder.snapshot(1, BIDS, asks)
    builder.advance(100)
    row = features(builder)
    assert not row.valid.any()
    assert (row.mid2 == 0).all()


def test_invalid_records_and_commands_change_nothing(builder: Any) -> None:
    builder.snapshot(1, BIDS, ASKS)
    builder.advance(50)
    before = features(builder)
    builder.push(Kind.TRADE, 55, [(600_000, 10)], flags=Flag.INVALID)
    builder.push(Kind.CMD_NEW, 56, [(600_000, 10)], a=1)
    builder.push(Kind.NOTE, 57, [(1, 1)])
    builder.advance(60)
    after = features(builder)
    assert len(after) == len(before) + 1
    np.testing.assert_array_equal(after.x[-1], before.x[-1])


def test_a_changed_tick_voids_what_was_counted_in_ticks(builder: Any) -> None:
    builder.snapshot(1, BIDS, ASKS)
    builder.advance(6000)
    builder.instrument(
        replace(BTCUSDT_USDM, version=2, tick_e8=BTCUSDT_USDM.tick_e8 // 2, lot_e8=BTCUSDT_USDM.lot_e8 * 2), 6000
    )
    builder.snapshot(6001, [(p * 2, q) for p, q in BIDS], [(p * 2, q) for p, q in ASKS])
    builder.advance(7000)
    row = features(builder)
    assert row.column("return_1s")[-1] == 0.0
    assert abs(row.column("return_250ms")).max() == 0.0
    assert row.mid[-1] == pytest.approx(60_000.2)
    assert not row.valid[-1]


def test_split_logs_give_the_same_bits(market_log: EventLog) -> None:
    whole = compute(market_log.buffer, market_log.offsets, 100)
    assert whole.valid.sum() > 100
    state = BatchState()
    parts = []
    for part in np.array_split(market_log.offsets, 7):
        parts.append(compute(market_log.buffer, part, 100, state))
        state = BatchState.decode(state.encode())
    joined = FeatureTable(*(np.concatenate([getattr(p, f) for p in parts]) for f in FeatureTable.__annotations__))
    same(joined, whole)
    with pytest.raises(ValueError, match="another layout"):
        BatchState.decode(state.encode()[:-1])
    with pytest.raises(ValueError, match="another layout"):
        BatchState.decode(b"\1" * 32 + state.encode()[32:])


def test_no_row_looks_ahead(market_log: EventLog) -> None:
    whole = compute(market_log.buffer, market_log.offsets, every_event=True)
    for n in (50, 500, 1500):
        cut = compute(market_log.buffer, market_log.offsets[:n], every_event=True)
        for name in ("x", "seq", "mid2"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[: len(cut)])


def test_grid_rows_are_those_of_every_event(market_log: EventLog) -> None:
    every = compute(market_log.buffer, market_log.offsets, every_event=True)
    grid = compute(market_log.buffer, market_log.offsets, 250)
    assert (grid.recv_ns % 250_000_000 == 0).all()
    assert (np.diff(grid.recv_ns) == 250_000_000).all()
    at = np.searchsorted(every.seq, grid.seq)
    np.testing.assert_array_equal(every.x[at], grid.x)
    with pytest.raises(ValueError, match="multiple of 10 ms"):
        compute(market_log.buffer, market_log.offsets, 15)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), st.integers(599_000, 601_000), st.integers(1, 10**6), st.booleans()),
        st.tuples(st.just("bid"), st.integers(599_900, 600_050), st.integers(0, 10**6)),
        st.tuples(st.just("ask"), st.integers(599_950, 600_100), st.integers(0, 10**6)),
        st.tuples(st.just("quote"), st.integers(599_900, 600_050), st.integers(1, 10**6)),
        st.tuples(st.just("wait"), st.integers(1, 3000)),
        st.tuples(st.just("stale")),
        st.tuples(st.just("snapshot")),
    ),
    max_size=60,
)


def levels_by_hand(log: EventLog) -> None:
    """After each event the five-level features are those of the book's levels, read anew."""
    state = BatchState()
    out = np.zeros((2, 5, 2), np.int64)
    checked = 0
    for i in np.flatnonzero(log.kinds != Kind.TICK):
        row = compute(log.buffer, log.offsets[i : i + 1], state=state, every_event=True)
        if len(row) and row.mid2[0] > 0:
            book = state.array["book"][0]
            bids, asks = (int(out[k, : book_depth(book, side, out[k], 5), 1].sum()) for k, side in enumerate((1, -1)))
            assert row.column("imbalance_5")[0] == (bids - asks) / (bids + asks)
            checked += 1
    assert checked > 0


@settings(max_examples=60, deadline=None)
@given(events=EVENTS)
def test_any_stream_gives_finite_bounded_features(request: pytest.FixtureRequest, events: list[Any]) -> None:
    make = type(request.getfixturevalue("builder"))
    builder, now = make(), 10
    builder.snapshot(now, BIDS, ASKS)
    for event in events:
        now += 1
        if event[0] == "trade":
            builder.trade(now, event[1], event[2], sell=event[3])
        elif event[0] == "bid":
            builder.diff(now, [event[1:]], [])
        elif event[0] == "ask":
            builder.diff(now, [], [event[1:]])
        elif event[0] == "quote":
            builder.ticker(now, event[1:], (event[1] + 3, event[2]))
        elif event[0] == "wait":
            now += event[1]
        elif event[0] == "stale":
            builder.push(Kind.BOOK_STALE, now, a=2)
        else:
            builder.snapshot(now, BIDS, ASKS)
    builder.advance(now + 6000)
    log = builder.log()
    table = compute(log.buffer, log.offsets, every_event=True)
    assert np.isfinite(table.x).all()
    assert table.x.shape[1] == N_FEATURES
    for name in ("imbalance_1", "imbalance_5"):
        assert (np.abs(table.column(name)) <= 1.0).all()
    assert (table.column("spread_ticks")[table.mid2 > 0] > 0).all()
    assert not table.valid[table.mid2 == 0].any()
    levels_by_hand(log)
    normal = np.abs(table.x[table.x != 0.0])
    assert (normal >= np.finfo(np.float64).tiny).all()  # no denormals
