"""Candles made of the journal's trades."""

from bot4_platform.tables.table import Table

CANDLES = {
    "candles_1m": Table(
        "one-minute candles; VWAP = vwap_num / vwap_den in ticks",
        {"minute_ns": "Int64", "open": "Int64", "high": "Int64", "low": "Int64", "close": "Int64", "volume": "Int64",
         "vwap_num": "Int64", "vwap_den": "Int64", "trades": "Int64"},
        ("minute_ns",), ("minute_ns",),
    ),
}  # fmt: skip
