"""Labels: right values, no label over a gap, past the end or past a cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_platform.mlops.labels import BP, forward_return, uniqueness

STEP = 100_000_000
SECOND = 1_000_000_000


def grid(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.arange(n) * STEP + 5 * SECOND, 60_000 * np.exp(np.cumsum(rng.normal(0, 1e-5, n))), np.ones(n, bool)


def test_a_label_is_the_mid_one_horizon_later() -> None:
    time, mid, valid = grid(30)
    labels = forward_return(time, mid, valid, SECOND, STEP)
    assert labels.row.tolist() == list(range(20))
    assert labels.unfinished == 10
    assert labels.broken == 0
    np.testing.assert_allclose(labels.value, (mid[10:] / mid[:20] - 1) * BP, rtol=0, atol=0)
    assert (labels.end_ns - labels.start_ns == SECOND).all()


def test_nothing_after_the_cut_is_used() -> None:
    time, mid, valid = grid(60)
    until = int(time[40])
    labels = forward_return(time, mid, valid, SECOND, STEP, until)
    assert labels.end_ns.max() == until
    changed = mid.copy()
    changed[41:] *= 1.01
    again = forward_return(time, changed, valid, SECOND, STEP, until)
    np.testing.assert_array_equal(labels.value, again.value)


@given(
    n=st.integers(2, 120),
    bad=st.sets(st.integers(0, 119), max_size=12),
    gone=st.sets(st.integers(0, 119), max_size=12),
    horizon=st.integers(1, 12),
)
def test_no_label_spans_an_invalid_row_or_a_missing_one(n: int, bad: set[int], gone: set[int], horizon: int) -> None:
    time, mid, valid = grid(n)
    valid[[b for b in bad if b < n]] = False
    keep = np.array([i not in gone for i in range(n)])
    labels = forward_return(time[keep], mid[keep], valid[keep], horizon * STEP, STEP)
    usable = valid & keep
    expected = [i for i in range(n - horizon) if usable[i : i + horizon + 1].all()]
    np.testing.assert_array_equal(labels.start_ns, time[expected])
    np.testing.assert_array_equal(labels.end_ns, time[expected] + horizon * STEP)
    assert labels.row.size + labels.unfinished + labels.broken == keep.sum()
    assert ((labels.weight > 0) & (labels.weight <= 1)).all()


def test_overlapping_labels_share_their_weight() -> None:
    alone = uniqueness(np.array([0, 20]), np.array([10, 30]), 40)
    np.testing.assert_allclose(alone, [1.0, 1.0])
    twins = uniqueness(np.array([0, 0]), np.array([10, 10]), 40)
    np.testing.assert_allclose(twins, [0.5, 0.5])


def test_a_grid_that_goes_back_is_refused() -> None:
    time, mid, valid = grid(5)
    with pytest.raises(ValueError, match="strictly increasing"):
        forward_return(time[::-1], mid, valid, SECOND, STEP)
    with pytest.raises(ValueError, match="multiple of the grid"):
        forward_return(time, mid, valid, SECOND + 1, STEP)


def test_an_empty_grid_has_no_labels() -> None:
    time, mid, valid = grid(0)
    assert forward_return(time, mid, valid, SECOND, STEP).row.size == 0
