"""A user's own history, as `bot4 data import` takes it; docs/data.md. Nothing here mixes with what was recorded.

`event_ns` is when it happened (a candle is known when it ends), `created_ns` when it could be known: the same.
"""

from bot4_platform.tables.table import Table

TIMES = {"event_ns": "Int64", "created_ns": "Int64"}

IMPORTED = {
    "imported_candles": Table(
        "imported candles of any interval, by the day they begin on; `trades` is null where the file has none",
        {"open_ns": "Int64", "interval_s": "Int64", **TIMES, "open": "Int64", "high": "Int64", "low": "Int64",
         "close": "Int64", "volume": "Int64", "trades": "Int64"},
        ("interval_s", "open_ns"), ("interval_s", "open_ns"),
    ),
    "imported_trades": Table(
        "imported trades; `id` is the file's, or made of the row where the file has none; `sell`: the aggressor sold",
        {"id": "String", **TIMES, "price": "Int64", "qty": "Int64", "sell": "Boolean"},
        ("event_ns", "id"), ("id",),
    ),
    "imported_quotes": Table(
        "imported best bids and asks",
        {**TIMES, "bid_px": "Int64", "bid_qty": "Int64", "ask_px": "Int64", "ask_qty": "Int64"},
        ("event_ns", "bid_px", "bid_qty", "ask_px", "ask_qty"),
        ("event_ns", "bid_px", "bid_qty", "ask_px", "ask_qty"),
    ),
}  # fmt: skip
