"""One day of one-minute candles: asked for what the lake lacks, checked, added, and what still lacks reported."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot4_live.clock import day_start_ns
from bot4_platform.lake import Lake, Written
from bot4_platform.sources.errors import BadPage, SourceUnavailable
from bot4_platform.sources.exchange.client import HistoryClient, Units
from bot4_platform.sources.exchange.gaps import (
    CANDLES,
    MINUTE_NS,
    TABLE,
    Gap,
    Question,
    find_gaps,
    gap_frame,
    judge,
    read_gaps,
)
from bot4_platform.sources.exchange.rows import CandleRow, candle_rules, count
from bot4_platform.sources.publication import CANDLES as LAG
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.state import locked
from bot4_platform.sources.validation import Rejected, check_rows, rejected_page

MS = 1_000_000
DAY_MINUTES = 1440


@dataclass(frozen=True)
class CandleDay:
    """What a fetch left of a day: the partitions, new rows, gaps, what was quarantined, requests."""

    candles: Written
    gap_table: Written
    added: int
    gaps: list[Gap]
    rejected: list[Rejected]
    requests: int


def fetch_candles(
    lake: Lake, client: HistoryClient, day: str, market: str, *, confirm_after_s: float = 3600.0
) -> CandleDay:
    """Bring the closed minutes of a day into the lake. Minutes that are there are not asked for again and stay.

    The candles are replaced whole, then the gaps: killed in between, the next call finds the gaps again. Raises
    SourceUnavailable and SourceRefused, with the lake as it was.
    """
    import polars as pl

    from bot4_platform.tables import TABLES

    begun = client.requests
    units, now_ns = opened(lake, client, day, market)
    first = day_start_ns(day)
    to = min(first + DAY_MINUTES * MINUTE_NS, now_ns // MINUTE_NS * MINUTE_NS)
    with locked(lake, CANDLES, day, market):
        known = lake.read(CANDLES, day, market) if lake.exists(CANDLES, day, market) else TABLES[CANDLES].empty()
        have = set(known["minute_ns"].to_list())
        gaps_before, question = read_gaps(lake, day, market), Question(now_ns, int(confirm_after_s * 1e9))
        settled = {at for gap in gaps_before if question.settled(gap) for at in gap.span()}
        rows, rejected, spoiled, beyond = _ask(client, market, units, have | settled, (first, to), now_ns)
        new = pl.DataFrame(
            [_candle(row, units, now_ns) for at, row in rows.items() if at not in have], TABLES[CANDLES].schema()
        )
        kept = pl.concat([known, new])
        question = replace(question, rejected=frozenset(spoiled), beyond=frozenset(beyond))
        gaps = judge(kept["minute_ns"].to_list(), first, to, gaps_before, question)
        quarantine(lake, f"{client.venue.name}_candles", day, market, rejected, now_ns=now_ns)
        written = lake.write(CANDLES, day, market, kept)
        table = lake.write(TABLE, day, market, gap_frame(gaps))
    return CandleDay(written, table, new.height, gaps, rejected, client.requests - begun)


def opened(lake: Lake, client: HistoryClient, day: str, market: str) -> tuple[Units, int]:
    """Return the market's units and the venue's time. A page that is none is quarantined: SourceUnavailable."""
    try:
        return client.units(market), client.now_ns()
    except BadPage as page:
        source = f"{client.venue.name}_markets"
        quarantine(lake, source, day, market, [rejected_page(page)], now_ns=time.time_ns())
        raise SourceUnavailable(f"{client.venue.name} does not say what it lists: {page}; it is quarantined") from None


def _ask(
    client: HistoryClient, market: str, units: Units, have: set[int], span: tuple[int, int], now_ns: int
) -> tuple[dict[int, CandleRow], list[Rejected], set[int], set[int]]:
    """Return the rows of what is missing in a span by minute, what was no row, the minutes that this spoiled, and those
    for which later ones came.

    Each page is asked for by a window of its own, so that an outage longer than a page ends nothing.
    """
    found: dict[int, CandleRow] = {}
    rejected: list[Rejected] = []
    spoiled: set[int] = set()
    beyond: set[int] = set()
    for first, to in _windows(have, *span, client.page):
        try:
            raws, parse = client.candles(market, first // MS, to // MS)
        except BadPage as page:
            rejected.append(rejected_page(page))
            spoiled.update(range(first, to, MINUTE_NS))
            continue
        checked = check_rows(
            raws, CandleRow, now_ns=now_ns, event_ns=lambda row: row.at_ms * MS, rules=candle_rules(units), parse=parse
        )
        rejected += checked.rejected
        spoiled.update(at for item in checked.rejected if (at := _claimed(item)) is not None)
        for row in checked.rows:
            if first <= row.at_ms * MS < to:  # the venue may give more than was asked, also one that is not over
                found.setdefault(row.at_ms * MS, row)
        if checked.rows and all(row.at_ms * MS >= to for row in checked.rows):
            beyond.update(range(first, to, MINUTE_NS))
    return found, rejected, spoiled, beyond


def _windows(have: set[int], first: int, to: int, page: int) -> Iterator[tuple[int, int]]:
    """Yield [from, to) of the pages that hold all that is missing; gaps that one page covers share it."""
    window: tuple[int, int] | None = None
    for begin, last in find_gaps(have, first, to):
        for at in range(begin, last + 1, page * MINUTE_NS):
            end = min(at + page * MINUTE_NS, last + MINUTE_NS)
            if window is not None and end - window[0] <= page * MINUTE_NS:
                window = (window[0], end)
                continue
            if window is not None:
                yield window
            window = (at, end)
    if window is not None:
        yield window


def _claimed(item: Rejected) -> int | None:
    """Return the minute that a rejected row says it is of, ns."""
    try:
        raw = json.loads(item.raw)
        at = int(raw[0]) if isinstance(raw, list) else None
    except (ValueError, TypeError, LookupError):
        return None
    return at // 60_000 * MINUTE_NS if at is not None else None


def _candle(row: CandleRow, units: Units, now_ns: int) -> dict[str, int]:
    minute = row.at_ms * MS
    event = minute + MINUTE_NS
    return {
        "id": minute // MINUTE_NS, "minute_ns": minute, "event_ns": event,
        "created_ns": LAG.created_ns(event, max(event, now_ns), backfill=True),
        "open": count(row.open, units.tick_e8), "high": count(row.high, units.tick_e8),
        "low": count(row.low, units.tick_e8), "close": count(row.close, units.tick_e8),
        "volume": count(row.volume, units.volume_e8), "tick_e8": units.tick_e8, "lot_e8": units.volume_e8,
    }  # fmt: skip
