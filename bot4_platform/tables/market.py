"""The journal's market events as rows, and the ledger of the segments that they come from.

`exch_ns` is original exchange time: the journal's `exch_ns` less the session's shift; where the venue gives none (best
quotes of Binance spot), it is the time of arrival. `recv_ns` is the engine clock
as journaled. A row's `seq` is its event's.
"""

from bot4_platform.tables.table import EVENT, Table

MARKET = {
    "raw_segments": Table(
        "sealed journal segments by receive day",
        {
            "first_seq": "Int64", "last_seq": "Int64", "first_recv_ns": "Int64", "last_recv_ns": "Int64",
            "shift_ns": "Int64", "records": "Int64", "bytes": "Int64", "sha256": "String", "file": "String",
            "session": "String", "days": "String",
        },
        ("first_seq",), ("first_seq",),
    ),
    "trades": Table(
        "public trades; `sell`: the aggressor sold; `trade_id` is negative where the venue numbers none",
        {**EVENT, "trade_id": "Int64", "price": "Int64", "qty": "Int64", "sell": "Boolean"},
        ("seq",), ("trade_id",),
    ),
    "quotes": Table(
        "best bid and ask",
        {**EVENT, "update_id": "Int64", "bid_px": "Int64", "bid_qty": "Int64", "ask_px": "Int64", "ask_qty": "Int64"},
        ("seq",), ("seq",),
    ),
    "depth": Table(
        "depth diffs, one row a message",
        {**EVENT, "first_id": "Int64", "last_id": "Int64", "prev_id": "Int64", "n_bids": "Int64", "n_asks": "Int64"},
        ("seq",), ("last_id", "exch_ns"),
    ),
    "quarantine": Table(
        "frames that could not become events",
        {"seq": "Int64", "recv_ns": "Int64", "rule": "String", "stream": "String", "raw": "Binary",
         "first_seen": "Int64"},
        ("seq",), ("seq",),
    ),
}  # fmt: skip
