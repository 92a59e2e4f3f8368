"""Generated market-days with everything that candles could get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bot4_platform.partitions import MarketDay

PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")


def trades_of_a_day(rows: int, seed: int, part: MarketDay = PART) -> pl.DataFrame:
    """Return trades of the lake's columns, in order of arrival: equal times, ids against time, late ones, gaps."""
    random = np.random.default_rng(seed)
    span = part.end_ns - part.start_ns
    # A quarter of the trades share their time with others; hours without any; both ends of the day.
    times = random.integers(0, span, rows)
    times[: rows // 4] = random.choice(times[rows // 4 :], rows // 4)
    times[times // (3600 * 10**9) == 7] %= 3600 * 10**9
    times[:2] = 0, span - 1
    frame = pl.DataFrame(
        {
            "seq": np.arange(1, rows + 1),
            "recv_ns": part.start_ns + times + random.integers(0, 10**9, rows),
            "exch_ns": part.start_ns + times,
            "trade_id": random.permutation(rows) + 1,
            "price": random.integers(500_000, 600_000, rows),
            "qty": random.integers(1, 10**6, rows),
            "sell": random.random(rows) < 0.5,
        }
    )
    return frame.sort("recv_ns")


def instrument_of(path: Path) -> Any:
    """Return the instrument of a recorded Binance capture."""
    from dataclasses import replace

    from bot4_live.instrument import BTCUSDT_USDM, E8

    venue, symbol = path.parent.name, path.stem.rpartition("_")[0].upper()
    if venue == "binance_spot":
        return replace(BTCUSDT_USDM, venue=venue, symbol=symbol, tick_e8=E8 // 100, lot_e8=E8 // 100_000, qty_digits=5)
    if venue == "binance_coinm":
        return replace(BTCUSDT_USDM, venue=venue, symbol=symbol, lot_e8=E8, qty_digits=0, price_digits=1)
    return BTCUSDT_USDM
