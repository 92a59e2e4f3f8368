"""Every fast feature, declared once; the engine's layout, the feature views, the docs and the tests come from here.

A feature's place in `FEATURES` is its place in the engine's vector `x`. Names are never reused for another meaning:
a changed definition raises `version`, which changes `layout_hash()`, and a model trained on the old one is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache

from bot4_live.features.declared.bars import BARS
from bot4_live.features.declared.core import CORE
from bot4_live.features.declared.feature import Feature
from bot4_live.features.declared.flow import FLOW
from bot4_live.features.declared.shape import SHAPE
from bot4_live.features.declared.signals import SIGNALS

FEATURES: tuple[Feature, ...] = (*CORE, *BARS, *FLOW, *SHAPE, *SIGNALS)

N_FEATURES = len(FEATURES)
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
CAPACITY = 96  # the width of `x` in the engine's state: room to grow without moving what lies behind it


def index(name: str) -> int:
    """Return a feature's place in `x`. Raises ValueError for an unknown name."""
    try:
        return NAMES.index(name)
    except ValueError:
        raise ValueError(f"unknown feature {name!r}; known are: {', '.join(NAMES)}") from None


def layout() -> list[dict[str, object]]:
    """Return the layout as plain data, in order: what `layout_hash` is taken of (meaning and source left out)."""
    return [{k: v for k, v in asdict(feature).items() if k not in ("meaning", "source")} for feature in FEATURES]


@lru_cache(maxsize=1)
def layout_hash() -> str:
    """Return the sha256 (hex) of the layout; bundles and state snapshots carry it and are refused when it differs."""
    return hashlib.sha256(json.dumps(layout(), sort_keys=True).encode()).hexdigest()


def _window(feature: Feature) -> str:
    """Return a window in words."""
    if not feature.window_ns:
        return "now"
    ms = feature.window_ns // 1_000_000
    return f"{feature.window_kind} {ms // 1000} s" if ms % 1000 == 0 else f"{feature.window_kind} {ms} ms"


def feature_table() -> str:
    """Return every feature as a Markdown table (docs/features.md)."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    rows = [
        f"| {i} | `{f.name}` | {f.kind} | {_window(f)} | {cell(f.unit)} | {cell(f.meaning)} | {cell(f.source)} |"
        for i, f in enumerate(FEATURES)
    ]
    return (
        "\n".join(["| # | name | kind | window | unit | meaning | source |", "|---|---|---|---|---|---|---|", *rows])
        + "\n"
    )
