"""Every suite: at least one a table of the lake, judged as a blocking check and shown in Data Docs."""

from bot4_platform.quality.suites.derived import DERIVED
from bot4_platform.quality.suites.market import MARKET
from bot4_platform.quality.suites.marts import MARTS
from bot4_platform.quality.suites.sources import SOURCES
from bot4_platform.quality.suites.suite import Expectation, Suite

SUITES: tuple[Suite, ...] = (*MARKET, *DERIVED, *MARTS, *SOURCES)

__all__ = ["SUITES", "Expectation", "Suite"]
