"""The Dagster code location: only composes what the domains define. Nothing heavy is imported here."""

import importlib
import importlib.util

import dagster as dg

from bot4_platform.resources import Bot4Resource

# In the order of the data's way.
DOMAINS = (
    "ingestion",
    "lake",
    "quality",
    "candles",
    "features",
    "volatility",
    "training",
    "promotion",
)


def build() -> dg.Definitions:
    """Return every domain's definitions as one, with the account as the resource `bot4`, run in one process."""
    modules = [importlib.import_module(f"bot4_platform.defs.{name}") for name in DOMAINS if _there(name)]
    parts = [module.definitions() for module in modules if hasattr(module, "definitions")]
    shared = dg.Definitions(resources={"bot4": Bot4Resource()}, executor=dg.in_process_executor)
    return dg.Definitions.merge(*parts, shared)


def _there(name: str) -> bool:
    return importlib.util.find_spec(f"bot4_platform.defs.{name}") is not None


defs = build()
