"""The book against a plain dict, far levels, the moving window, sequence rules, the overlay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Kind, StaleCause, header_of, new_record, slots_of
from bot4_live.market.levels import FAR, WINDOW

SIDE_OF_ROW = {0: 1, 1: -1}

# Near prices, both window edges, and far away on either side; repeated prices are wanted.
PRICES = st.one_of(
    st.integers(600_000, 600_200),
    st.integers(600_000 - WINDOW, 600_000 + WINDOW),
    st.sampled_from([1, 63, 64, 4095, 4096, 65_535, 65_536, 10**9, 2**40]),
)
OPS = st.lists(st.tuples(st.integers(0, 1), PRICES, st.sampled_from([0, 0, 1, 7, 10**9]), st.booleans()), max_size=80)


def same_as(book, model):
    for row, side in SIDE_OF_ROW.items():
        levels = sorted(model[row].items(), reverse=row == 0)
        assert book.depth(side, len(levels) + 3) == levels
        assert book["count"][row] == len(levels)
        for price, qty in levels[:5]:
            assert book.qty(side, price) == qty
            assert book.qty(side, price + 1) == model[row].get(price + 1, 0)
    bids, asks = model
    bid, ask = max(bids, default=0), min(asks, default=0)
    assert book.best() == (bid, bids.get(bid, 0), ask, asks.get(ask, 0))
    assert book.crossed() == bool(bids and asks and bid >= ask)


@given(OPS)
@settings(max_examples=300, deadline=None)
def test_book_equals_a_dict(make_book, ops):
    book, model = make_book(), ({}, {})
    for row, price, qty, move in ops:
        book.set(row, price, qty, move=move)
        if qty:
            model[row][price] = qty
        else:
            model[row].pop(price, None)
    same_as(book, model)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-400, 400), st.integers(0, 3)), max_size=60), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_a_wandering_market_moves_the_window_and_keeps_every_level(make_book, changes, seed):
    """The market walks by many windows; levels left behind are found when it comes back."""
    book, model = make_book(), ({}, {})
    rng = np.random.default_rng(seed)
    centre = 600_000
    for row, offset, qty in changes:
        centre = max(1_000, centre + int(rng.integers(-90_000, 90_000)))
        for price, lots in ((centre + offset, qty), (centre - 500 if row == 0 else centre + 500, 9)):
            book.set(row, price, lots)
            if lots:
                model[row][price] = lots
            else:
                model[row].pop(price, None)
    same_as(book, model)


def test_far_levels_are_pulled_in_when_the_market_gets_there(make_book):
    book = make_book()
    book.set(0, 600_000, 5)
    book.set(0, 100_000, 3)
    book.set(1, 600_001, 4)
    assert book["far_count"][0] == 1
    book.set(0, 600_000, 0)
    assert book.best()[:2] == (100_000, 3)
    assert book["far_count"].tolist() == [0, 1]
    assert book["recentred"] >= 1
    assert book.qty(-1, 600_001) == 4


def test_a_full_far_store_drops_the_farthest_and_counts_it(make_book):
    book = make_book()
    book.set(0, 10_000_000, 1)
    for i in range(FAR + 3):
        book.set(0, 1_000_000 + i, 2)
    assert book["overflow"].tolist() == [3, 0]
    assert book["lost"][0] == 1_000_002
    assert book.qty(1, 1_000_002) == 0
    assert book.qty(1, 1_000_003) == 2
    book.set(0, 5, 1)  # farther than all that is kept: lost at once
    assert book["overflow"][0] == 4
    assert book["lost"][0] == 1_000_002
    assert book["count"][0] == 1 + FAR


def test_a_market_that_reaches_lost_levels_makes_the_book_stale(make_book):
    book = make_book()
    levels = [(10_000_000, 1)] + [(1_000_000 + i, 2) for i in range(FAR + 1)]
    book.apply(snapshot(1, levels, [(10_000_001, 1)]))
    assert book["valid"] == 1
    assert book["overflow"][0] == 1
    far_above = [(price, 0) for price, _ in levels if price > 1_000_500]
    book.apply(diff(1, 2, 1, far_above, []))
    assert book["valid"] == 0
    assert book["stale_cause"] == StaleCause.LOST_LEVELS


def test_bad_levels_are_ignored_and_counted(make_book):
    book = make_book()
    book.set(0, 0, 5)
    book.set(0, -3, 5)
    book.set(1, 10, -1)
    assert book["bad_levels"] == 3
    assert book["count"].tolist() == [0, 0]
    assert book.best() == (0, 0, 0, 0)


def record_of(kind, a, b, slots):
    record = new_record(kind, len(slots))
    head = header_of(record)
    head["a"], head["b"] = a, b
    if slots:
        slots_of(record)[:] = slots
    return record


def snapshot(last, bids, asks):
    return record_of(Kind.DEPTH_SNAPSHOT, last, last, [(0, len(bids)), *bids, *asks])


def diff(first, last, previous, bids, asks):
    return record_of(Kind.DEPTH_DIFF, first, last, [(previous, len(bids)), *bids, *asks])


def ticker(u, bid, bid_qty, ask, ask_qty):
    return record_of(Kind.BOOK_TICKER, u, 0, [(bid, bid_qty), (ask, ask_qty)])


@pytest.fixture
def live_book(make_book):
    book = make_book()
    book.apply(snapshot(100, [(1000, 5), (999, 6), (990, 7)], [(1001, 4), (1002, 3)]))
    return book


def test_bridging_and_chain(live_book):
    assert live_book["valid"] == 1
    assert not live_book.apply(diff(80, 99, 79, [(1000, 99)], []))  # the snapshot holds it already
    assert live_book.apply(diff(95, 105, 94, [(1000, 8)], []))
    assert live_book.best() == (1000, 8, 1001, 4)
    assert live_book.apply(diff(110, 120, 105, [], [(1001, 0)]))
    assert live_book.best() == (1000, 8, 1002, 3)
    assert live_book["update_id"] == 120
    assert not live_book.apply(diff(110, 120, 105, [], [(1001, 9)]))  # again
    assert live_book.best() == (1000, 8, 1002, 3)


def test_first_diff_may_connect_by_its_previous_id(live_book):
    """Update ids are shared by all symbols: U may lie past the snapshot's id when nothing changed between."""
    assert live_book.apply(diff(150, 160, 100, [(1000, 1)], []))
    assert live_book["sequence_errors"] == 0


@pytest.mark.parametrize("bad", [diff(150, 160, 140, [], []), diff(150, 160, -1, [], [])])
def test_a_diff_that_does_not_connect_makes_the_book_stale(live_book, bad):
    assert not live_book.apply(bad)
    assert live_book["valid"] == 0
    assert live_book["stale_cause"] == StaleCause.GAP
    assert live_book["sequence_errors"] == 1
    assert not live_book.apply(diff(161, 170, 160, [], []))
    assert live_book.apply(snapshot(200, [(50, 1)], [(60, 1)]))
    assert live_book["valid"] == 1
    assert live_book.best() == (50, 1, 60, 1)


def test_spot_chain_without_previous_id(live_book):
    assert live_book.apply(diff(99, 105, -1, [(1000, 1)], []))
    assert live_book.apply(diff(106, 107, -1, [(1000, 2)], []))
    assert not live_book.apply(diff(109, 110, -1, [], []))
    assert live_book["valid"] == 0


def test_a_newer_best_quote_overlays_and_outlives_an_older_diff(live_book):
    live_book.apply(ticker(130, 999, 2, 1001, 9))
    assert live_book.best() == (999, 2, 1001, 9)
    assert live_book.qty(1, 1000) == 0
    assert live_book.qty(1, 990) == 7
    assert live_book.depth(1, 5) == [(999, 2), (990, 7)]
    assert live_book.depth(-1, 5) == [(1001, 9), (1002, 3)]
    live_book.apply(diff(95, 120, 94, [(1000, 3)], []))  # older than the quote: its 1000 is gone
    assert live_book.best() == (999, 2, 1001, 9)
    live_book.apply(diff(121, 130, 120, [(1000, 0), (999, 2)], [(1001, 9)]))
    assert live_book.depth(1, 5) == [(999, 2), (990, 7)]
    live_book.apply(diff(131, 140, 130, [(1000, 1)], []))
    assert live_book.best() == (1000, 1, 1001, 9)


def test_an_older_best_quote_changes_nothing(live_book):
    live_book.apply(ticker(90, 1, 1, 2, 1))
    assert live_book.best() == (1000, 5, 1001, 4)
    live_book.apply(ticker(150, 998, 1, 1003, 1))
    live_book.apply(ticker(149, 1, 1, 2, 1))
    assert live_book.best() == (998, 1, 1003, 1)


def test_the_overlay_may_show_a_level_the_book_does_not_have(live_book):
    live_book.apply(ticker(130, 1000, 1, 1005, 2))
    assert live_book.depth(-1, 3) == [(1005, 2)]
    assert live_book.depth(1, 2) == [(1000, 1), (999, 6)]


def test_stale_session_and_other_events(live_book):
    assert not live_book.apply(record_of(Kind.TICK, 0, 0, [(0, 0)]))
    assert live_book.apply(record_of(Kind.BOOK_STALE, StaleCause.DISCONNECT, 0, []))
    assert live_book["valid"] == 0
    assert live_book["stale_cause"] == StaleCause.DISCONNECT
    assert live_book.apply(record_of(Kind.SESSION, 0, 1000, [(0, 0)]))
    assert live_book.best() == (0, 0, 0, 0)
    assert live_book["count"].tolist() == [0, 0]


def test_a_crossed_book_is_seen(live_book):
    assert not live_book.crossed()
    live_book.apply(diff(95, 105, 94, [(1001, 1)], []))
    assert live_book.crossed()


def test_depth_of_zero_levels(live_book):
    assert live_book.depth(1, 0) == []
    live_book.apply(ticker(150, 998, 1, 1003, 1))
    assert live_book.depth(1, 0) == []


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_random_diffs_against_a_dict_through_events(make_book, seed):
    """Whole event records: a snapshot, then diffs of a market that drifts over several windows."""
    rng = np.random.default_rng(seed)
    book, model = make_book(), ({}, {})
    mid, update_id = 600_000, 10
    bids = {mid - int(i): int(q) for i, q in zip(rng.integers(1, 9_000, 200), rng.integers(1, 99, 200), strict=True)}
    asks = {mid + int(i): int(q) for i, q in zip(rng.integers(1, 9_000, 200), rng.integers(1, 99, 200), strict=True)}
    model[0].update(bids)
    model[1].update(asks)
    book.apply(snapshot(update_id, sorted(bids.items(), reverse=True), sorted(asks.items())))
    for _ in range(40):
        mid += int(rng.integers(-30_000, 30_000))
        mid = max(mid, 50_000)
        changes: list[list[tuple[int, int]]] = [[], []]
        for row in (0, 1):
            prices = mid + (1 if row else -1) * rng.integers(1, 40_000, 30)
            changes[row] = [(int(p), int(q)) for p, q in zip(prices, rng.integers(0, 3, 30), strict=True) if p > 0]
            crossing = [p for p in model[row] if (p >= mid if row == 0 else p <= mid)]
            changes[row] += [(p, 0) for p in crossing]
            for price, qty in changes[row]:
                if qty:
                    model[row][price] = qty
                else:
                    model[row].pop(price, None)
        assert book.apply(diff(update_id + 1, update_id + 5, update_id, *changes))
        update_id += 5
    same_as(book, model)
    assert book["overflow"].tolist() == [0, 0]
