"""The registry: names, places and a hash that moves when a definition does."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot4_live.features import registry
from bot4_live.features.registry import CAPACITY, FEATURES, N_FEATURES, NAMES, feature_table, index, layout_hash


def test_features_are_declared_whole() -> None:
    assert 54 <= N_FEATURES <= CAPACITY
    assert len(set(NAMES)) == N_FEATURES
    for place, feature in enumerate(FEATURES):
        assert index(feature.name) == place
        assert re.fullmatch(r"[a-z][a-z0-9_]*", feature.name)
        assert all((feature.unit, feature.meaning, feature.source))
        assert (feature.window_ns == 0) == (feature.window_kind == "now")
    assert "micro_price" not in NAMES  # the weighted mid is not Stoikov's


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown feature 'nope'"):
        index("nope")


def test_the_hash_moves_with_definitions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_of(features: tuple[registry.Feature, ...]) -> str:
        monkeypatch.setattr(registry, "FEATURES", features)
        layout_hash.cache_clear()
        return layout_hash()

    try:
        before = hash_of(FEATURES)
        first, *rest = FEATURES
        assert hash_of((replace(first, meaning="reworded"), *rest)) == before
        assert hash_of((replace(first, version=2), *rest)) != before
        assert hash_of((*rest, first)) != before
        assert hash_of(tuple(rest)) != before
    finally:
        monkeypatch.undo()
        layout_hash.cache_clear()


def test_the_documented_features_are_those_of_the_registry() -> None:
    path = Path(__file__).resolve().parents[3] / "docs" / "features.md"
    head, _, _ = path.read_text().partition("| # |")
    wanted = head + feature_table()
    if os.environ.get("RENEW_GOLDEN"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "docs/features.md is old: RENEW_GOLDEN=1 writes its table anew"
    assert all(f"| `{name}` |" in wanted for name in NAMES)
    assert wanted.count("\n| ") == N_FEATURES + 1
