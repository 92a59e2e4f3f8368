"""Whether the database's candles are those of the lake: every integer of every level, and none too few or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot4_platform.candle_reference import COLUMNS, INTERVALS, differences, reference_candles
from bot4_platform.timescale.connection import connect

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.partitions import MarketDay
    from bot4_platform.timescale.settings import PostgresSettings


def read_candles(settings: PostgresSettings, interval: str, part: MarketDay) -> pl.DataFrame:
    """Return the database's candles of a market-day, columns as `candle_reference.COLUMNS`.

    Raises as `connection.connect` does.
    """
    import polars as pl

    exchange, _, symbol = part.market.partition(":")
    with connect(settings) as db, db.cursor() as cursor:
        cursor.execute(
            f"select {', '.join(COLUMNS)} from market.candles_{interval}"
            " where symbol = %s and exchange = %s and start_ns >= %s and start_ns < %s",
            (symbol, exchange, part.start_ns, part.end_ns),
        )
        return pl.DataFrame(cursor.fetchall(), schema=dict.fromkeys(COLUMNS, pl.Int64), orient="row")


def compare(
    settings: PostgresSettings, part: MarketDay, trades: pl.DataFrame, minutes: pl.DataFrame
) -> dict[str, list]:
    """Return what differs by level, at most ten lines each; every list is empty when all is equal.

    `trades` and `minutes` are the lake's trades and candles_1m of the market-day: minutes are compared with the candles
    that training reads, the levels above with candles formed from the trades in plain Polars.
    """
    found = {name: read_candles(settings, name, part) for name in INTERVALS}
    wanted = {name: minutes if name == "1m" else reference_candles(trades, name) for name in INTERVALS}
    return {name: differences(found[name], wanted[name]) for name in INTERVALS}
