"""FRED's API on loopback with ALFRED's vintages: a made-up economy whose figures come monthly and are revised.

Values between a real-time period's dates, release dates with and without data, the errors of a wrong key or series, and
the limit of requests a minute, as fred.stlouisfed.org/docs/api/fred describes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any

from bot4_platform.sources.local.http import LocalServer, Reply, Request

FOREVER = date(9999, 12, 31)
RELEASES = {
    "CPIAUCSL": (10, "Consumer Price Index"), "PAYEMS": (50, "Employment Situation"),
    "UNRATE": (50, "Employment Situation"),
    "GDPC1": (53, "Gross Domestic Product"), "DGS10": (18, "H.15 Selected Interest Rates"),
}  # fmt: skip


@dataclass(frozen=True)
class Vintage:
    """A value of a period from a date on, until the next vintage of that period."""

    period: date
    start: date
    value: str


def make_series(seed: int, first: date, months: int, *, lag_days: int = 40, level: float = 300.0) -> list[Vintage]:
    """Return monthly values from `first` on, published `lag_days` after a month began, revised with the next one."""
    random = Random(seed)
    periods = [
        date(first.year + (first.month - 1 + i) // 12, (first.month - 1 + i) % 12 + 1, 1) for i in range(months + 1)
    ]  # fmt: skip
    found = []
    for period, after in pairwise(periods):
        level *= 1 + random.gauss(0.002, 0.002)
        found.append(Vintage(period, period + timedelta(lag_days), f"{level:.3f}"))
        revised = level * (1 + random.gauss(0, 0.0005))
        found.append(Vintage(period, after + timedelta(lag_days), f"{revised:.3f}"))
    return found


class AlfredServer(LocalServer):
    """Serves vintages by series id to who has the key; 120 requests a minute unless told otherwise."""

    def __init__(
        self, series: dict[str, list[Vintage]], *, key: str, limit: int | None = 120, cut: bool = True
    ) -> None:
        """Serve these; `cut`: dates are cut to the real-time period that was asked for."""
        super().__init__(limit=limit, window_s=60)
        self.series, self.key, self.cut = series, key, cut

    def refusal(self) -> Reply:
        """Return what it answers past the limit."""
        return _error(429, "Too Many Requests. Exceeded Rate Limit")

    def answer(self, request: Request) -> Reply:
        """Answer one of the three questions."""
        query = request.query
        if query.get("api_key") != self.key:
            return _error(400, "Bad Request. The value for variable api_key is not registered.")
        if query.get("file_type") != "json":
            return Reply(b"<error/>", content_type="text/xml")
        if request.path == "/fred/release/dates":
            return self._dates(query)
        if query.get("series_id") not in self.series:
            return _error(400, "Bad Request. The series does not exist.")
        if request.path == "/fred/series/release":
            number, name = RELEASES[query["series_id"]]
            return _page({"releases": [{"id": number, "name": name, "press_release": True}]})
        if request.path == "/fred/series/observations":
            return self._observations(query)
        return _error(404, "Not Found")

    def standing(self, series: str, first: date, last: date) -> list[tuple[date, date, date, str]]:
        """Return (from, to, period, value) of all that stood on a day of the period, uncut."""
        found = []
        for period in sorted({one.period for one in self.series[series]}):
            steps = sorted((one for one in self.series[series] if one.period == period), key=lambda one: one.start)
            for one, later in zip(steps, [*steps[1:], None], strict=True):
                until = later.start - timedelta(1) if later else FOREVER
                if one.start <= last and until >= first:
                    found.append((one.start, until, period, one.value))
        return found

    def _observations(self, query: dict[str, str]) -> Reply:
        try:
            first, last = (date.fromisoformat(query[name]) for name in ("realtime_start", "realtime_end"))
            since = date.fromisoformat(query.get("observation_start", "1776-07-04"))
        except (KeyError, ValueError):
            return _error(400, "Bad Request. Variable realtime_start is not a YYYY-MM-DD formatted date.")
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100_000))
        rows: list[dict[str, Any]] = [
            {
                "realtime_start": str(max(start, first) if self.cut else start),
                "realtime_end": str(min(end, last) if self.cut else end), "date": str(period), "value": value,
            }
            for start, end, period, value in self.standing(query["series_id"], first, last)
            if period >= since
        ]  # fmt: skip
        return _page(
            {
                "realtime_start": str(first), "realtime_end": str(last), "observation_start": str(since),
                "observation_end": "9999-12-31", "units": "lin", "output_type": 1, "file_type": "json",
                "order_by": "observation_date", "sort_order": "asc", "count": len(rows), "offset": offset,
                "limit": limit, "observations": rows[offset : offset + limit],
            }
        )  # fmt: skip

    def _dates(self, query: dict[str, str]) -> Reply:
        first, last = (date.fromisoformat(query[name]) for name in ("realtime_start", "realtime_end"))
        number = int(query["release_id"])
        days = {
            one.start for name, steps in self.series.items() if RELEASES[name][0] == number
            for one in steps if first <= one.start <= last
        }  # fmt: skip
        rows = [{"release_id": number, "date": str(day)} for day in sorted(days)]
        return _page({"count": len(rows), "offset": 0, "limit": 10_000, "release_dates": rows})


def _page(value: dict[str, Any]) -> Reply:
    return Reply(json.dumps(value).encode())


def _error(status: int, text: str) -> Reply:
    return Reply(json.dumps({"error_code": status, "error_message": text}).encode(), status)
