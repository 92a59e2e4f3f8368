"""Partitions: exchange day (UTC) x market.

Dagster takes two dimensions and orders them by name, so a key reads `2024-08-08|binance_usdm:BTCUSDT`.
`end_offset=1` makes today a partition.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import dagster as dg

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.settings import platform_settings

DAYS = dg.DailyPartitionsDefinition(start_date=platform_settings().day_start.isoformat(), timezone="UTC", end_offset=1)
MARKETS = dg.StaticPartitionsDefinition(list(platform_settings().markets))
MARKET_DAYS = dg.MultiPartitionsDefinition({"day": DAYS, "market": MARKETS})


class MarketDay(NamedTuple):
    """One partition: a UTC day of exchange time (`YYYY-MM-DD`) and a market (`venue:SYMBOL`)."""

    day: str
    market: str

    @property
    def key(self) -> dg.MultiPartitionKey:
        """Return Dagster's key of it."""
        return dg.MultiPartitionKey({"day": self.day, "market": self.market})

    @property
    def start_ns(self) -> int:
        """Return the first nanosecond of the day, UTC."""
        return day_start_ns(self.day)

    @property
    def end_ns(self) -> int:
        """Return the first nanosecond after the day."""
        return self.start_ns + DAY_NS

    def shifted(self, days: int) -> MarketDay:
        """Return the same market `days` later."""
        return MarketDay((date.fromisoformat(self.day) + timedelta(days)).isoformat(), self.market)


def parse_key(key: str) -> MarketDay:
    """Return the partition a key names. Raises ValueError for anything that is not `day|market`."""
    day, sep, market = key.partition("|")
    if not sep or ":" not in market:
        raise ValueError(f"partition {key!r} is not of the form YYYY-MM-DD|venue:SYMBOL")
    return MarketDay(date.fromisoformat(day).isoformat(), market)


def market_day(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> MarketDay:
    """Return the partition a step works on."""
    return parse_key(str(context.partition_key))
