"""The captures that lie beside the project."""

from __future__ import annotations

import os
from pathlib import Path

from bot4_live.settings import PROJECT_ROOT

USABLE = (
    "binance_usdm/btcusdt_20240808.gz", "binance_spot/btcusdt_20240808.gz", "binance_spot/ethusdt_20240808.gz",
    "binance_coinm/btcusd_perp_20240808.gz",
)  # fmt: skip


def default_captures() -> list[Path]:
    """Return the Binance captures beside the project (or under BOT4_SHARED_DATA); empty where there are none."""
    root = Path(os.environ.get("BOT4_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data")) / "captures"
    return [path for name in USABLE if (path := root / name).is_file()]
