"""Cross-venue agreement: two venues' mids of one asset, on the same seconds of exchange time.

Arbitrage keeps venues of a region close, far below 1 % on average (Makarov & Schoar 2020, Trading and arbitrage in
cryptocurrency markets, J. Financial Economics 135(2)); what is beyond BOUND_BP is a wrong scale, a wrong symbol or a
feed that stands still before it is a market. Spot, perpetuals and dollar stablecoins are compared with each other:
their basis is within the bound in ordinary markets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

if TYPE_CHECKING:
    import polars as pl

BOUND_BP = 100.0
FEWEST_S = 30  # seconds in common; fewer are shown and not judged
SHARE = 0.99  # of the seconds that must lie within the bound
_DOLLARS = re.compile(r"^([A-Z0-9]{2,10}?)(?:USDT|USDC|BUSD|FDUSD|USD)(?:PERP|SWAP|M)?$")
_ALIASES = {"XBT": "BTC", "XETH": "ETH"}


def asset_of(market: str) -> str | None:
    """Return the asset that a market quotes in dollars or a dollar stablecoin (BTC of kraken:XBTUSD), else None."""
    symbol = re.sub(r"[^A-Z0-9]", "", market.partition(":")[2])
    found = _DOLLARS.match(symbol)
    return _ALIASES.get(found[1], found[1]) if found else None


def agreement(lake: Lake, part: MarketDay) -> pl.DataFrame:
    """Return the table `venue_agreement` of a partition: a row for each other market of the same asset that day."""
    import polars as pl

    asset, spec = asset_of(part.market), TABLES["venue_agreement"]
    others = [
        market for day, market in lake.partitions("features")
        if day == part.day and market != part.market and asset is not None and asset_of(market) == asset
    ]  # fmt: skip
    mine, rows = mids(lake, part), []
    for other in others:
        both = mine.join(mids(lake, MarketDay(part.day, other)), on="second", suffix="_other")
        if both.height:
            bp = (both["mid"] / both["mid_other"] - 1) * 1e4
            within = float((bp.abs() <= BOUND_BP).mean())  # type: ignore[arg-type]
            rows.append((other, both.height, float(bp.median()), float(bp.abs().quantile(0.99)), within, BOUND_BP))  # type: ignore[arg-type]
    return spec.conform(pl.DataFrame(rows, schema=spec.schema(), orient="row"))


def mids(lake: Lake, part: MarketDay) -> pl.DataFrame:
    """Return the last mid (quote currency) of each second of exchange time, from the fast features.

    An event without a time of the venue's own (best quotes of Binance spot) has that of the event before it.
    """
    import polars as pl

    rows = lake.read("features", *part, columns=["exch_ns", "mid"])
    timed = rows.with_columns(pl.when(pl.col("exch_ns") > 0).then("exch_ns").forward_fill())
    known = timed.drop_nulls()
    return known.group_by((pl.col("exch_ns") // 10**9).alias("second")).agg(pl.col("mid").last()).sort("second")


def disagreeing(table: pl.DataFrame) -> list[str]:
    """Return the pairs that are out of bounds, in words."""
    judged = table.filter((table["seconds"] >= FEWEST_S) & (table["within"] < SHARE))
    return [
        f"{row['other']}: {row['bp_median']:+.1f} bp at the median, {row['within']:.1%} of {row['seconds']} seconds "
        f"within {row['bound_bp']:g} bp"
        for row in judged.iter_rows(named=True)
    ]
