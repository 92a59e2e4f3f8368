"""A seeded ensemble in LightGBM's text format, grown on feature rows: what the benchmarks score.

bot4_live does not import LightGBM; the benchmark needs the shape of a trained model (100 trees x 31 leaves, thresholds
where the data is, at most 63 bins a feature), not its skill. LightGBM itself loads the text (a test does).
"""

from __future__ import annotations

from random import Random

import numpy as np

BINS = 63


def random_model(x: np.ndarray, names: tuple[str, ...], trees: int = 100, leaves: int = 31, seed: int = 1) -> str:
    """Return the text of a model over the columns `names` of the rows `x`, float64 (n, len(names)).

    Each tree splits its most populated leaf at a random feature and bin, so that every leaf can be reached. Raises
    ValueError when the rows are too few or too alike for that many leaves.
    """
    random = Random(seed)
    rows = x[:: max(1, len(x) // 4000)]
    edges = [_edges(rows[:, k]) for k in range(len(names))]
    blocks = [_tree_text(t, _grow(rows, edges, leaves, random), random) for t in range(trees)]
    infos = " ".join(f"[{float(rows[:, k].min())!r}:{float(rows[:, k].max())!r}]" for k in range(len(names)))
    head = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
        f"max_feature_idx={len(names) - 1}\nobjective=regression\nfeature_names={' '.join(names)}\n"
        f"feature_infos={infos}\ntree_sizes={' '.join(str(len(block)) for block in blocks)}\n\n"
    )
    return head + "".join(blocks) + "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"


def _edges(column: np.ndarray) -> np.ndarray:
    """Return up to 62 thresholds between values that occur."""
    values = np.unique(np.quantile(column, np.linspace(0, 1, BINS), method="lower"))
    return (values[:-1] + values[1:]) / 2


class _Node:
    """A split; children are node numbers, or ~leaf."""

    def __init__(self, feature: int, threshold: float, left: int, right: int) -> None:
        self.feature, self.threshold, self.left, self.right = feature, threshold, left, right


def _grow(rows: np.ndarray, edges: list[np.ndarray], leaves: int, random: Random) -> list[_Node]:
    """Return the nodes of one tree, in LightGBM's numbering: leaf k keeps its number on the left of its split."""
    nodes: list[_Node] = []
    members = [np.arange(len(rows))]
    parents: list[tuple[int, bool] | None] = [None]  # of each leaf: (node, is the left child)
    while len(members) < leaves:
        leaf = max(range(len(members)), key=lambda k: len(members[k]))
        feature, threshold, mask = _split(rows[members[leaf]], edges, random)
        node, new = len(nodes), len(members)
        above = parents[leaf]
        if above is not None:
            if above[1]:
                nodes[above[0]].left = node
            else:
                nodes[above[0]].right = node
        nodes.append(_Node(feature, threshold, ~leaf, ~new))
        parents[leaf] = (node, True)
        parents.append((node, False))
        members.append(members[leaf][~mask])
        members[leaf] = members[leaf][mask]
    return nodes


def _split(rows: np.ndarray, edges: list[np.ndarray], random: Random) -> tuple[int, float, np.ndarray]:
    """Return (feature, threshold, mask of the left rows) of a split that leaves rows on both sides."""
    for _ in range(1000):
        feature = random.randrange(len(edges))
        if len(edges[feature]) == 0:
            continue
        threshold = float(random.choice(edges[feature].tolist()))
        mask = rows[:, feature] <= threshold
        if 0 < mask.sum() < len(mask):
            return feature, threshold, mask
    raise ValueError("the rows are too few or too alike to grow a tree on; give the benchmark more messages")


def _tree_text(number: int, nodes: list[_Node], random: Random) -> str:
    leaves = len(nodes) + 1

    def line(name: str, values: list[str]) -> str:
        return f"{name}={' '.join(values)}\n"

    return (
        f"Tree={number}\nnum_leaves={leaves}\nnum_cat=0\n"
        + line("split_feature", [str(n.feature) for n in nodes])
        + line("split_gain", ["1"] * len(nodes))
        + line("threshold", [repr(n.threshold) for n in nodes])
        + line("decision_type", ["2"] * len(nodes))  # numerical, missing none, default left
        + line("left_child", [str(n.left) for n in nodes])
        + line("right_child", [str(n.right) for n in nodes])
        + line("leaf_value", [repr(random.gauss(0.0, 0.02)) for _ in range(leaves)])
        + line("leaf_weight", ["1"] * leaves)
        + line("leaf_count", ["1"] * leaves)
        + line("internal_value", ["0"] * len(nodes))
        + line("internal_weight", ["1"] * len(nodes))
        + line("internal_count", ["1"] * len(nodes))
        + "is_linear=0\nshrinkage=1\n\n\n"
    )
