"""Trees without branches: which leaves each (feature, bin) leaves possible, as bit masks, ANDed.

After Lucchese et al. 2015 (QuickScorer, SIGIR): every node clears the leaves its value cannot reach. Here the
clearing is done ahead for every bin between two thresholds of a feature, on both branches of a node, so that one bit
is left per tree. Leaf values are then summed in tree order, so the score is the walk's, bit for bit. While no feature
leaves its bin the last score still holds; the masks are kept ANDed by groups of neighbouring features, so that only
those groups are gone through again in which one moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bot4_live.market.bits import lowest_bit
from bot4_live.models.layout import GROUP, MAX_ROWS, ModelKind
from bot4_live.models.trees import MISSING_ZERO, Tree, TreeModel, goes_left, without_dust

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def fill_table(model: TreeModel, slot: np.ndarray) -> bool:
    """Add the mask table to a slot that `model.fill` has filled; return False where it must be walked instead.

    That is when the bins exceed the table, or a node treats zeros as missing (a hole inside a bin).
    """
    m = slot[0]
    thresholds: list[set[float]] = [set() for _ in model.features]
    for tree in model.trees:
        if np.any(((tree.decision >> 2) & 3) == MISSING_ZERO):
            return False
        for feature, threshold in zip(tree.split.tolist(), tree.threshold.tolist(), strict=True):
            thresholds[feature].add(threshold)
    rows = sum(len(values) + 2 for values in thresholds)
    if rows > MAX_ROWS:
        return False
    m["mask"][:rows] = _ALL
    base = 0
    spans = []
    for k, values in enumerate(thresholds):
        edges = np.array([*sorted(values), np.inf])
        m["row_base"][k] = base
        m["edge"][base : base + len(edges)] = edges
        m["edge"][base + len(edges)] = np.inf
        spans.append((base, edges))
        base += len(edges) + 1
    m["row_base"][len(thresholds)] = base
    for t, tree in enumerate(model.trees):
        _clear(m["mask"][:, t], tree, spans)
    m["row"][:] = -1
    m["kind"] = ModelKind.TREE_TABLE
    return True


def _clear(masks: np.ndarray, tree: Tree, spans: list[tuple[int, np.ndarray]]) -> None:
    """Clear in `masks` (one column of the table) the leaves that each node's bins rule out."""
    if len(tree.leaf) == 1:
        masks[masks != 0] = np.uint64(1)
    for node in range(len(tree.split)):
        base, edges = spans[tree.split[node]]
        left = _all_but(_leaves(tree, int(tree.left[node])))
        right = _all_but(_leaves(tree, int(tree.right[node])))
        cut = base + int(np.searchsorted(edges, tree.threshold[node])) + 1
        masks[base:cut] &= right
        masks[cut : base + len(edges)] &= left
        nan_left = goes_left(np.nan, float(tree.threshold[node]), int(tree.decision[node]))
        masks[base + len(edges)] &= right if nan_left else left


def _leaves(tree: Tree, child: int) -> int:
    """Return the leaves under a child as bits."""
    if child < 0:
        return 1 << ~child
    return _leaves(tree, int(tree.left[child])) | _leaves(tree, int(tree.right[child]))


def _all_but(leaves: int) -> np.uint64:
    return np.uint64(~leaves & 0xFFFF_FFFF_FFFF_FFFF)


@njit(cache=True)
def _locate(m: Any, k: int, value: float) -> int:
    """Return the row of feature k's value: the first bin whose upper edge is >= it, the last row for NaN."""
    low = m.row_base[k]
    last = m.row_base[k + 1] - 1
    if np.isnan(value):
        return last
    high = last - 1
    while low < high:
        middle = (low + high) >> 1
        if m.edge[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def predict_table(m: Any, x: np.ndarray) -> float:
    """Return the raw score of `x` under `m` (Record of MODEL), whose mask table is filled."""
    moved = 0  # one bit a group
    for k in range(m.n_features):
        value = without_dust(x[m.column[k]])
        if m.row[k] >= 0 and m.low[k] < value <= m.high[k]:
            continue
        row = _locate(m, k, value)
        if row != m.row[k]:
            moved |= 1 << (k // GROUP)
            m.row[k] = row
            first = row == m.row_base[k]
            m.low[k] = -np.inf if first else m.edge[row - 1]
            m.high[k] = m.edge[row]
            if np.isnan(value):
                m.low[k] = np.inf  # no value lies in the row of NaN: look it up each time
    if moved == 0:
        return m.score
    _combine(m, moved)
    total = 0.0
    for t in range(m.n_trees):
        total += m.leaf[m.leaf_base[t] + lowest_bit(m.alive[t])]
    m.score = total
    return total


@njit(cache=True)
def _combine(m: Any, moved: int) -> None:
    """AND the masks anew: those of the groups whose bit is set in `moved`, then the groups."""
    n = m.n_trees
    for g in range((m.n_features + GROUP - 1) // GROUP):
        if (moved >> g) & 1:
            row = m.row[g * GROUP]
            for t in range(n):
                m.part[g, t] = m.mask[row, t]
            for k in range(g * GROUP + 1, min((g + 1) * GROUP, m.n_features)):
                row = m.row[k]
                for t in range(n):
                    m.part[g, t] &= m.mask[row, t]
        if g == 0:
            for t in range(n):
                m.alive[t] = m.part[0, t]
        else:
            for t in range(n):
                m.alive[t] &= m.part[g, t]
