"""Which sealed segments a partition is made of, and reading them.

A segment's seal names its receive day and the exchange days within, the shift removed; so a partition knows its
segments without opening any. A segment without a seal is still being written and belongs to no partition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot4_live.events import MARKET_KINDS, Kind
from bot4_live.journal.layout import SEGMENT_BYTES, raw_name
from bot4_live.journal.reader import Segment, read_segment
from bot4_platform.archive.cache import bring_back
from bot4_platform.archive.stub import stub_path
from bot4_platform.partitions import MarketDay

# Kinds that say something of one instrument.
_OF_ONE = (*MARKET_KINDS, Kind.INSTRUMENT)


@dataclass(frozen=True)
class Seal:
    """What a sealed segment says of itself: `days` are exchange days, `kinds` counts records by kind."""

    path: Path
    markets: dict[str, int]  # each with the id that its records carry
    session: str
    first_seq: int
    last_seq: int
    first_recv_ns: int
    last_recv_ns: int
    shift_ns: int
    records: int
    size: int
    sha256: str
    receive_day: str
    days: tuple[str, ...]
    kinds: dict[int, int]

    def covers(self, day: str) -> bool:
        """Return whether the segment holds anything of `day`, by exchange time or, for what has none, as received."""
        return day in self.days or day == self.receive_day


def read_seal(path: Path) -> Seal:
    """Read one seal. Raises ValueError when it is not one."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        return Seal(
            path=path.with_name(path.name.removesuffix(".seal.json") + ".b4j"),
            markets=data.get("markets") or {data["market"]: 0},  # older seals name one market
            session=data["session"],
            first_seq=data["first_seq"],
            last_seq=data["last_seq"],
            first_recv_ns=data["first_recv_ns"],
            last_recv_ns=data["last_recv_ns"],
            shift_ns=data["shift_ns"],
            records=data["records"],
            size=data["bytes"],
            sha256=data["sha256"],
            receive_day=data["receive_day"],
            days=tuple(data["exchange_days"]),
            kinds={int(kind): count for kind, count in data["kinds"].items()},
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a seal ({error!r}); restore it from a backup") from error


def seals(journal_dir: Path, market: str | None = None) -> list[Seal]:
    """Return the seals of a journal in log order, of one market or of all. An absent journal has none."""
    found = [read_seal(path) for path in sorted(journal_dir.glob("seg-*.seal.json"))]
    return [seal for seal in found if market is None or market in seal.markets]


def seals_of(journal_dir: Path, part: MarketDay) -> list[Seal]:
    """Return the seals of the segments that a partition is read from, in log order.

    Raises FileNotFoundError when there is none: an empty day is never invented.
    """
    found = [seal for seal in seals(journal_dir, part.market) if seal.covers(part.day)]
    if not found:
        raise FileNotFoundError(
            f"no sealed segment in {journal_dir} holds {part.market} on {part.day}: record that day first, "
            "or end the session that records it so that its last segment is sealed"
        )
    return found


def segments(found: list[Seal]) -> Iterator[Segment]:
    """Read segments one at a time, at most SEGMENT_BYTES each. Raises ValueError when one is damaged.

    What lies in the archive is first put back in its place, with its frames.
    """
    for seal in found:
        _put_back(seal)
    return map(read, found)


def read(seal: Seal) -> Segment:
    """Read a sealed segment; one that lies in the archive is first put back in its place, with its frames.

    Raises ValueError when it is damaged.
    """
    if seal.size > SEGMENT_BYTES * 2:
        raise ValueError(f"{seal.path} has {seal.size} bytes, more than a segment may have")
    _put_back(seal)
    return read_segment(seal.path)


def archived(seal: Seal) -> bool:
    """Return whether a segment is in the archive and not here."""
    return not seal.path.is_file() and stub_path(seal.path).is_file()


def _put_back(seal: Seal) -> None:
    for path in (seal.path, raw_log(seal)):
        if not path.is_file() and stub_path(path).is_file():
            bring_back(path)


def raw_log(seal: Seal) -> Path:
    """Return the raw log beside a segment; it need not exist."""
    return seal.path.with_name(raw_name(int(seal.path.stem.removeprefix("seg-"))))


def count(seal: Seal, kind: int, market: str) -> int:
    """Return how many records of `kind` and `market` a segment holds; a seal of one market says it by itself."""
    if len(seal.markets) == 1:
        return seal.kinds.get(kind, 0)
    heads = read(seal).headers
    return int(((heads["kind"] == kind) & (heads["instrument"] == seal.markets[market])).sum())


def of_market(segment: Segment, market: str) -> np.ndarray:
    """Return a mask of the records that concern a market: its own, and those that concern all (time, session).

    Raises ValueError for a market that the segment does not hold.
    """
    ids = {name: number for number, name in segment.header.markets.items()}
    if market not in ids:
        raise ValueError(f"{segment.path} holds {', '.join(ids)}, not {market}")
    heads = segment.headers
    if len(ids) == 1:
        return np.ones(heads.size, bool)
    return (heads["instrument"] == ids[market]) | ~np.isin(heads["kind"], _OF_ONE)
