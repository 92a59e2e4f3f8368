"""Splits: no training label reaches into a test, whatever the labels' spans and ties."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot4_platform.mlops.splits import Fold, holdout, walk_forward


@st.composite
def spans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    steps = draw(st.lists(st.integers(0, 4), min_size=12, max_size=120))
    length = draw(st.lists(st.integers(1, 9), min_size=len(steps), max_size=len(steps)))
    start = np.cumsum(np.array(steps, np.int64))
    return start, start + np.array(length)


def no_leak(fold: Fold, start: np.ndarray, end: np.ndarray, embargo: int) -> None:
    assert end[fold.train].max() + embargo <= start[fold.test].min()
    assert np.intersect1d(fold.train, fold.test).size == 0
    # Purging takes no more than it must.
    left = np.setdiff1d(np.arange(fold.test[0]), fold.train)
    assert (end[left] + embargo > start[fold.test[0]]).all()


@given(spans(), st.integers(1, 5), st.integers(0, 8))
def test_walk_forward_is_purged_embargoed_and_ordered(
    labels: tuple[np.ndarray, np.ndarray], folds: int, embargo: int
) -> None:
    start, end = labels
    try:
        found = walk_forward(start, end, folds, embargo)
    except ValueError:
        assume(False)
    assert len(found) == folds
    for fold in found:
        no_leak(fold, start, end, embargo)
    tests = np.concatenate([fold.test for fold in found])
    assert (np.diff(tests) > 0).all()
    assert tests[-1] == start.size - 1


@given(spans(), st.floats(0.1, 0.6), st.integers(0, 8))
def test_the_holdout_comes_after_all_that_trains(
    labels: tuple[np.ndarray, np.ndarray], fraction: float, embargo: int
) -> None:
    start, end = labels
    try:
        fold = holdout(start, end, fraction, embargo)
    except ValueError:
        assume(False)
    no_leak(fold, start, end, embargo)
    assert fold.test[-1] == start.size - 1


def test_a_longer_embargo_never_keeps_more() -> None:
    start = np.arange(200, dtype=np.int64)
    sizes = [holdout(start, start + 10, 0.3, embargo).train.size for embargo in (0, 5, 10, 50)]
    assert sizes == [131, 126, 121, 81]


def test_rows_of_one_instant_stay_on_one_side() -> None:
    start = np.repeat(np.arange(20, dtype=np.int64), 3)
    fold = holdout(start, start + 1, 0.34, 0)
    assert start[fold.test[0]] > start[fold.test[0] - 1]


def test_too_few_rows_say_so() -> None:
    start = np.arange(6, dtype=np.int64)
    with pytest.raises(ValueError, match="too few"):
        holdout(start, start + 100, 0.3, 0)
    with pytest.raises(ValueError, match="in order"):
        holdout(start[::-1], start[::-1] + 1, 0.3, 0)
    with pytest.raises(ValueError, match="embargo"):
        walk_forward(start, start + 1, 2, -1)
