"""X."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    return dg.Definitions()
