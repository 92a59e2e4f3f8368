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
# Rows of the mask table: one a (feature, bin), so at most 3,000 of 100 trees of 31 leaves and two a feature; models
# with more are walked.
MAX_ROWS = 3_200
GROUP = 8  # features whose masks are kept ANDed; neighbours in the registry move together
GROUPS = -(-CAPACITY // GROUP)


class ModelKind(IntEnum):
    """How a slot is scored."""

    NONE = 0
    LINEAR = 1
    TREES = 2  # flat walk
    TREE_TABLE = 3  # leaf masks, see models.table


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
        # mask table: the bins of feature k are rows row_base[k] .. row_base[k + 1] - 1, the last of them for NaN
        ("row_base", "<i4", (CAPACITY + 1,)),
        ("edge", "<f8", (MAX_ROWS,)),  # upper edge (inclusive) of each bin, +inf for the last
        ("row", "<i4", (CAPACITY,)),  # row each feature is in now; -1 before the first score
        ("low", "<f8", (CAPACITY,)),  # the open lower and the closed upper edge of that row
        ("high", "<f8", (CAPACITY,)),
        ("score", "<f8"),  # last score: still right while no feature left its bin
        ("mask", "<u8", (MAX_ROWS, MAX_TREES)),
        ("part", "<u8", (GROUPS, MAX_TREES)),  # the masks of GROUP features in a row, ANDed
        ("alive", "<u8", (MAX_TREES,)),
    ],
    align=True,
)


def new_slot() -> np.ndarray:
    """Return an empty slot: an array of shape (1,) of MODEL; kernels take its element `[0]`."""
    return np.zeros(1, MODEL)
