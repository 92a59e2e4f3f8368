"""Many days of one market's history, in order; and the client that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.settings import platform_settings
from bot4_platform.sources.exchange.candles import fetch_candles
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.funding import fetch_funding
from bot4_platform.sources.exchange.trades import fetch_trades
from bot4_platform.sources.exchange.venues import BUDGETED
from bot4_platform.sources.progress import Progress, Tell, silent

KINDS = ("candles", "trades", "funding")


def open_client(market: str, settings: Settings) -> HistoryClient:
    """Return the client of a market: at the address of the settings, that of trading for the traded venue.

    Raises ValueError for a venue that ccxt does not know.
    """
    sources = platform_settings().sources
    venue = market.partition(":")[0]
    endpoint = sources.history.endpoints.get(venue, settings.rest_url if venue == BUDGETED else "")
    return HistoryClient(market, sources.http, endpoint=endpoint)


@dataclass
class Backfill:
    """What a backfill did."""

    market: str
    days: int = 0
    rows: int = 0
    gaps: int = 0
    rejected: int = 0
    requests: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return dict(vars(self))


def backfill(
    lake: Lake, client: HistoryClient, market: str, days: Sequence[str], kinds: Sequence[str], *, tell: Tell = silent
) -> Backfill:
    """Fetch days in order. What is in the lake already costs a few requests or none; so a killed one goes on.

    Raises SourceUnavailable and SourceRefused, with all before that day in the lake.
    """
    history, done = platform_settings().sources.history, Backfill(market)
    for day in days:
        for kind in kinds:
            if kind == "candles":
                minutes = fetch_candles(lake, client, day, market, confirm_after_s=history.confirm_after_s)
                added, rejected = minutes.added, len(minutes.rejected)
                done.gaps += len(minutes.gaps)
            elif kind == "trades":
                trades = fetch_trades(lake, client, day, market, pages=history.spool_requests)
                added, rejected = trades.added, trades.rejected
            else:
                funding = fetch_funding(lake, client, day, market)
                added, rejected = len(funding.rates), funding.rejected
            done.rows += added
            done.by_kind[kind] = done.by_kind.get(kind, 0) + added
            done.rejected += rejected
        done.days += 1
        done.requests = client.requests
        tell(Progress(f"{market} {'+'.join(kinds)}", done.days, len(days), done.rows, done.requests, done.rejected))
    return done
