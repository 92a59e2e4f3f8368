"""What was published on a day, into the lake: values with their vintages, and which releases the day had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from bot4_platform.lake import Lake
from bot4_platform.sources.errors import BadPage
from bot4_platform.sources.macro.alfred import Alfred, Observation, release_instant
from bot4_platform.sources.progress import Progress, Tell, silent
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.state import add_rows
from bot4_platform.sources.validation import Rejected, rejected_page

SOURCE = "macro"
OBSERVATIONS, RELEASES = "macro_observations", "macro_releases"
SCHEDULE = "fred:RELEASES"


def scope(series: str) -> str:
    """Return the lake's key of a series."""
    return f"fred:{series}"


@dataclass
class MacroResult:
    """What a run did: what each series published, releases of the day, why a series could not be read."""

    published: dict[str, list[Observation]] = field(default_factory=dict)
    releases: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rejected: int = 0

    @property
    def unscheduled(self) -> list[str]:
        """Return the series that published though no release of theirs was scheduled."""
        due = {series for names in self.releases.values() for series in names}
        return sorted(series for series, found in self.published.items() if found and series not in due)


def read_day(lake: Lake, alfred: Alfred, day: str, *, now: Callable[[], int], tell: Tell = silent) -> MacroResult:
    """Add what was published on a day (a date of New York, which its releases share with UTC) and return it.

    A page that cannot be read is quarantined and its series named in the result. Raises SourceRefused,
    SourceUnavailable.
    """
    result, on = MacroResult(), date.fromisoformat(day)
    known: dict[int, tuple[str, list[str], str]] = {}
    series = alfred.settings.series
    for number, one in enumerate(series, 1):
        try:
            found, rejected = alfred.published_on(one, on, now())
            release, name = alfred.release_of(one)
        except BadPage as page:
            found, rejected = [], [rejected_page(page)]
            result.failed[one.id] = page.reason
        else:
            known.setdefault(release, (name, [], one.at))[1].append(one.id)
        result.published[one.id] = found
        result.rejected += len(rejected)
        quarantine(lake, SOURCE, day, scope(one.id), rejected, now_ns=now())
        if one.id not in result.failed:
            _add(lake, OBSERVATIONS, day, scope(one.id), [_row(observation) for observation in found])
        rows = sum(map(len, result.published.values()))
        tell(Progress(SOURCE, number, len(series), rows, 2 * number, result.rejected))
    _schedule(lake, alfred, day, known, now, result)
    return result


def _schedule(
    lake: Lake, alfred: Alfred, day: str, known: dict[int, tuple[str, list[str], str]], now: Callable[[], int],
    result: MacroResult,
) -> None:  # fmt: skip
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    on = date.fromisoformat(day)
    for release, (name, names, at) in sorted(known.items()):
        try:
            dates, bad = alfred.scheduled(release, on, on)
        except BadPage as page:
            dates, bad = [], [rejected_page(page)]
            result.failed[name] = page.reason
        rejected += bad
        if dates:
            instant = release_instant(on, at)
            result.releases[name] = sorted(names)
            rows.append(
                {
                    "id": f"{release}:{day}", "event_ns": instant, "created_ns": instant, "release": release,
                    "name": name, "series": ",".join(sorted(names)),
                }
            )  # fmt: skip
    result.rejected += len(rejected)
    quarantine(lake, SOURCE, day, SCHEDULE, rejected, now_ns=now())
    _add(lake, RELEASES, day, SCHEDULE, rows)


def _row(found: Observation) -> dict[str, Any]:
    return {
        "id": found.id, "event_ns": found.released_ns, "created_ns": found.released_ns, "series": found.series,
        "period": found.period.isoformat(), "vintage": found.vintage.isoformat(), "text": found.text,
        "value": found.value,
    }  # fmt: skip


def _add(lake: Lake, table: str, day: str, key: str, rows: list[dict[str, Any]]) -> None:
    import polars as pl

    from bot4_platform.tables import TABLES

    add_rows(lake, table, day, key, pl.DataFrame(rows, schema=TABLES[table].schema()))
