"""Trees that remember: a score costs what has changed since the last one.

From one event to the next few features pass a threshold. Each feature's thresholds are kept sorted, with the nodes that
hold them; a value that moves passes some of them, and the nodes of these send it the other way now. Only where such a
node lies on a tree's present path is the tree's leaf looked for again: the first that no node with the row on its right
excludes (QuickScorer: Lucchese et al. 2015, SIGIR, sections 3 and 3.1). Leaf values are summed in tree order, from the
first tree that was, so that the score is the walk's, bit for bit.

How far a value moved and how many nodes turn cannot be foreseen, so loops whose length depends on it are few.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from bot4_live.market.bits import lowest_bit
from bot4_live.models.layout import DUE_AHEAD, MASKS, NEAR, ModelKind
from bot4_live.models.trees import DUST, MISSING_ZERO, Tree, TreeModel, goes_left

_ONE, _NONE, _SIX, _63 = np.uint64(1), np.uint64(0), np.uint64(6), np.uint64(63)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def fill_table(model: TreeModel, slot: np.ndarray) -> bool:
    """Add the table to a slot that `model.fill` has filled; return False where it must be walked instead.

    That is when a node treats zeros as missing: its two sides are then not divided by one threshold.
    """
    if any(np.any(((tree.decision >> 2) & 3) == MISSING_ZERO) for tree in model.trees):
        return False
    m = slot[0]
    width = 32 if all(len(tree.split) <= 32 for tree in model.trees) else MASKS
    m["width"] = width
    m["mask"] = _ALL
    holders: list[dict[float, list[tuple[int, int, int]]]] = [{} for _ in model.features]
    for t, tree in enumerate(model.trees):
        order, spans = _in_line(tree)
        base = int(m["leaf_base"][t])
        m["leaf"][base : base + len(order)] = tree.leaf[order]
        for node, (feature, threshold) in enumerate(zip(tree.split.tolist(), tree.threshold.tolist(), strict=True)):
            first, middle, end = spans[node]
            holders[feature].setdefault(_edge(threshold), []).append((_bits(first, end), t, node))
            m["mask"][t * width + node] = int(_ALL) ^ _bits(first, middle)
    m["dense"] = np.array_equal(m["column"][: len(holders)], np.arange(len(holders)))
    edge, turn = NEAR, 0
    for k, holder in enumerate(holders):
        m["row_base"][k] = m["row"][k] = edge
        for threshold in [*sorted(holder), math.inf]:
            m["edge"][edge], m["edge_turn"][edge] = threshold, turn
            for held in holder.pop(threshold, []):
                m["turn"][turn] = held
                turn += 1
            edge += 1
    m["row_base"][len(holders)], m["edge_turn"][edge] = edge, turn
    m["looks"] = int(np.diff(m["row_base"][: len(holders) + 1]).max()).bit_length()
    # Begin with a row that every node sends left.
    m["low"] = -math.inf
    m["high"][: len(holders)] = m["edge"][m["row_base"][: len(holders)]]
    for t, tree in enumerate(model.trees):
        m["lefts"][t] = (1 << len(tree.split)) - 1
        m["at"][t], m["value"][t] = 0, m["leaf"][m["leaf_base"][t]]
        m["total"][t + 1] = m["total"][t] + m["value"][t]
    m["kind"] = ModelKind.TREE_TABLE
    return True


def _edge(threshold: float) -> float:
    """Return the threshold e with x <= e for exactly those x whose value without dust is <= `threshold`."""
    if 0.0 <= threshold < DUST:
        return DUST
    if -DUST <= threshold < 0.0:
        return math.nextafter(-DUST, -math.inf)
    return threshold


def _in_line(tree: Tree) -> tuple[list[int], dict[int, tuple[int, int, int]]]:
    """Return the leaves from left to right, and of each node where its left and its right leaves begin, and the end."""
    order: list[int] = []
    spans: dict[int, tuple[int, int, int]] = {}

    def visit(child: int) -> None:
        if child < 0:
            order.append(~child)
            return
        first = len(order)
        visit(int(tree.left[child]))
        middle = len(order)
        visit(int(tree.right[child]))
        spans[child] = first, middle, len(order)

    visit(0 if len(tree.split) else -1)
    return order, spans


def _bits(begin: int, end: int) -> int:
    """Return the places begin .. end - 1, one bit each."""
    return (1 << end) - (1 << begin)


@njit(cache=True)
def predict_table(m: Any, x: np.ndarray) -> float:
    """Return the raw score of `x` under `m` (Record of MODEL), whose table is filled."""
    n = 0
    for begin in range(0, m.n_features, 64):
        moved = _moved(m, x, begin)
        while moved != _NONE:
            k = np.uint64(begin + lowest_bit(moved))
            moved &= moved - _ONE
            value = x[np.uint64(m.column[k])]
            if np.isnan(value) or m.row[k] < 0:
                n = _anew(m, k, value, n)
            else:
                n = _pass(m, k, value, n)
    _turn(m, n)
    first = _look(m)
    total = m.total[first]
    for t in range(np.uint64(first), np.uint64(m.n_trees)):
        total += m.value[t]
        m.total[t + _ONE] = total
    return total


@njit(cache=True)
def _moved(m: Any, x: np.ndarray, begin: int) -> Any:
    """Return which of the 64 features from `begin` on left the span between two edges, one bit each.

    Here and below places are unsigned where speed counts: numba looks whether a signed one counts from the end.
    """
    moved = _NONE
    n = min(m.n_features - begin, 64)
    if m.dense == 1:
        for j in range(n):
            k = np.uint64(begin + j)
            stays = (m.low[k] < x[k]) & (x[k] <= m.high[k])
            moved |= np.uint64(not stays) << np.uint64(j)
        return moved
    for j in range(n):
        k = np.uint64(begin + j)
        value = x[np.uint64(m.column[k])]
        stays = (m.low[k] < value) & (value <= m.high[k])
        moved |= np.uint64(not stays) << np.uint64(j)
    return moved


@njit(cache=True)
def _pass(m: Any, k: Any, value: float, n: Any) -> Any:
    """Add to the `n` turns that are due those between feature k's last value and this one; return their number."""
    base, last = np.int64(m.row_base[k]), np.int64(m.row_base[k + _ONE]) - 1
    start = np.int64(m.row[k]) - NEAR
    below: Any = 0
    for i in range(2 * NEAR):
        p = start + i
        below += np.int64((m.edge[np.uint64(p)] < value) & (p >= base) & (p < last))
    row: Any = max(start, base) + below
    if (below == 0 and start > base) or (row == start + 2 * NEAR and row < last):
        row = base
        for look in range(m.looks - 1, -1, -1):
            other = min(row + (1 << look), last)
            row = other if m.edge[np.uint64(max(other - 1, base))] < value else row
    before, now = np.int64(m.edge_turn[np.uint64(m.row[k])]), np.int64(m.edge_turn[np.uint64(row)])
    begin, end = min(before, now), max(before, now)
    _rest(m, k, row)
    while True:  # rarely more than once
        for i in range(DUE_AHEAD):
            m.due[np.uint64(n + i)] = begin + i
        if end - begin <= DUE_AHEAD:
            return n + end - begin
        begin += DUE_AHEAD
        n += DUE_AHEAD


@njit(cache=True)
def _anew(m: Any, k: Any, value: float, n: int) -> int:
    """Do the same by asking every node of feature k: from NaN, or to it."""
    row = m.row_base[k]
    last = m.row_base[k + _ONE] - 1
    for i in range(m.edge_turn[row], m.edge_turn[last]):
        e = m.turn[i]
        left = (m.lefts[e.tree] >> np.uint64(e.node)) & _ONE != _NONE
        at = m.root[e.tree] + e.node
        if goes_left(value, m.threshold[at], m.decision[at]) != left:
            m.due[n] = i
            n += 1
    if np.isnan(value):
        m.row[k] = -1
        m.low[k] = np.inf  # no value lies there: ask again each time
        return n
    while value > m.edge[row]:
        row += 1
    _rest(m, k, row)
    return n


@njit(cache=True)
def _rest(m: Any, k: Any, row: Any) -> None:
    m.row[k] = row
    m.low[k] = -np.inf if row == m.row_base[k] else m.edge[np.uint64(row - 1)]
    m.high[k] = m.edge[np.uint64(row)]


@njit(cache=True)
def _turn(m: Any, n: int) -> None:
    """Let the nodes that are due send the row the other way; a tree strays if such a node is on the path."""
    a = b = c = d = _NONE  # the words of `stray`
    for i in range(n):
        e = m.turn[np.uint64(m.due[np.uint64(i)])]
        t = np.uint64(e.tree)
        m.lefts[t] ^= _ONE << np.uint64(e.node)
        stray = ((e.under >> np.uint64(m.at[t])) & _ONE) << (t & _63)
        word = t >> _SIX
        a |= stray if word == 0 else _NONE
        b |= stray if word == 1 else _NONE
        c |= stray if word == 2 else _NONE
        d |= stray if word == 3 else _NONE
    m.stray[0], m.stray[1], m.stray[2], m.stray[3] = a, b, c, d


@njit(cache=True)
def _look(m: Any) -> int:
    """Look for the leaves of the trees that strayed; return the first of them, the number of trees for none."""
    first = m.n_trees
    width = np.uint64(m.width)
    for word in range(m.stray.shape[0]):
        strays = m.stray[word]
        if strays == _NONE:
            continue
        first = min(first, (word << 6) + lowest_bit(strays))
        while strays != _NONE:
            t = np.uint64((word << 6) + lowest_bit(strays))
            strays &= strays - _ONE
            lefts, base = m.lefts[t], t * width
            leaves = _ALL
            for node in range(width):
                leaves &= m.mask[base + node] | (_NONE - ((lefts >> node) & _ONE))
            leaf = lowest_bit(leaves)
            m.at[t] = leaf
            m.value[t] = m.leaf[np.uint64(m.leaf_base[t] + leaf)]
    return first
