"""From journal records to columns: trades, quotes, depth and quarantine of one exchange day.

The verdict of the feed is reused, never formed again: records flagged INVALID are left out, QUARANTINE records become
rows with their raw frame. Everything is gathered with numpy from the segment's bytes; no record is visited in Python
but the quarantined ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl

from bot4_live.events import HEADER_SIZE, Flag, Kind, Reason
from bot4_live.journal.raw_log import RawReader
from bot4_live.journal.reader import Segment
from bot4_platform.journal_source import of_market
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES


def slot(segment: Segment, rows: np.ndarray, index: int) -> np.ndarray:
    """Return slot `index` of the records at `rows` as int64 of shape (len(rows), 2)."""
    usable = segment.buffer[: segment.buffer.size // 16 * 16].view(np.int64).reshape(-1, 2)
    return usable[(segment.offsets[rows] + HEADER_SIZE) // 16 + index]


def on_day(segment: Segment, kind: Kind, part: MarketDay) -> np.ndarray:
    """Return the rows of the market's valid records of `kind` whose exchange time, the shift removed, is on the day."""
    heads = segment.headers
    original = heads["exch_ns"] - segment.header.shift_ns
    good = (heads["kind"] == kind) & (heads["flags"] & Flag.INVALID == 0) & of_market(segment, part.market)
    return np.flatnonzero(good & (original >= part.start_ns) & (original < part.end_ns))


def trades(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's trades in one segment."""
    rows = on_day(segment, Kind.TRADE, part)
    heads, body = segment.headers[rows], slot(segment, rows, 0)
    return pl.DataFrame(
        _event(segment, rows)
        | {"trade_id": heads["a"], "price": body[:, 0], "qty": body[:, 1], "sell": heads["flags"] & Flag.SELL != 0}
    )


def quotes(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's best quotes in one segment."""
    rows = on_day(segment, Kind.BOOK_TICKER, part)
    bid, ask = slot(segment, rows, 0), slot(segment, rows, 1)
    return pl.DataFrame(
        _event(segment, rows)
        | {"update_id": segment.headers["a"][rows], "bid_px": bid[:, 0], "bid_qty": bid[:, 1]}
        | {"ask_px": ask[:, 0], "ask_qty": ask[:, 1]}
    )


def depth(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's depth diffs in one segment, one row a message."""
    rows = on_day(segment, Kind.DEPTH_DIFF, part)
    heads, body = segment.headers[rows], slot(segment, rows, 0)
    levels = (heads["length"].astype(np.int64) - HEADER_SIZE) // 16 - 1
    return pl.DataFrame(
        _event(segment, rows)
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


def ticks(segments: Iterable[Segment], part: MarketDay, journal_dir: Path) -> dict[str, pl.DataFrame]:
    """Return trades, quotes, depth and quarantine of one partition, without what a second session saw again.

    The venue's ids say what is the same event: trade id; update id with its four numbers; last update id of a diff.
    The first in log order is kept.
    """
    raw = RawReader(journal_dir)
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in ("trades", "quotes", "depth", "quarantine")}
    for segment in segments:
        frames["trades"].append(trades(segment, part))
        frames["quotes"].append(quotes(segment, part))
        frames["depth"].append(depth(segment, part))
        frames["quarantine"].append(quarantine(segment, part, lambda ref: raw.get(ref).raw))
    keys = {
        "trades": ["trade_id"],
        "quotes": ["update_id", "bid_px", "bid_qty", "ask_px", "ask_qty"],
        "depth": ["last_id"],
        "quarantine": ["seq"],
    }
    return {
        name: pl.concat([TABLES[name].empty(), *parts]).unique(keys[name], keep="first", maintain_order=True)
        for name, parts in frames.items()
    }


def _event(segment: Segment, rows: np.ndarray) -> dict[str, np.ndarray]:
    heads = segment.headers[rows]
    return {
        "seq": heads["seq"].astype(np.int64),
        "recv_ns": heads["recv_ns"],
        "exch_ns": heads["exch_ns"] - segment.header.shift_ns,
    }


def _rule(code: int) -> str:
    return Reason(code).name if code in set(Reason) else f"REASON_{code}"
