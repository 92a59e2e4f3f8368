"""Liquidations worth a threshold: the feed marks them (Flag.LARGE), so that every reader of the log agrees on which."""

from __future__ import annotations

import numpy as np

from bot4_live.events import Flag, Kind, header_of, slots_of
from bot4_live.instrument import Instrument

LARGE_LIQUIDATION_USD = 100_000


def is_large(instrument: Instrument, lots: int, ticks: int, threshold_usd: float) -> bool:
    """Return whether a liquidation is worth the threshold; dollars of a stablecoin count as dollars.

    Contracts are counted by their value (Instrument.contract_e8). What a venue sends is a lower bound: Binance and OKX
    tell of at most one a second and symbol.
    """
    return instrument.notional(lots, ticks) >= threshold_usd


def mark_large(record: np.ndarray, instrument: Instrument, threshold_usd: float) -> bool:
    """Set Flag.LARGE on a LIQUIDATION that is one; return whether it is. Other kinds are left alone."""
    head = header_of(record)
    if head["kind"] != Kind.LIQUIDATION:
        return False
    ticks, lots = (int(v) for v in slots_of(record)[0])
    large = is_large(instrument, lots, ticks, threshold_usd)
    if large:
        head["flags"] = int(head["flags"]) | Flag.LARGE
    return large
