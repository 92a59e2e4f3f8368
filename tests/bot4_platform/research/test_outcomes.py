"""What happened next, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bot4_platform.research import outcomes
from bot4_platform.research.outcomes import FILLED, LEFT, UNKNOWN

Make = Callable[[np.ndarray], Any]


def test_horizons_lie_on_the_grid() -> None:
    assert outcomes.steps(1.0) == 10
    assert outcomes.steps(0.5) == 5
    for wrong in (0.0, 0.05, 0.25):
        with pytest.raises(ValueError, match="multiple of 100 ms"):
            outcomes.steps(wrong)


def test_returns_variances_and_excursions(make: Make) -> None:
    market = make(np.array([0, 2, 2, -1, 0, 0, 0, 5])).market()
    mid = market.mid2 / 2
    change = outcomes.future_return(market, 2)
    np.testing.assert_allclose(change[:-2], 1e4 * (mid[2:] / mid[:-2] - 1))
    assert np.isnan(change[-2:]).all()
    past, following = outcomes.variances(market, 3)
    squares = (1e4 * (mid[1:] / mid[:-1] - 1)) ** 2
    assert past[3] == following[0] == pytest.approx(squares[:3].sum())
    assert np.isnan(past[:3]).all()
    assert np.isnan(following[-3:]).all()
    down, up = outcomes.excursions(market, 3)
    assert down[0] == 3  # half ticks: to -1, from half a tick above the bid
    assert up[0] == 5
    assert np.isnan(down[-3:]).all()  # the recording ends within the horizon


def test_a_book_that_fails_in_between_leaves_the_outcome_unknown(make: Make) -> None:
    market = make(np.zeros(12)).market()
    market.events[5, 1:5] = 0
    market.mid2[5] = 0
    down, _ = outcomes.excursions(market, 3)
    assert np.isnan(down[2:5]).all()
    assert down[6] == 1
    outcome, _ = outcomes.race(market, 1, np.ones(12), 0.3)
    assert outcome[4] == UNKNOWN


@pytest.mark.parametrize(
    ("path", "trades", "share", "expected", "seconds"),
    [
        ([0, 0, 1, 1, 1, 1], [], 1.0, LEFT, 0.2),
        ([0, 0, 0, 0, 0, 0], [], 1.0, UNKNOWN, None),
        ([0, 0, 0, 0, 0, 0], [(2, 0, -10)], 1.0, UNKNOWN, None),  # all ten before it are gone: it is the next
        ([0, 0, 0, 0, 0, 0], [(2, 0, -11)], 1.0, FILLED, 0.2),
        ([0, 0, 0, 0, 0, 0], [(2, 0, -6)], 0.5, FILLED, 0.2),
        ([0, 0, 0, 0, 0, 0], [(2, 0, 50)], 1.0, UNKNOWN, None),  # the aggressor bought
        ([0, 0, 0, 0, 0, 0], [(2, -1, -1)], 1.0, FILLED, 0.2),  # traded through
        ([0, -1, -1, 0, 0, 0], [(3, 0, -1)], 1.0, FILLED, 0.3),  # left alone at its price: the next seller takes it
        ([0, -1, -1, 1, 0, 0], [], 1.0, LEFT, 0.3),
    ],
)
def test_the_race_of_an_order_on_the_bid(
    make: Make, path: list[int], trades: list[Any], share: float, expected: int, seconds: float | None
) -> None:
    made = make(np.array(path))
    for trade in trades:
        made.trade(*trade)
    outcome, waited = outcomes.race(made.market(), 1, np.full(6, share), 0.45)
    assert outcome[0] == expected
    assert (waited[0] == pytest.approx(seconds, abs=0.003)) if seconds else np.isnan(waited[0])


def test_the_ask_is_the_mirror_of_the_bid(make: Make) -> None:
    rng = np.random.default_rng(1)
    path = np.cumsum(rng.integers(-1, 2, 300))
    made, mirror = make(path), make(-path - 1)  # asks of one at the other's bids, mirrored about 60,000.0
    for row in range(1, 300):
        lots = int(rng.integers(1, 15)) * (1 if rng.random() < 0.5 else -1)
        price = int(path[row - 1]) + (1 if lots > 0 else 0)
        made.trade(row, price, lots)
        mirror.trade(row, -price, -lots)
    share = rng.random(300)
    for left, right in zip(
        outcomes.race(made.market(), 1, share, 2.0), outcomes.race(mirror.market(), -1, share, 2.0), strict=True
    ):
        np.testing.assert_array_equal(left, right)
    outcome, _ = outcomes.race(made.market(), 1, share, 2.0)
    assert {UNKNOWN, LEFT, FILLED} == set(outcome.tolist())


def test_cancellations_take_an_orders_share(make: Make) -> None:
    """Ten lots with five before the order; five leave without a trade, so 2.5 remain before it."""
    market = make(np.zeros(6)).market()
    market.events[2:, 2] = 5
    for sold, expected in ((2, UNKNOWN), (3, FILLED)):
        events = np.insert(market.events, 4, market.events[3], axis=0)
        events[4, 5:] = 600_000, -sold
        from dataclasses import replace

        outcome, _ = outcomes.race(replace(market, events=events), 1, np.full(6, 0.5), 0.45)
        assert outcome[0] == expected
