"""Every table of the lake by name. Prices are ticks, quantities lots, times ns; integers stay integers.

A domain has a file here with a dict of its own; `TABLES` is all of them.
"""

from bot4_platform.tables.features import FEATURES
from bot4_platform.tables.imported import IMPORTED
from bot4_platform.tables.instruments import INSTRUMENTS
from bot4_platform.tables.market import MARKET
from bot4_platform.tables.marts import MARTS
from bot4_platform.tables.quality import QUALITY
from bot4_platform.tables.slow_sources import SLOW_SOURCES
from bot4_platform.tables.sources import SOURCES
from bot4_platform.tables.statements import STATEMENTS
from bot4_platform.tables.table import EVENT, Table
from bot4_platform.tables.volatility import VOLATILITY

TABLES: dict[str, Table] = {
    **FEATURES,
    **IMPORTED,
    **INSTRUMENTS,
    **MARKET,
    **MARTS,
    **QUALITY,
    **SLOW_SOURCES,
    **SOURCES,
    **STATEMENTS,
    **VOLATILITY,
}

__all__ = ["EVENT", "TABLES", "Table"]
