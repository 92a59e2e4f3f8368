"""Trees score as LightGBM does, bit for bit, walked and by table; broken text is refused."""

from __future__ import annotations

import re
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.features.registry import CAPACITY, NAMES
from bot4_live.models.layout import ModelKind, new_slot
from bot4_live.models.predict import predict_rows
from bot4_live.models.table import fill_table
from bot4_live.models.trees import TreeModel


def vectors(rows: np.ndarray) -> np.ndarray:
    x = np.zeros((len(rows), CAPACITY))
    x[:, : rows.shape[1]] = rows
    return x


def scores(booster: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (scores walked, scores by table or None where there is no table)."""
    model = TreeModel.decode(booster.model_to_string().encode())
    slot = new_slot()
    model.fill(slot)
    walked = predict_rows(slot[0], vectors(rows))
    if not fill_table(model, slot):
        return walked, None
    assert slot[0]["kind"] == ModelKind.TREE_TABLE
    return walked, predict_rows(slot[0], vectors(rows))


def assert_same_bits(left: np.ndarray | None, right: np.ndarray) -> None:
    assert left is not None
    np.testing.assert_array_equal(left.view(np.int64), np.ascontiguousarray(right).view(np.int64))


def edge_rows(booster: Any, seed: int) -> np.ndarray:
    """Rows made of the model's own thresholds and their neighbours, zeros, infinities and NaN."""
    text = booster.model_to_string()
    numbers = [float(v) for line in re.findall(r"^threshold=(.*)$", text, re.M) for v in line.split()]
    values = np.array(numbers)
    pool = np.concatenate(
        [values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), [0.0, -0.0, 1e-36, -1e-36, np.nan]]
    )
    return np.random.default_rng(seed).choice(np.append(pool, [np.inf, -np.inf]), size=(500, len(NAMES)))


def test_scores_equal_lightgbm(booster: tuple[Any, np.ndarray]) -> None:
    model, rows = booster
    expected = model.predict(rows, raw_score=True)
    walked, table = scores(model, rows)
    assert len(np.unique(expected)) > 1000
    assert_same_bits(walked, expected)
    assert_same_bits(table, expected)


@pytest.mark.parametrize(
    "case",
    [
        {"rounds": 1, "leaves": 2, "seed": 1},
        {"rounds": 200, "leaves": 8, "seed": 2, "missing": True},
        {"rounds": 40, "leaves": 64, "seed": 3, "missing": True, "use_missing": True},
        {"rounds": 40, "leaves": 31, "seed": 4, "missing": True, "use_missing": False},
        {"rounds": 40, "leaves": 31, "seed": 5, "zero_as_missing": True},
        {"rounds": 10, "leaves": 31, "seed": 6, "min_data_in_leaf": 5000},  # trees of one leaf
        {"rounds": 30, "leaves": 15, "seed": 8, "objective": "regression_l1"},
        {"rounds": 20, "leaves": 31, "seed": 9, "max_bin": 1023},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scores_equal_lightgbm_at_the_edges(train: Any, case: dict[str, Any]) -> None:
    model, rows = train(**case)
    every = np.concatenate([rows[:500], edge_rows(model, case["seed"])])
    expected = model.predict(every, raw_score=True)
    walked, table = scores(model, every)
    assert_same_bits(walked, expected)
    if case.get("zero_as_missing"):
        assert table is None
    else:
        assert_same_bits(table, expected)


@pytest.mark.slow  # LightGBM trains for a while
def test_a_model_that_fills_the_table(train: Any) -> None:
    model, rows = train(rounds=200, leaves=63, seed=10, max_bin=5000)
    walked, table = scores(model, rows)
    assert_same_bits(walked, model.predict(rows, raw_score=True))
    assert_same_bits(table, walked)


def test_thresholds_among_what_counts_as_zero(booster: tuple[Any, np.ndarray]) -> None:
    """LightGBM writes thresholds of 1e-35; values that close to zero count as zero, on either side of them."""
    text = booster[0].model_to_string()
    dust = iter([0.0, -0.0, 1.0000000180025095e-35, -1.0000000180025095e-35, 1e-36, -1e-36, 2e-35, -2e-35] * 1000)

    def line(match: re.Match[str]) -> str:
        return "threshold=" + " ".join(repr(next(dust)) for _ in match[1].split())

    text = re.sub(r"^threshold=(.*)$", line, text, flags=re.M)
    sizes = " ".join(str(len(block)) for block in re.findall(r"Tree=.*?(?=Tree=|end of trees)", text, re.S))
    model = lightgbm.Booster(model_str=re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", text))
    around = np.array([0.0, -0.0, 1e-36, 1e-35, 1.0000000180025095e-35, 1.1e-35, 2e-35, 3e-35, 1.0, np.nan])
    values = np.concatenate([around, -around, np.nextafter(around, 1.0), np.nextafter(around, -1.0)])
    rows = np.random.default_rng(3).choice(values, size=(2_000, len(NAMES)))
    expected = model.predict(rows, raw_score=True)
    assert len(np.unique(expected)) > 100
    walked, table = scores(model, rows)
    assert_same_bits(walked, expected)
    assert_same_bits(table, expected)


@settings(max_examples=30, deadline=None)
@given(order=st.lists(st.integers(0, 499), min_size=1, max_size=200))
def test_the_table_remembers_nothing_that_matters(booster: tuple[Any, np.ndarray], order: list[int]) -> None:
    """A score depends on the row alone, not on which rows came before."""
    model, rows = booster
    every = np.concatenate([rows[:250], edge_rows(model, 1)[:250]])
    walked, table = scores(model, every[order])
    assert_same_bits(table, walked)


def bite_its_tail(text: str) -> str:
    """Let an inner node and a leaf below it change places: each child is still named once, the node by itself."""
    left = [int(v) for v in re.search(r"left_child=(.*)", text)[1].split()]
    node = next(c for c in left if c > 0 and left[c] < 0)
    parent = left.index(node)
    left[parent], left[node] = left[node], node
    return re.sub(r"left_child=.*", "left_child=" + " ".join(map(str, left)), text, count=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bite_its_tail, "not a tree"),
        (lambda t: t[: len(t) // 2], "cut short"),
        (lambda t: "hello" + t, "does not begin"),
        (lambda t: t.replace("version=v4", "version=v3"), "format v3"),
        (lambda t: t.replace("num_tree_per_iteration=1", "num_tree_per_iteration=3"), "one score"),
        (lambda t: t.replace("objective=regression", "objective=poisson"), "transforms"),
        (lambda t: t.replace("\nfeature_names", "\naverage_output\nfeature_names"), "random forests"),
        (lambda t: t.replace("num_cat=0", "num_cat=1", 1), "categorical"),
        (lambda t: t.replace("num_leaves=31", "num_leaves=30", 1), "wrong length"),
        (lambda t: t.replace("num_leaves=31", "num_leaves=65", 1), "65 leaves"),
        (lambda t: re.sub(r"left_child=(\S+)", "left_child=29", t, count=1), "not a tree"),
        (lambda t: re.sub(r"\nthreshold=(\S+)", "\nthreshold=nan", t, count=1), "not numbers"),
        (lambda t: re.sub(r"leaf_value=(\S+)", "leaf_value=nan", t, count=1), "not finite"),
        (lambda t: t.replace("tree_sizes=", "tree_size="), "not a LightGBM model"),
    ],
)
def test_broken_text_is_refused(booster: tuple[Any, np.ndarray], change: Any, message: str) -> None:
    text = booster[0].model_to_string()
    changed = change(text)
    assert changed != text
    with pytest.raises(ValueError, match=message):
        TreeModel.decode(changed.encode())


def test_too_many_trees_are_refused(train: Any) -> None:
    model, _ = train(rounds=201, leaves=2, seed=11)
    with pytest.raises(ValueError, match="201 trees"):
        TreeModel.decode(model.model_to_string().encode())
