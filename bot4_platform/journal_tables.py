"""From journal records to columns: all market events of one exchange day, and the quarantine.

The verdict of the feed is reused, never formed again: records flagged INVALID are left out, QUARANTINE records become
rows with their raw frame. Everything is gathered with numpy from the segment's bytes; no record is visited in Python
but the quarantined ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from bot4_live.events import HEADER_SIZE, Flag, Kind, Reason
from bot4_live.journal.reader import Segment
from bot4_platform.journal_source import of_market
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES


def slot(segment: Segment, rows: np.ndarray, index: int) -> np.ndarray:
    """Return slot `index` of the records at `rows` as int64 of shape (len(rows), 2)."""
    usable = segment.buffer[: segment.buffer.size // 16 * 16].view(np.int64).reshape(-1, 2)
    return usable[(segment.offsets[rows] + HEADER_SIZE) // 16 + index]


def event_ns(segment: Segment, heads: np.ndarray) -> np.ndarray:
    """Return the records' exchange time, the shift removed; of what the venue gave no time, that of its arrival."""
    return np.where(heads["exch_ns"] == 0, heads["recv_ns"], heads["exch_ns"]) - segment.header.shift_ns


def on_day(segment: Segment, kind: Kind, part: MarketDay) -> np.ndarray:
    """Return the rows of the market's valid records of `kind` whose time (`event_ns`) is on the day."""
    heads = segment.headers
    original = event_ns(segment, heads)
    good = (heads["kind"] == kind) & (heads["flags"] & Flag.INVALID == 0) & of_market(segment, part.market)
    return np.flatnonzero(good & (original >= part.start_ns) & (original < part.end_ns))


def trades(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's trades in one segment."""
    rows = on_day(segment, Kind.TRADE, part)
    heads, body = segment.headers[rows], slot(segment, rows, 0)
    return pl.DataFrame(
        event_columns(segment, rows)
        | {"trade_id": heads["a"], "price": body[:, 0], "qty": body[:, 1], "sell": heads["flags"] & Flag.SELL != 0}
    )


def quotes(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's best quotes in one segment."""
    rows = on_day(segment, Kind.BOOK_TICKER, part)
    bid, ask = slot(segment, rows, 0), slot(segment, rows, 1)
    return pl.DataFrame(
        event_columns(segment, rows)
        | {"update_id": segment.headers["a"][rows], "bid_px": bid[:, 0], "bid_qty": bid[:, 1]}
        | {"ask_px": ask[:, 0], "ask_qty": ask[:, 1]}
    )


def depth(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's depth diffs in one segment, one row a message."""
    rows = on_day(segment, Kind.DEPTH_DIFF, part)
    heads, body = segment.headers[rows], slot(segment, rows, 0)
    levels = (heads["length"].astype(np.int64) - HEADER_SIZE) // 16 - 1
    return pl.DataFrame(
        event_columns(segment, rows)
        | {"first_id": heads["a"], "last_id": heads["b"], "prev_id": body[:, 0]}
        | {"n_bids": body[:, 1], "n_asks": levels - body[:, 1]}
    )


def quarantine(segment: Segment, part: MarketDay, raw_log: Callable[[int], bytes]) -> pl.DataFrame:
    """Return the frames quarantined on the day (as received, the shift removed) in one segment.

    `raw_log` gives a frame's bytes by its raw_ref.
    """
    heads = segment.headers
    received = heads["recv_ns"] - segment.header.shift_ns
    refused = (heads["kind"] == Kind.QUARANTINE) & of_market(segment, part.market)
    rows = np.flatnonzero(refused & (received >= part.start_ns) & (received < part.end_ns))
    found = heads[rows]
    return pl.DataFrame(
        {
            "seq": found["seq"].astype(np.int64),
            "recv_ns": found["recv_ns"],
            "rule": [_rule(int(code)) for code in found["a"]],
            "stream": [str(int(code)) for code in found["b"]],
            "raw": [raw_log(int(ref)) if ref >= 0 else b"" for ref in found["c"]],
            "first_seen": found["recv_ns"] - segment.header.shift_ns,
        },
        schema=TABLES["quarantine"].schema(),
    )


def event_columns(segment: Segment, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns that every event has."""
    heads = segment.headers[rows]
    return {
        "seq": heads["seq"].astype(np.int64),
        "recv_ns": heads["recv_ns"],
        "exch_ns": event_ns(segment, heads),
    }


def _rule(code: int) -> str:
    return Reason(code).name if code in set(Reason) else f"REASON_{code}"
