"""LightGBM's native text model as flat tables, and the walk over them.

Scores equal `lightgbm.Booster.predict(..., raw_score=True)` bit for bit: leaf values are summed in tree order from
0.0 (shrinkage is already in them), thresholds are read back from 17 digits, and missing values take the branches that
LightGBM's `Tree::NumericalDecision` gives them (include/LightGBM/tree.h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bot4_live.features.registry import index
from bot4_live.models.layout import MAX_LEAVES, MAX_TREES, MODEL, ModelKind

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of decision_type; bits 2 and 3 hold the missing type
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
DUST = float(np.float32(1e-35))  # LightGBM's kZeroThreshold, a float: what is not above it counts as 0

# Objectives whose score is the label's own unit, or (binary) a raw log-odds; others transform it.
OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "binary")


@dataclass(frozen=True)
class Tree:
    """One tree: arrays over its nodes, children as in LightGBM (negative = ~leaf), and its leaf values."""

    split: np.ndarray
    threshold: np.ndarray
    decision: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray


@dataclass(frozen=True)
class TreeModel:
    """An ensemble; `features` are the model's own feature names, in its column order."""

    features: tuple[str, ...]
    trees: tuple[Tree, ...]
    objective: str

    @classmethod
    def decode(cls, data: bytes) -> TreeModel:
        """Return the model of LightGBM's text. Raises ValueError for what this scorer does not reproduce."""
        try:
            return _parse(data.decode())
        except (KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"model.txt is not a LightGBM model: {error!r}") from None

    def fill(self, slot: np.ndarray) -> None:
        """Write the trees into `slot`, an array of shape (1,) of MODEL, to be walked."""
        slot[:] = np.zeros(1, MODEL)
        m = slot[0]
        columns = np.array([index(name) for name in self.features], np.int32)
        m["kind"], m["n_features"], m["n_trees"] = ModelKind.TREES, len(columns), len(self.trees)
        m["column"][: len(columns)] = columns
        node = leaf = 0
        for t, tree in enumerate(self.trees):
            m["root"][t], m["leaf_base"][t] = node, leaf
            stop = node + len(tree.split)
            m["split"][node:stop] = columns[tree.split]
            m["threshold"][node:stop] = tree.threshold
            m["decision"][node:stop] = tree.decision
            m["left"][node:stop] = tree.left
            m["right"][node:stop] = tree.right
            m["leaf"][leaf : leaf + len(tree.leaf)] = tree.leaf
            node, leaf = stop, leaf + len(tree.leaf)
        m["root"][len(self.trees)], m["leaf_base"][len(self.trees)] = node, leaf


def _parse(text: str) -> TreeModel:
    blocks = text.split("\nTree=")
    head = _fields(blocks[0])
    if not blocks[0].startswith("tree\n") or "version" not in head:
        raise ValueError("model.txt is not a LightGBM model: it does not begin with 'tree'")
    if head["version"] != "v4":
        raise ValueError(f"model.txt: LightGBM format {head['version']}, this reads v4")
    if "average_output" in head:
        raise ValueError("model.txt: random forests (average_output) are not supported")
    if head.get("num_tree_per_iteration") != "1":
        raise ValueError("model.txt: only models with one score are supported")
    objective = head.get("objective", "regression").split()
    if objective[0] not in OBJECTIVES or "sqrt" in objective:
        raise ValueError(f"model.txt: objective {' '.join(objective)!r} transforms the score and is not supported")
    features = tuple(head["feature_names"].split())
    declared = len(head["tree_sizes"].split())
    if declared != len(blocks) - 1 or "\nend of trees" not in blocks[-1]:
        raise ValueError(f"model.txt is cut short: {declared} trees declared, {len(blocks) - 1} found")
    if len(blocks) - 1 > MAX_TREES:
        raise ValueError(f"model.txt: {len(blocks) - 1} trees, the engine holds {MAX_TREES}")
    trees = tuple(_tree(_fields(block), number, len(features)) for number, block in enumerate(blocks[1:]))
    return TreeModel(features, trees, objective[0])


def _fields(block: str) -> dict[str, str]:
    """Return the `name=value` lines up to the first blank line after the fields began."""
    fields: dict[str, str] = {}
    for line in block.splitlines():
        name, sep, value = line.partition("=")
        if name == "end of trees":
            break
        if sep or name:
            fields[name] = value
    return fields


def _tree(fields: dict[str, str], number: int, n_features: int) -> Tree:
    """Return one tree, checked: shapes, children in range and each used once, finite leaves."""
    leaves = int(fields["num_leaves"])
    if not 1 <= leaves <= MAX_LEAVES:
        raise ValueError(f"model.txt: tree {number} has {leaves} leaves, the engine holds {MAX_LEAVES}")
    if int(fields["num_cat"]) or int(fields.get("is_linear", "0")):
        raise ValueError(f"model.txt: tree {number} has categorical splits or linear leaves, which are not supported")
    nodes = leaves - 1

    def ints(name: str) -> np.ndarray:
        return np.array(fields.get(name, "").split(), np.int32)

    def floats(name: str) -> np.ndarray:
        return np.array([float(v) for v in fields.get(name, "").split()], np.float64)

    tree = Tree(
        split=ints("split_feature"), threshold=floats("threshold"), decision=ints("decision_type"),
        left=ints("left_child"), right=ints("right_child"), leaf=floats("leaf_value"),
    )  # fmt: skip
    parts = (tree.split, tree.threshold, tree.decision, tree.left, tree.right)
    if any(len(part) != nodes for part in parts) or len(tree.leaf) != leaves:
        raise ValueError(f"model.txt: tree {number} has arrays of the wrong length")
    children = sorted([*tree.left.tolist(), *tree.right.tolist()])
    expected = [*range(-leaves, 0), *range(1, nodes)] if nodes else []
    down = all(np.all((side < 0) | (side > np.arange(nodes))) for side in (tree.left, tree.right))
    if children != expected or not down or any((tree.split < 0) | (tree.split >= n_features)):
        raise ValueError(f"model.txt: tree {number} is not a tree over the model's features")
    if np.isnan(tree.threshold).any():
        raise ValueError(f"model.txt: tree {number} has thresholds that are not numbers")
    if np.any(tree.decision & CATEGORICAL) or not all(math.isfinite(v) for v in tree.leaf):
        raise ValueError(f"model.txt: tree {number} has categorical splits or leaves that are not finite")
    return tree


@njit(cache=True)
def without_dust(value: float) -> float:
    """Return the value as LightGBM's rows hold it: what is not above its zero threshold is left out, so 0."""
    return 0.0 if -DUST <= value <= DUST else value


@njit(cache=True)
def goes_left(value: float, threshold: float, decision: int) -> bool:
    """Return which way LightGBM sends a value at a numerical node."""
    missing = (decision >> 2) & 3
    if np.isnan(value):
        if missing == MISSING_NAN:
            return (decision & DEFAULT_LEFT) != 0
        value = 0.0
    value = without_dust(value)
    if missing == MISSING_ZERO and value == 0.0:
        return (decision & DEFAULT_LEFT) != 0
    return value <= threshold


@njit(cache=True)
def predict_trees(m: Any, x: np.ndarray) -> float:
    """Return the raw score of `x` under `m` (Record of MODEL), walking each tree."""
    total = 0.0
    for t in range(m.n_trees):
        root = m.root[t]
        node = 0 if m.root[t + 1] > root else -1
        while node >= 0:
            at = root + node
            node = m.left[at] if goes_left(x[m.split[at]], m.threshold[at], m.decision[at]) else m.right[at]
        total += m.leaf[m.leaf_base[t] + ~node]
    return total
