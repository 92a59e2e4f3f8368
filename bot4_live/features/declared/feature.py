"""What is declared of a fast feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

S = 1_000_000_000
MS = 1_000_000

FeatureKind = Literal["book", "price", "trade", "flow", "bar", "signal"]


@dataclass(frozen=True)
class Feature:
    """One fast feature. `window_ns` is a look-back, a half-life or a regression window, as `window_kind` says."""

    name: str
    kind: FeatureKind
    window_kind: Literal["now", "lookback", "half-life", "rolling"]
    window_ns: int
    unit: str
    meaning: str
    source: str
    version: int = 1
