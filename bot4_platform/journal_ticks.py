"""One exchange day of a market out of its segments: every tick table, without what a second session saw again.

The venue's ids say what is the same event. Where a venue has none, its time and content do: the n-th identical event
of one session is the n-th of another, so that nothing is lost to a twin.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from bot4_live.events import Kind
from bot4_live.journal.raw_log import RawReader
from bot4_live.journal.reader import Segment
from bot4_platform import journal_statements, journal_tables
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES

# Columns by which an event is told from all others; None: all of it but its place in the log and its arrival.
KEYS: dict[str, list[str] | None] = {
    "trades": ["trade_id"],
    "quotes": ["update_id", "bid_px", "bid_qty", "ask_px", "ask_qty"],
    "depth": ["last_id", "exch_ns"],  # some venues number their updates anew on each connection
    "quarantine": ["seq"],
    "funding": None,
    "liquidations": None,
    "tickers": None,
}
NAMES = tuple(KEYS)
_UNNUMBERED = {"trades": "trade_id", "quotes": "update_id"}  # 0 where the venue has no id
_NOT_SAID = ("seq", "recv_ns", "large")  # by the venue: ours, and may differ between sessions
_SESSION, _TWIN = "_session", "_twin"


def ticks(segments: Iterable[Segment], part: MarketDay, journal_dir: Path) -> dict[str, pl.DataFrame]:
    """Return all tick tables of one partition. Of what came twice the first in log order is kept.

    Trades that the venue did not number get negative ids here, in order of (exchange time, log).
    """
    raw = RawReader(journal_dir)
    frames = {name: [TABLES[name].empty().with_columns(pl.lit(0, pl.Int32).alias(_SESSION))] for name in NAMES}
    session = 0
    for segment in segments:
        session += bool((segment.headers["kind"] == Kind.SESSION).any())
        read = {
            "trades": journal_tables.trades(segment, part),
            "quotes": journal_tables.quotes(segment, part),
            "depth": journal_tables.depth(segment, part),
            "quarantine": journal_tables.quarantine(segment, part, lambda ref: raw.get(ref).raw),
            "funding": journal_statements.funding(segment, part),
            "liquidations": journal_statements.liquidations(segment, part),
            "tickers": journal_statements.tickers(segment, part),
        }
        for name, frame in read.items():
            frames[name].append(frame.with_columns(pl.lit(session, pl.Int32).alias(_SESSION)))
    return {name: _once(name, pl.concat(found)) for name, found in frames.items()}


def _once(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    content = [column for column in TABLES[name].columns if column not in _NOT_SAID]
    key = KEYS[name]
    if key is not None and name not in _UNNUMBERED:
        return _first(frame, key)
    number = pl.col(_UNNUMBERED[name]) if key is not None else pl.lit(0, pl.Int64)
    twin = pl.int_range(pl.len()).over([_SESSION, *content]).alias(_TWIN)
    bare = _first(frame.filter(number == 0).with_columns(twin), [*content, _TWIN]).drop(_TWIN)
    if name == "trades":
        # Ids -n .. -1 in order of (exchange time, log): no venue's, and in order as a venue's are.
        rank = pl.struct("exch_ns", "seq").rank("ordinal").cast(pl.Int64)
        bare = bare.with_columns((rank - bare.height - 1).alias("trade_id"))
    return bare if key is None else pl.concat([_first(frame.filter(number != 0), key), bare])


def _first(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return frame.unique(key, keep="first", maintain_order=True).drop(_SESSION)
