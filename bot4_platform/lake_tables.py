"""Columns, types and order of the lake's tables. Prices are ticks, quantities lots, times ns; integers stay integers.

`exch_ns` is original exchange time: the journal's `exch_ns` less the session's shift. `recv_ns` is the engine clock
as journaled. A row's `seq` is its event's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot4_live.features.registry import NAMES

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Table:
    """A table: what a row is, its columns with polars' names of types, the order of rows, and what is unique."""

    title: str
    columns: dict[str, str]
    order: tuple[str, ...]
    unique: tuple[str, ...]

    def schema(self) -> pl.Schema:
        """Return the columns as a polars schema."""
        import polars as pl

        return pl.Schema({name: getattr(pl, kind) for name, kind in self.columns.items()})

    def empty(self) -> pl.DataFrame:
        """Return the table without rows."""
        import polars as pl

        return pl.DataFrame(schema=self.schema())

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` sorted. Raises ValueError when its columns or types are not this table's."""
        if dict(frame.schema) != dict(self.schema()):
            have = {name: str(kind) for name, kind in frame.schema.items()}
            wrong = sorted(name for name in self.columns | have if str(have.get(name)) != str(self.columns.get(name)))
            raise ValueError(f"{self.title}: wrong columns or types: {', '.join(wrong)}")
        return frame.select(list(self.columns)).sort(self.order)


EVENT = {"seq": "Int64", "recv_ns": "Int64", "exch_ns": "Int64"}

TABLES = {
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
        "public trades; `sell`: the aggressor sold",
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
        ("seq",), ("last_id",),
    ),
    "quarantine": Table(
        "frames that could not become events",
        {"seq": "Int64", "recv_ns": "Int64", "rule": "String", "stream": "String", "raw": "Binary",
         "first_seen": "Int64"},
        ("seq",), ("seq",),
    ),
    "features": Table(
        "fast features on a grid of 100 ms of the engine clock; `mid` in quote currency, null while there is no book",
        {**EVENT, "valid": "Boolean", "mid2": "Int64", "mid": "Float64"} | dict.fromkeys(NAMES, "Float64"),
        ("seq",), ("seq",),
    ),
    "feature_state": Table(
        "book and feature state after the last event of a day",
        {"last_seq": "Int64", "state": "Binary"},
        ("last_seq",), ("last_seq",),
    ),
    "minute_profiles": Table(
        "what a minute of one market looked like, by exchange time",
        {
            "minute_ns": "Int64", "trades": "Int64", "quotes": "Int64", "diffs": "Int64", "sells": "Int64",
            "lots": "Int64", "spread_bp_median": "Float64", "spread_bp_max": "Float64", "range_bp": "Float64",
            "quote_gap_ms_max": "Float64", "latency_ms_median": "Float64", "diff_levels_max": "Int64",
        },
        ("minute_ns",), ("minute_ns",),
    ),
    "candles_1m": Table(
        "one-minute candles; VWAP = vwap_num / vwap_den in ticks",
        {"minute_ns": "Int64", "open": "Int64", "high": "Int64", "low": "Int64", "close": "Int64", "volume": "Int64",
         "vwap_num": "Int64", "vwap_den": "Int64", "trades": "Int64"},
        ("minute_ns",), ("minute_ns",),
    ),
}  # fmt: skip
