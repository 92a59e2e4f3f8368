"""Gaps: minutes that history lacks. Each is a row with a cause, and none is ever filled.

`unconfirmed`: the venue was asked once, and gave what lies around it: its outage, or a loss on our way. `venue`: it was
asked again later and still has nothing; sooner than that nobody asks. `quarantined`: something came for the minute and
was no candle. `out_of_reach`: the venue answered with later minutes only, as those do whose history is short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bot4_platform.lake import Lake

if TYPE_CHECKING:
    import polars as pl

MINUTE_NS = 60_000_000_000
TABLE, CANDLES = "history_gaps", "history_candles_1m"
UNCONFIRMED, VENUE, QUARANTINED, OUT_OF_REACH = "unconfirmed", "venue", "quarantined", "out_of_reach"


@dataclass(frozen=True)
class Gap:
    """Missing minutes in a row, both ends within; times in ns. `asked` is how often the venue was asked for them."""

    first_ns: int
    last_ns: int
    cause: str
    asked: int = 1
    first_asked_ns: int = 0
    last_asked_ns: int = 0

    @property
    def minutes(self) -> int:
        """Return how many minutes are missing."""
        return (self.last_ns - self.first_ns) // MINUTE_NS + 1

    def span(self) -> range:
        """Return its minutes."""
        return range(self.first_ns, self.last_ns + 1, MINUTE_NS)

    def row(self) -> dict[str, int | str]:
        """Return its row of `history_gaps`."""
        return {
            "id": self.first_ns // MINUTE_NS, "first_ns": self.first_ns, "last_ns": self.last_ns,
            "minutes": self.minutes, "cause": self.cause, "asked": self.asked,
            "first_asked_ns": self.first_asked_ns, "last_asked_ns": self.last_asked_ns,
        }  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked now: when, after how long a gap is the venue's, and the minutes for which something else came."""

    now_ns: int
    confirm_after_ns: int = 0
    rejected: frozenset[int] = frozenset()  # no candle
    beyond: frozenset[int] = frozenset()  # only later ones

    def cause(self, at: int) -> str:
        """Return what is known of a minute by what came for it, "" when nothing did."""
        return QUARANTINED if at in self.rejected else OUT_OF_REACH if at in self.beyond else ""

    def settled(self, gap: Gap) -> bool:
        """Return whether it is too soon to ask after a gap again; what was quarantined is asked for every time."""
        return gap.cause != QUARANTINED and self.now_ns - gap.last_asked_ns < self.confirm_after_ns


def find_gaps(minutes: Iterable[int], first_ns: int, to_ns: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of minutes missing in [first_ns, to_ns), given those that are there."""
    wanted = first_ns
    for minute in sorted(set(minutes)):
        if minute < first_ns or minute >= to_ns:
            continue
        if minute > wanted:
            yield wanted, minute - MINUTE_NS
        wanted = minute + MINUTE_NS
    if wanted < to_ns:
        yield wanted, to_ns - MINUTE_NS


def judge(minutes: Iterable[int], first_ns: int, to_ns: int, known: list[Gap], question: Question) -> list[Gap]:
    """Return the gaps of a day after the venue was asked for those not settled, by what was known before."""
    before = {at: gap for gap in known for at in gap.span()}
    found: list[Gap] = []
    for first, last in find_gaps(minutes, first_ns, to_ns):
        for at in range(first, last + 1, MINUTE_NS):
            gap = _judge_minute(at, before.get(at), question)
            if found and found[-1].last_ns == at - MINUTE_NS and replace(found[-1], first_ns=at, last_ns=at) == gap:
                found[-1] = replace(found[-1], last_ns=at)
            else:
                found.append(gap)
    return found


def _judge_minute(at: int, before: Gap | None, question: Question) -> Gap:
    now = question.now_ns
    if before is None:
        return Gap(at, at, question.cause(at) or UNCONFIRMED, 1, now, now)
    if question.settled(before):
        return replace(before, first_ns=at, last_ns=at)
    cause = question.cause(at) or VENUE  # asked again, long enough after, and nothing still
    return Gap(at, at, cause, before.asked + 1, before.first_asked_ns, now)


def read_gaps(lake: Lake, day: str, market: str) -> list[Gap]:
    """Return the gaps of a day as they were left."""
    if not lake.exists(TABLE, day, market):
        return []
    names = ("first_ns", "last_ns", "cause", "asked", "first_asked_ns", "last_asked_ns")
    return [Gap(*row) for row in lake.read(TABLE, day, market).select(names).iter_rows()]


def gap_frame(gaps: Iterable[Gap]) -> pl.DataFrame:
    """Return gaps as rows of the table."""
    import polars as pl

    from bot4_platform.tables import TABLES

    return pl.DataFrame([gap.row() for gap in gaps], schema=TABLES[TABLE].schema())


@dataclass(frozen=True)
class Report:
    """All gaps of a market between its first and its last candle, those over midnight joined."""

    market: str
    days: int
    candles: int
    gaps: tuple[Gap, ...]
    unasked_days: tuple[str, ...]  # between the first and the last, that nobody has fetched

    @property
    def minutes(self) -> int:
        """Return how many minutes are missing in all gaps."""
        return sum(gap.minutes for gap in self.gaps)


def report(lake: Lake, market: str) -> Report:
    """Return the gaps of all days in the lake. Raises FileNotFoundError when the market has no history."""
    from bot4_live.clock import day_of, day_start_ns

    frame = lake.read(CANDLES, None, market, columns=["minute_ns"])
    days = [day for day, _ in lake.partitions(CANDLES, market)]
    minutes = frame["minute_ns"]
    first, last = minutes.min(), minutes.max()
    gaps: list[Gap] = []
    if isinstance(first, int) and isinstance(last, int):
        inside = (gap for day in days for gap in read_gaps(lake, day, market))
        for gap in sorted(inside, key=lambda gap: gap.first_ns):
            if not first < gap.first_ns < last:
                continue
            before = gaps[-1] if gaps else None
            if before is not None and before.last_ns + MINUTE_NS == gap.first_ns and before.cause == gap.cause:
                gaps[-1] = replace(before, last_ns=gap.last_ns, asked=min(before.asked, gap.asked))
            else:
                gaps.append(gap)
    spanned = {day_of(at) for at in range(day_start_ns(days[0]), day_start_ns(days[-1]) + 1, 1440 * MINUTE_NS)}
    return Report(market, len(days), frame.height, tuple(gaps), tuple(sorted(spanned - set(days))))
