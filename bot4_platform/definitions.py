"""The Dagster code location: only composes what the domains define. Nothing heavy is imported here."""

import dagster as dg

from bot4_platform.defs import (
    candles,
    features,
    history,
    ingestion,
    lake,
    maintenance,
    promotion,
    quality,
    sources,
    training,
    volatility,
)
from bot4_platform.resources import Bot4Resource

# In the order of the data's way.
DOMAINS = (ingestion, sources, lake, quality, candles, volatility, features, training, promotion, history, maintenance)

defs = dg.Definitions.merge(
    *(domain.definitions() for domain in DOMAINS),
    dg.Definitions(resources={"bot4": Bot4Resource()}, executor=dg.in_process_executor),
)
