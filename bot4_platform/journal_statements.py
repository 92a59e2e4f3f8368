"""What venues state beside trades and books: funding, liquidations, tickers of one exchange day, as columns.

Numbers without a tick arrive as value slots (`bot4_live.events.value_slot`) and stay what they are: their digits as
an integer and the number of decimals, `digits / 10 ** decimals`. Nothing becomes a double here.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from bot4_live.events import HEADER_SIZE, SLOT_SIZE, Field, Flag, Kind
from bot4_live.journal.reader import Segment
from bot4_platform.journal_tables import event_columns, on_day, slot
from bot4_platform.partitions import MarketDay
from bot4_platform.tables.statements import FUNDING_VALUES, LIQUIDATION_VALUES

_FIELD_MASK, _FIELD_BITS = (1 << 16) - 1, 16


def funding(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's funding statements in one segment; a value that was not stated is null."""
    rows = on_day(segment, Kind.FUNDING, part)
    return pl.DataFrame(
        event_columns(segment, rows) | {"next_ns": _shifted(segment, segment.headers["a"][rows])}
    ).with_columns(_wide(segment, rows, 0, FUNDING_VALUES))


def liquidations(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's liquidations in one segment; the record's first slot is price and quantity."""
    rows = on_day(segment, Kind.LIQUIDATION, part)
    heads, body = segment.headers[rows], slot(segment, rows, 0)
    return pl.DataFrame(
        event_columns(segment, rows)
        | {"trade_id": heads["a"], "price": body[:, 0], "qty": body[:, 1]}
        | {"sell": heads["flags"] & Flag.SELL != 0, "large": heads["flags"] & Flag.LARGE != 0}
    ).with_columns(_wide(segment, rows, 1, LIQUIDATION_VALUES))


def tickers(segment: Segment, part: MarketDay) -> pl.DataFrame:
    """Return the day's tickers in one segment, one row a stated value."""
    rows = on_day(segment, Kind.TICKER, part)
    at, field, decimals, digits = _values(segment, rows, 0)
    names = np.array([_name(code) for code in range(int(field.max(initial=0)) + 1)])
    columns = {name: column[at] for name, column in event_columns(segment, rows).items()}
    return pl.DataFrame(
        columns
        | {"trade_id": segment.headers["a"][rows][at]}
        | {"field": pl.Series(names[field], dtype=pl.String), "digits": digits, "decimals": decimals}
    )


def homeless_values(segment: Segment, part: MarketDay) -> dict[str, int]:
    """Return how many values the day's records state that no column takes, by table; `tickers` takes all."""
    rows = {"funding": (Kind.FUNDING, 0, FUNDING_VALUES), "liquidations": (Kind.LIQUIDATION, 1, LIQUIDATION_VALUES)}
    found = {}
    for name, (kind, first, fields) in rows.items():
        field = _values(segment, on_day(segment, kind, part), first)[1]
        found[name] = int((~np.isin(field, [Field[name] for name in fields.values()])).sum())
    return found


def _values(segment: Segment, rows: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (row, field, decimals, digits), int64 of one length, of every value slot from slot `first` on."""
    lengths = segment.headers["length"][rows].astype(np.int64)
    counts = (lengths - HEADER_SIZE) // SLOT_SIZE - first
    at = np.repeat(np.arange(rows.size, dtype=np.int64), counts)
    number = np.arange(at.size, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    usable = segment.buffer[: segment.buffer.size // SLOT_SIZE * SLOT_SIZE].view(np.int64).reshape(-1, 2)
    found = usable[(segment.offsets[rows][at].astype(np.int64) + HEADER_SIZE) // SLOT_SIZE + first + number]
    return at, found[:, 0] & _FIELD_MASK, found[:, 0] >> _FIELD_BITS, found[:, 1]


def _wide(segment: Segment, rows: np.ndarray, first: int, fields: dict[str, str]) -> list[pl.Series]:
    """Return two columns for each of `fields`, digits and decimals, null where a record does not state it."""
    at, field, decimals, digits = _values(segment, rows, first)
    columns = []
    for name, code in fields.items():
        stated = field == Field[code]
        there = np.zeros(rows.size, bool)
        there[at[stated]] = True
        for suffix, numbers in (("", digits), ("_decimals", decimals)):
            values = np.zeros(rows.size, np.int64)
            values[at[stated]] = numbers[stated]
            columns.append(pl.Series(name + suffix, values).set(pl.Series(~there), None))
    return columns


def _shifted(segment: Segment, ns: np.ndarray) -> np.ndarray:
    """Return venue times without the session's shift; 0, which says that there is none, stays."""
    return np.where(ns == 0, 0, ns - segment.header.shift_ns)


def _name(code: int) -> str:
    return Field(code).name if code in set(Field) else f"FIELD_{code}"
