"""Trees that remember: a score costs what has changed since the last one.

From one event to the next few features pass a threshold. Each feature's thresholds are kept sorted, with the nodes that
hold them (the order of QuickScorer: Lucchese et al. 2015, SIGIR); a value that moves passes some of them, and the nodes
of these send it the other way now. Only where such a node lies on a tree's present path is the tree walked again. Leaf
values are summed in tree order, from the first tree that was, so that the score is the walk's, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from bot4_live.market.bits import lowest_bit
from bot4_live.models.layout import ModelKind
from bot4_live.models.trees import DUST, MISSING_ZERO, Tree, TreeModel, goes_left

_ONE, _NONE, _SIX, _63 = np.uint64(1), np.uint64(0), np.uint64(6), np.uint64(63)


def fill_table(model: TreeModel, slot: np.ndarray) -> bool:
    """Add the table to a slot that `model.fill` has filled; return False where it must be walked instead.

    That is when a node treats zeros as missing: its two sides are then not divided by one threshold.
    """
    if any(np.any(((tree.decision >> 2) & 3) == MISSING_ZERO) for tree in model.trees):
        return False
    m = slot[0]
    holders: list[dict[float, list[tuple[int, int, int]]]] = [{} for _ in model.features]
    for t, tree in enumerate(model.trees):
        for node, (feature, threshold) in enumerate(zip(tree.split.tolist(), tree.threshold.tolist(), strict=True)):
            holders[feature].setdefault(_edge(threshold), []).append((_leaves(tree, node), t, node))
        _fill_children(tree, m["child"][2 * int(m["root"][t]) + t :])
        m["depth"] = max(m["depth"], _depth(tree, 0 if len(tree.split) else -1))
    m["dense"] = np.array_equal(m["column"][: len(holders)], np.arange(len(holders)))
    edge = turn = 0
    for k, holder in enumerate(holders):
        m["row_base"][k] = m["row"][k] = edge
        for threshold in [*sorted(holder), math.inf]:
            m["edge"][edge], m["edge_turn"][edge] = threshold, turn
            for held in holder.pop(threshold, []):
                m["turn"][turn] = held
                turn += 1
            edge += 1
    m["row_base"][len(holders)], m["edge_turn"][edge] = edge, turn
    # Begin with a row that every node sends left.
    m["low"] = -math.inf
    m["high"][: len(holders)] = m["edge"][m["row_base"][: len(holders)]]
    for t, tree in enumerate(model.trees):
        m["lefts"][t] = (1 << len(tree.split)) - 1
        node = 0 if len(tree.split) else -1
        while node >= 0:
            node = int(tree.left[node])
        m["at"][t], m["value"][t] = ~node, tree.leaf[~node]
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


def _leaves(tree: Tree, child: int) -> int:
    """Return the leaves under a child as bits."""
    if child < 0:
        return 1 << ~child
    return _leaves(tree, int(tree.left[child])) | _leaves(tree, int(tree.right[child]))


def _fill_children(tree: Tree, child: np.ndarray) -> None:
    """Write the tree's children, leaf k as node number `nodes + k`."""
    nodes = len(tree.split)
    for side, children in enumerate((tree.right, tree.left)):
        child[:nodes, side] = np.where(children < 0, nodes + ~children, children)
        child[nodes : 2 * nodes + 1, side] = np.arange(nodes, 2 * nodes + 1)


def _depth(tree: Tree, child: int) -> int:
    """Return the steps from a child to the leaf farthest from it."""
    return 0 if child < 0 else 1 + max(_depth(tree, int(tree.left[child])), _depth(tree, int(tree.right[child])))


@njit(cache=True)
def predict_table(m: Any, x: np.ndarray) -> float:
    """Return the raw score of `x` under `m` (Record of MODEL), whose table is filled."""
    for begin in range(0, m.n_features, 64):
        moved = _moved(m, x, begin)
        while moved != _NONE:
            k = begin + lowest_bit(moved)
            moved &= moved - _ONE
            value = x[m.column[k]]
            if np.isnan(value) or m.row[k] < 0:
                _anew(m, k, value)
            else:
                _pass(m, k, value)
    n = m.n_trees
    first = _walk(m)
    total = m.total[first]
    for t in range(np.uint64(first), np.uint64(n)):
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
def _pass(m: Any, k: int, value: float) -> None:
    """Turn the nodes between feature k's last value and this one."""
    row = m.row[k]
    begin = end = m.edge_turn[row]
    if value > m.high[k]:
        while value > m.edge[np.uint64(row)]:
            row += 1
        end = m.edge_turn[row]
    else:
        base = m.row_base[k]
        while row > base and value <= m.edge[np.uint64(row - 1)]:
            row -= 1
        begin = m.edge_turn[row]
    for i in range(begin, end):
        _turn(m, m.turn[np.uint64(i)])
    _rest(m, k, row)


@njit(cache=True)
def _anew(m: Any, k: int, value: float) -> None:
    """Do the same by asking every node of feature k: from NaN, or to it."""
    row = m.row_base[k]
    last = m.row_base[k + 1] - 1
    for i in range(m.edge_turn[row], m.edge_turn[last]):
        e = m.turn[i]
        left = (m.lefts[e.tree] >> np.uint64(e.node)) & _ONE != _NONE
        at = m.root[e.tree] + e.node
        if goes_left(value, m.threshold[at], m.decision[at]) != left:
            _turn(m, e)
    if np.isnan(value):
        m.row[k] = -1
        m.low[k] = np.inf  # no value lies there: ask again each time
        return
    while value > m.edge[row]:
        row += 1
    _rest(m, k, row)


@njit(cache=True)
def _rest(m: Any, k: int, row: int) -> None:
    m.row[k] = row
    m.low[k] = -np.inf if row == m.row_base[k] else m.edge[row - 1]
    m.high[k] = m.edge[row]


@njit(cache=True)
def _turn(m: Any, e: Any) -> None:
    """Let a node (Record of TURN) send the row the other way; its tree strays if the node is on the path."""
    t = np.uint64(e.tree)
    m.lefts[t] ^= _ONE << np.uint64(e.node)
    m.stray[t >> _SIX] |= ((e.under >> np.uint64(m.at[t])) & _ONE) << (t & _63)


@njit(cache=True)
def _walk(m: Any) -> int:
    """Walk the trees that strayed; return the first of them, the number of trees for none.

    All walks have as many steps, the last ones on the spot, so that one need not end before the next can begin.
    """
    first = m.n_trees
    depth = m.depth
    for word in range(m.stray.shape[0]):
        strays = m.stray[word]
        if strays == _NONE:
            continue
        m.stray[word] = _NONE
        first = min(first, (word << 6) + lowest_bit(strays))
        while strays != _NONE:
            t = np.uint64((word << 6) + lowest_bit(strays))
            strays &= strays - _ONE
            root, lefts = np.int64(m.root[t]), m.lefts[t]
            begin = 2 * root + np.int64(t)
            node = np.int64(0)
            for _ in range(depth):
                left = (lefts >> np.uint64(node & 63)) & _ONE
                node = np.int64(m.child[np.uint64(begin + node), left])
            leaf = node - (m.root[t + _ONE] - root)
            m.at[t] = leaf
            m.value[t] = m.leaf[np.uint64(m.leaf_base[t] + leaf)]
    return first
