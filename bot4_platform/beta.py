"""Parts of Dagster we use that it still calls beta or preview: the lock pins them, a snapshot test guards them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def beta() -> Iterator[None]:
    """Silence the beta and preview warnings of what is built within."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield
