"""What a failed step says: the first cause, on one line."""

from __future__ import annotations

from typing import Any


def first_cause(error: Any) -> str:
    """Return the message of the error that the others came of; `error` is Dagster's, or None."""
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join((error.message if error else "unknown").split())
