"""The funding of one day: what was settled, as the venue wrote it."""

from __future__ import annotations

from dataclasses import dataclass

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.lake import Lake, Written
from bot4_platform.sources.errors import BadPage, SourceUnavailable
from bot4_platform.sources.exchange.candles import MS, opened
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.rows import FundingRow, digits, funding_rules
from bot4_platform.sources.publication import FUNDING as LAG
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.state import add_rows
from bot4_platform.sources.validation import check_rows, rejected_page

FUNDING = "history_funding"


@dataclass(frozen=True)
class FundingDay:
    """What a fetch left of a day; `rates` are texts as the venue wrote them, by time."""

    funding: Written
    rates: list[tuple[int, str]]
    rejected: int
    requests: int


def fetch_funding(lake: Lake, client: HistoryClient, day: str, market: str) -> FundingDay:
    """Bring the funding settled on a day into the lake; a market without any gets an empty partition.

    Raises as `fetch_candles`.
    """
    import polars as pl

    from bot4_platform.tables import TABLES

    begun, schema = client.requests, TABLES[FUNDING].schema()
    _, now_ns = opened(lake, client, day, market)
    first = day_start_ns(day)
    source = f"{client.venue.name}_funding"
    rows, rejected = [], 0
    if client.pays_funding(market):
        try:
            raws, parse = client.funding(market, first // MS, (first + DAY_NS) // MS)
        except BadPage as page:
            quarantine(lake, source, day, market, [rejected_page(page)], now_ns=now_ns)
            raise SourceUnavailable(f"{client.venue.name}: {page}; the page is quarantined") from None
        checked = check_rows(
            raws, FundingRow, now_ns=now_ns, event_ns=lambda row: row.at_ms * MS, rules=funding_rules(), parse=parse
        )
        quarantine(lake, source, day, market, checked.rejected, now_ns=now_ns)
        rows = [row for row in checked.rows if first <= row.at_ms * MS < first + DAY_NS]
        rejected = len(checked.rejected)
    frame = pl.DataFrame([_funding(row, now_ns) for row in rows], schema)
    written = add_rows(lake, FUNDING, day, market, frame)
    return FundingDay(written, [(row.at_ms, str(row.rate)) for row in rows], rejected, client.requests - begun)


def _funding(row: FundingRow, now_ns: int) -> dict[str, int]:
    event = row.at_ms * MS
    rate, decimals = digits(row.rate)
    return {
        "id": row.at_ms, "event_ns": event, "created_ns": LAG.created_ns(event, max(event, now_ns), backfill=True),
        "rate": rate, "rate_decimals": decimals,
    }  # fmt: skip
