"""The Dagster code location: only composes what the domains define. Nothing heavy is imported here."""

from functools import lru_cache

import dagster as dg

from bot4_platform.defs import (
    candles,
    features,
    history,
    ingestion,
    lake,
    maintenance,
    operations,
    promotion,
    quality,
    sources,
    timescale,
    training,
    volatility,
)
from bot4_platform.resources import Bot4Resource

# In the order of the data's way.
DOMAINS = (
    ingestion,
    sources,
    lake,
    quality,
    candles,
    volatility,
    features,
    training,
    promotion,
    history,
    maintenance,
    timescale,
)


@lru_cache(maxsize=1)
def data_definitions() -> dg.Definitions:
    """Return what makes and checks data, without what watches over it: what a run in process takes."""
    return dg.Definitions.merge(
        *(domain.definitions() for domain in DOMAINS),
        dg.Definitions(resources={"bot4": Bot4Resource()}, executor=dg.in_process_executor),
    )


defs = dg.Definitions.merge(data_definitions(), operations.definitions(data_definitions()))
