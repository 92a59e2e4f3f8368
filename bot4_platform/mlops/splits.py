"""Splits in time: purged and embargoed walk-forward folds, and the holdout that gates.

A training label may not overlap a test: it ends before the test starts, by at least the embargo. scikit-learn's
TimeSeriesSplit counts rows, knows no label ends and so leaks; López de Prado 2018, chapter 7, gives purge and embargo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fold:
    """Row numbers (int64, increasing) of what trains and what tests."""

    train: np.ndarray
    test: np.ndarray


def holdout(start_ns: np.ndarray, end_ns: np.ndarray, fraction: float, embargo_ns: int) -> Fold:
    """Return the last `fraction` of the rows as test, and as train all rows whose label ended an embargo before it.

    `start_ns` and `end_ns` int64 (n,): label times, start not decreasing, end after start. Raises ValueError when
    a side would be empty.
    """
    _check(start_ns, end_ns, embargo_ns)
    if not 0 < fraction < 1:
        raise ValueError(f"holdout fraction {fraction} must lie between 0 and 1")
    cut = start_ns.size - round(start_ns.size * fraction)
    return _fold(start_ns, end_ns, cut, start_ns.size, embargo_ns)


def walk_forward(start_ns: np.ndarray, end_ns: np.ndarray, folds: int, embargo_ns: int) -> list[Fold]:
    """Return `folds` folds in order of time: the rows fall into folds + 1 parts, each but the first tests once.

    What trains is everything before its test (an expanding window), purged of labels that end later than an embargo
    before the test starts. Test parts never overlap. Raises ValueError when a fold would be empty.
    """
    _check(start_ns, end_ns, embargo_ns)
    if folds < 1:
        raise ValueError("at least one fold is needed")
    edges = [start_ns.size * part // (folds + 1) for part in range(folds + 2)]
    return [_fold(start_ns, end_ns, edges[i], edges[i + 1], embargo_ns) for i in range(1, folds + 1)]


def _fold(start_ns: np.ndarray, end_ns: np.ndarray, first: int, last: int, embargo_ns: int) -> Fold:
    # Rows of several markets may share a time: none of them may fall on both sides.
    while 0 < first < last and start_ns[first] == start_ns[first - 1]:
        first += 1
    test = np.arange(first, last)
    train = np.flatnonzero(end_ns + embargo_ns <= start_ns[first]) if first < last else np.zeros(0, np.int64)
    if test.size == 0 or train.size == 0:
        raise ValueError(
            f"{start_ns.size} labelled rows are too few for this split: a side is empty; record more of the market"
        )
    return Fold(train, test)


def _check(start_ns: np.ndarray, end_ns: np.ndarray, embargo_ns: int) -> None:
    if start_ns.shape != end_ns.shape or start_ns.ndim != 1:
        raise ValueError("label starts and ends must be one-dimensional and equally long")
    if start_ns.size and (bool((np.diff(start_ns) < 0).any()) or bool((end_ns <= start_ns).any())):
        raise ValueError("labels must be in order of start, and end after they start")
    if embargo_ns < 0:
        raise ValueError("an embargo cannot be negative")
