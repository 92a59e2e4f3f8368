"""The 250 ms grid: only what was known, holes where nothing was."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bot4_platform.defs.volatility.mids import (
    CADENCE_NS,
    MAX_SILENCE_NS,
    STEP_NS,
    WINDOW_NS,
    fit_times,
    returns,
    sample_last,
    window,
)


@given(st.lists(st.integers(0, 8 * 10**9), min_size=1, max_size=60))
def test_each_grid_time_has_the_last_quote_before_it(gaps: list[int]) -> None:
    recv = np.cumsum(np.array(gaps, np.int64)) + 10**15
    time, row = sample_last(recv)
    assert (np.diff(time) > 0).all()
    assert (time % STEP_NS == 0).all()
    for t, r in zip(time, row, strict=True):
        assert recv[r] < t
        assert r + 1 == recv.size or recv[r + 1] >= t
        assert t - recv[r] <= MAX_SILENCE_NS


def test_no_return_crosses_a_hole() -> None:
    recv = np.concatenate([np.arange(20) * STEP_NS, 60 * 10**9 + np.arange(20) * STEP_NS])
    price = np.concatenate([np.full(20, 100.0), np.full(20, 300.0)])
    time, row = sample_last(recv)
    got = returns(time, price[row])
    assert got.size > 30
    assert (got == 0).all()


def test_fits_stand_at_the_marks_and_at_the_end() -> None:
    time = np.arange(1, 2 * CADENCE_NS // STEP_NS + 41, dtype=np.int64) * STEP_NS
    assert fit_times(time) == [CADENCE_NS, 2 * CADENCE_NS, int(time[-1])]
    assert fit_times(time[:8]) == [8 * STEP_NS]
    assert fit_times(time[:0]) == []


def test_a_window_uses_nothing_later() -> None:
    time = np.arange(0, 3 * WINDOW_NS, WINDOW_NS // 10, dtype=np.int64)
    got = time[window(time, 2 * WINDOW_NS)]
    assert got[0] > WINDOW_NS
    assert got[-1] == 2 * WINDOW_NS
    assert got.size == 10
