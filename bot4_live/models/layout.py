"""A model in the engine's state: one flat dtype of fixed capacity for every kind, filled from a bundle.

The engine keeps two slots and flips between them; loading a model touches only the slot that is not in use. A score
is the forecast of the bundle's label over its horizon (for Bot4's models: mid return in bp).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bot4_live.features.registry import CAPACITY

MAX_TREES = 200
MAX_LEAVES = 64
MAX_NODES = MAX_TREES * (MAX_LEAVES - 1)
MAX_LEAF_VALUES = MAX_TREES * MAX_LEAVES
MASKS = 64  # room for a tree's nodes; 32 where no tree has more
DUE_AHEAD = 16  # turns written at once
NEAR = 16  # edges on either side of the last value that are compared before a search
MAX_EDGES = MAX_NODES + CAPACITY + 2 * NEAR  # each node has one, each feature one more


class ModelKind(IntEnum):
    """How a slot is scored."""

    NONE = 0
    LINEAR = 1
    TREES = 2  # flat walk
    TREE_TABLE = 3  # remembers where every node sends the last row, see models.table


# A node of the table, among those of its feature in the order of their thresholds.
TURN = np.dtype([("under", "<u8"), ("tree", "<i4"), ("node", "<i4")])  # leaves under it, one bit each; its place there

MODEL = np.dtype(
    [
        ("kind", "<i8"),
        ("version", "<i8"),
        ("n_features", "<i8"),
        ("column", "<i8", (CAPACITY,)),  # place in `x` of each of the model's features
        # linear: intercept + sum of weight * (x - mean) * inverse scale
        ("intercept", "<f8"),
        ("weight", "<f8", (CAPACITY,)),
        ("mean", "<f8", (CAPACITY,)),
        ("inv_scale", "<f8", (CAPACITY,)),
        # trees: node i of tree t at root[t] + i; a child >= 0 is a node, a negative one is leaf ~child
        ("n_trees", "<i8"),
        ("root", "<i4", (MAX_TREES + 1,)),  # first node of each tree; equal to the next for a tree of one leaf
        ("leaf_base", "<i4", (MAX_TREES + 1,)),
        ("split", "<i4", (MAX_NODES,)),  # place in `x`
        ("decision", "<i4", (MAX_NODES,)),  # LightGBM's decision_type
        ("threshold", "<f8", (MAX_NODES,)),
        ("left", "<i4", (MAX_NODES,)),
        ("right", "<i4", (MAX_NODES,)),
        ("leaf", "<f8", (MAX_LEAF_VALUES,)),
        # table: the edges of feature k are row_base[k] .. row_base[k + 1] - 1, ascending, the last of them +inf
        ("row_base", "<i4", (CAPACITY + 1,)),
        ("edge", "<f8", (MAX_EDGES,)),
        ("edge_turn", "<i4", (MAX_EDGES + 1,)),  # first of the `turn` that hold each edge
        ("turn", TURN, (MAX_NODES,)),
        # by tree, `width` apart, one a node: the leaves that it leaves possible when it sends the row right, one bit
        # each, the first from the left lowest; `leaf` is in that order too
        ("mask", "<u8", (MAX_TREES * MASKS,)),
        ("width", "<i8"),
        ("looks", "<i8"),  # steps of a binary search among the edges of any feature
        ("dense", "<i8"),  # 1 when feature k lies at place k of `x`
        # where the last row went
        ("row", "<i4", (CAPACITY,)),  # edge above each feature's value, -1 for NaN
        ("low", "<f8", (CAPACITY,)),  # the edge below it (-inf: none), and the edge above: low < value <= high
        ("high", "<f8", (CAPACITY,)),
        ("due", "<i2", (MAX_NODES + DUE_AHEAD,)),  # scratch: the `turn` to take
        ("stray", "<u8", (-(-MAX_TREES // 64),)),  # trees of which a node on the path has turned, one bit each
        ("lefts", "<u8", (MAX_TREES,)),  # nodes that send it left, one bit each
        ("at", "<i4", (MAX_TREES,)),  # leaf of each tree
        ("value", "<f8", (MAX_TREES,)),  # and its value
        ("total", "<f8", (MAX_TREES + 1,)),  # sum of the values before each tree
    ],
    align=True,
)


def new_slot() -> np.ndarray:
    """Return an empty slot: an array of shape (1,) of MODEL; kernels take its element `[0]`."""
    return np.zeros(1, MODEL)
