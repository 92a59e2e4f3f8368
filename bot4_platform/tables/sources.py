"""Sources outside the journal. A row's `id` is unique in its table.

`event_ns` is when it happened, `created_ns` when it could be known (bot4_platform/sources/publication.py).
"""

from bot4_platform.tables.table import Table

UNITS = {"tick_e8": "Int64", "lot_e8": "Int64"}  # what the row is counted in, 1e-8 of the currency

SOURCES = {
    "source_quarantine": Table(
        "what sources sent that could not become rows; `raw` is its beginning, `raw_bytes` how much was read",
        {
            "id": "String", "source": "String", "rule": "String", "reason": "String", "raw": "Binary",
            "raw_bytes": "Int64", "first_seen": "Int64",
        },
        ("first_seen", "id"), ("id",),
    ),
    "history_candles_1m": Table(
        "one-minute candles as the venue gives them; never mixed with those of the journal. `id` is the minute's "
        "number, `event_ns` its end",
        {
            "id": "Int64", "minute_ns": "Int64", "event_ns": "Int64", "created_ns": "Int64", "open": "Int64",
            "high": "Int64", "low": "Int64", "close": "Int64", "volume": "Int64", **UNITS,
        },
        ("minute_ns",), ("id",),
    ),
    "history_trades": Table(
        "public trades as the venue gives them (Binance: aggregate trades); `sell`: the aggressor sold",
        {
            "id": "String", "event_ns": "Int64", "created_ns": "Int64", "price": "Int64", "qty": "Int64",
            "sell": "Boolean", **UNITS,
        },
        ("event_ns", "id"), ("id",),
    ),
    "history_funding": Table(
        "settled funding rates, a fraction a settlement: rate / 10 ** rate_decimals; `id` is its time in ms",
        {"id": "Int64", "event_ns": "Int64", "created_ns": "Int64", "rate": "Int64", "rate_decimals": "Int64"},
        ("event_ns",), ("id",),
    ),
    "history_gaps": Table(
        "minutes that history_candles_1m lacks: the first and the last of each gap, how many, and why",
        {
            "id": "Int64", "first_ns": "Int64", "last_ns": "Int64", "minutes": "Int64", "cause": "String",
            "asked": "Int64", "first_asked_ns": "Int64", "last_asked_ns": "Int64",
        },
        ("first_ns",), ("id",),
    ),
}  # fmt: skip
