"""Importing Feast without what it does not need here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_torch() -> Iterator[None]:
    """Let `import torch` fail inside the block, unless it is loaded already.

    Feast imports torch wherever it is installed, for image embeddings alone; that doubles the time of its import and
    adds hundreds of MB. It goes on without when the import fails.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
