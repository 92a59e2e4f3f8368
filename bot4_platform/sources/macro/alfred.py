"""ALFRED: what FRED's series said on a day (fred.stlouisfed.org/docs/api/fred).

`fred/series/observations` over a real-time period gives each value with the dates between which it stood. Asked for
the day before and the day, what starts on the day was published then, new or revised; the rest was known before. That
holds whether or not the service cuts its dates to the period.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from bot4_platform.sources.errors import BadPage, SourceRefused
from bot4_platform.sources.http import SHOWN, Page, SourceClient
from bot4_platform.sources.macro.settings import MacroSettings, Series
from bot4_platform.sources.validation import Rejected, raw_bytes

NEW_YORK = ZoneInfo("America/New_York")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")
MISSING = "."
LIMIT = 10_000
MOST_PAGES = 20


class RawObservation(msgspec.Struct, frozen=True):
    """A value as FRED states it."""

    realtime_start: date
    realtime_end: date
    date: date
    value: str


class ReleaseDate(msgspec.Struct, frozen=True):
    """A date of a release."""

    release_id: Annotated[int, msgspec.Meta(gt=0)]
    date: date


@dataclass(frozen=True)
class Observation:
    """A value of a period, published at `released_ns`; `value` None: published as missing."""

    series: str
    period: date
    vintage: date
    released_ns: int
    text: str
    value: float | None

    @property
    def id(self) -> str:
        """Return its id."""
        return f"{self.series}:{self.period}:{self.vintage}"


def release_instant(day: date, at: str) -> int:
    """Return when a release of that date is out, ns: New York's clock, daylight saving included."""
    hour, minute = map(int, at.split(":"))
    return round(datetime.combine(day, time(hour, minute), NEW_YORK).timestamp()) * 1_000_000_000


class Alfred:
    """FRED's API with a key."""

    def __init__(self, client: SourceClient, settings: MacroSettings) -> None:
        """Ask by these settings."""
        self.client, self.settings = client, settings

    def published_on(self, series: Series, day: date, now_ns: int) -> tuple[list[Observation], list[Rejected]]:
        """Return what a series published on a day, by period, and what was sent that is no value.

        Raises BadPage, SourceRefused (key, series), SourceUnavailable.
        """
        found: list[Any] = []
        for _ in range(MOST_PAGES):
            page = self._get(
                "series/observations", series_id=series.id, realtime_start=day - timedelta(1), realtime_end=day,
                observation_start=day - timedelta(self.settings.look_back_days), limit=LIMIT, offset=len(found),
            )  # fmt: skip
            some, count = _list(page, "observations")
            found += some
            if not some or len(found) >= count:
                return parse_observations(series, found, day, now_ns)
        raise BadPage("too_large", f"{series.id}: more than {MOST_PAGES} pages of {LIMIT} values", page.content[:SHOWN])

    def release_of(self, series: Series) -> tuple[int, str]:
        """Return the id and name of the release that a series belongs to."""
        page = self._get("series/release", series_id=series.id)
        some, _ = _list(page, "releases")
        try:
            return int(some[0]["id"]), str(some[0]["name"])[:200]
        except (LookupError, TypeError, ValueError):
            raise BadPage("schema", f"{series.id} has no release", page.content[:SHOWN]) from None

    def scheduled(self, release: int, first: date, last: date) -> tuple[list[date], list[Rejected]]:
        """Return the dates of a release between two dates, those to come included."""
        page = self._get(
            "release/dates", release_id=release, realtime_start=first, realtime_end=last,
            include_release_dates_with_no_data="true", sort_order="asc",
        )  # fmt: skip
        good, bad = [], []
        for raw in _list(page, "release_dates")[0]:
            try:
                good.append(msgspec.convert(raw, ReleaseDate).date)
            except msgspec.ValidationError as error:
                bad.append(Rejected("schema", str(error), raw_bytes(raw)))
        return sorted({day for day in good if first <= day <= last}), bad

    def _get(self, path: str, **params: object) -> Page:
        key = self.settings.key.get_secret_value()
        given = {name: str(value) for name, value in params.items()}
        try:
            return self.client.get(
                f"{self.settings.url.rstrip('/')}/fred/{path}", params=given | {"api_key": key, "file_type": "json"}
            )
        except SourceRefused as error:
            if error.status not in (400, 403):
                raise
            asked = params.get("series_id") or params.get("release_id")
            raise SourceRefused(
                f"macro: FRED refuses {path} of {asked} ({error.status}); are "
                "BOT4_PLATFORM__SOURCES__MACRO__KEY and that name right?",
                error.status,
            ) from None


def parse_observations(
    series: Series, raws: list[Any], day: date, now_ns: int
) -> tuple[list[Observation], list[Rejected]]:
    """Return the values that were published on `day`, and what is none: `schema`, `not_finite`, `future`."""
    good: dict[date, Observation] = {}
    bad: list[Rejected] = []
    released = release_instant(day, series.at)
    for raw in raws:
        try:
            found = msgspec.convert(raw, RawObservation)
        except msgspec.ValidationError as error:
            bad.append(Rejected("schema", str(error), raw_bytes(raw)))
            continue
        wrong = _wrong(found, day, released, now_ns)
        if wrong:
            bad.append(Rejected(*wrong, raw_bytes(raw)))
        elif found.realtime_start == day:
            value = None if found.value == MISSING else float(found.value)
            good[found.date] = Observation(series.id, found.date, day, released, found.value, value)
    return [good[period] for period in sorted(good)], bad


def _wrong(found: RawObservation, day: date, released: int, now_ns: int) -> tuple[str, str] | None:
    if found.value != MISSING and not NUMBER.fullmatch(found.value):
        finite = found.value.strip("+-").lower() not in ("nan", "inf", "infinity")
        return ("schema" if finite else "not_finite"), f"{found.value[:40]!r} is no number"
    if found.realtime_end < found.realtime_start:
        return "schema", "it ended before it began"
    if found.date > day or found.realtime_start > day:
        return "future", f"it is of {max(found.date, found.realtime_start)}, after {day}"
    if found.realtime_start == day and released > now_ns:
        at = datetime.fromtimestamp(released / 1e9, NEW_YORK)
        return "future", f"published before its release at {at:%H:%M} New York"
    return None


def _list(page: Page, name: str) -> tuple[list[Any], int]:
    """Return a list of the page and how many there are in all."""
    found = page.json()
    if not isinstance(found, dict) or not isinstance(found.get(name), list):
        raise BadPage("schema", f"the page has no list of {name}", page.content[:SHOWN])
    if len(found[name]) > LIMIT:
        raise BadPage("too_large", f"{len(found[name])} {name}; {LIMIT} are read", page.content[:SHOWN])
    count = found.get("count")
    return found[name], count if isinstance(count, int) else len(found[name])
