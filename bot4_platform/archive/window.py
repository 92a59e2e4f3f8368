"""What may go to the archive: whole days older than the newest `days` of their market, and sealed segments likewise.

The window is counted from the newest day that a market has, not from today: training wants the last 160 days there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from bot4_platform.journal_source import Seal, raw_log, seals
from bot4_platform.lake import Lake
from bot4_platform.retention.rules import RULES

# Ledgers of a few rows, read over all days.
STAYS = ("raw_segments",)


@dataclass(frozen=True)
class Candidate:
    """A local file that may go: `what` for people, the day it is of, its folder in the archive."""

    path: Path
    what: str
    day: str
    folder: str
    table: str = ""
    market: str = ""


def candidates(lake: Lake, journal_dir: Path, days: int) -> Iterator[Candidate]:
    """Yield what is older than the window and still lies here, oldest first of each table."""
    newest = newest_days(lake)
    for table in sorted(lake.tables()):
        if table in STAYS or (table in RULES and RULES[table].span == "scratch"):
            continue
        for day, market in lake.partitions(table):
            path = lake.path(table, day, market)
            if day and day <= before(newest[market], days) and path.is_file():
                folder = f"lake/{table}/day={day}/{path.parent.name}"
                yield Candidate(path, f"{table} {day} {market}", day, folder, table, market)
    found = [seal for seal in seals(journal_dir) if seal.records]
    if not found:
        return
    limit = before(max(last_day(seal) for seal in found), days)
    for seal in found[:-1]:
        if last_day(seal) <= limit:
            for path in (raw_log(seal), seal.path):  # the frames first, which the records refer to
                if path.is_file():
                    yield Candidate(path, f"journal {path.name}", last_day(seal), "journal")


def newest_days(lake: Lake) -> dict[str, str]:
    """Return the newest day of each market, over all tables."""
    newest: dict[str, str] = {}
    for table in lake.tables():
        for day, market in lake.partitions(table):
            newest[market] = max(newest.get(market, ""), day)
    return newest


def last_day(seal: Seal) -> str:
    """Return the last day, by receive or exchange time, that a segment holds something of."""
    return max(seal.receive_day, *seal.days)


def before(newest: str, days: int) -> str:
    """Return the newest day outside a window of `days` that ends with `newest`."""
    return (date.fromisoformat(newest) - timedelta(days=days)).isoformat()
