"""Which segments a partition of ticks still lacks, so that an open day costs what is new and not the day again.

The files of a tick table name the segments they were made of. What was sealed since is read alone and appended where
that gives what reading the whole day gives: it comes after all that is there, no second session began on the day (what
two sessions saw of an event without an id is only told apart with both at hand), and the venue numbers its trades.
Otherwise the day is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot4_live.events import Kind
from bot4_platform.journal_source import Seal
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay

if TYPE_CHECKING:
    import polars as pl


def names_of(seals: Sequence[Seal], code_version: str) -> list[str]:
    """Return the names by which files say that they were made of these segments, by this version of the code."""
    return [f"{code_version}:{seal.sha256}" for seal in seals]


def lacking(lake: Lake, part: MarketDay, seals: list[Seal], code_version: str) -> list[Seal] | None:
    """Return the segments of `seals` (all of the partition, in log order) that some tick table lacks.

    None when the day has to be read as a whole.
    """
    from bot4_platform.journal_ticks import NAMES

    if any(seal.kinds.get(Kind.SESSION) for seal in seals[1:]):
        return None
    names = names_of(seals, code_version)
    there = [set(lake.sources(table, *part)) for table in NAMES]
    if not all(there) or not set().union(*there) <= set(names):
        return None
    folded = set.intersection(*there)
    known = [name in folded for name in names]
    first = known.index(False) if False in known else len(known)
    return None if any(known[first:]) else seals[first:]


def appendable(frames: dict[str, pl.DataFrame]) -> bool:
    """Return whether tables of some segments may be added to those of the segments before; not the ids that we give."""
    return not (frames["trades"]["trade_id"] < 0).any()


def keys_of(table: str, frame: pl.DataFrame) -> list[str]:
    """Return by which columns a row of one session is told from all before it."""
    from bot4_platform.journal_ticks import KEYS

    key = KEYS[table]
    if key is None or (table == "quotes" and (frame["update_id"] == 0).any()):
        return ["seq"]
    return key
