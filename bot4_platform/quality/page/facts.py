"""What the page shows, read from the lake, the Data Docs' verdicts and the ages of everything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.quality.data_docs import JUDGED
from bot4_platform.quality.drift import EARLIER
from bot4_platform.quality.pass_rates import TARGET
from bot4_platform.settings import docs_dir

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.staleness.trace import Report

SAMPLES = 3  # frames shown of each rule
DAYS = 90
DRIFT_SHOWN = 12


@dataclass(frozen=True)
class Rate:
    """Frames that passed and were refused."""

    passed: int
    refused: int

    @property
    def total(self) -> int:
        """Return all frames."""
        return self.passed + self.refused

    @property
    def share(self) -> float:
        """Return the share that passed; 1 when there were none."""
        return self.passed / self.total if self.total else 1.0

    @property
    def met(self) -> bool:
        """Return whether the target was met."""
        return self.share >= TARGET


@dataclass(frozen=True)
class Sample:
    """A refused frame, or page of a source."""

    seq: int | None
    first_seen: int
    where: str
    raw: bytes
    state: str


@dataclass(frozen=True)
class Facts:
    """Everything on the page. Rates are by day, by (market, table), and by market; `rules` count refused frames."""

    account: str
    days: dict[str, Rate]
    cells: dict[tuple[str, str], Rate]
    rules: dict[str, int]
    samples: dict[str, list[Sample]]
    sources: dict[str, int]
    suites: list[dict[str, Any]]
    drift: dict[str, pl.DataFrame] = field(default_factory=dict)  # newest day of each market
    drift_day: dict[str, str] = field(default_factory=dict)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    ages: Report | None = None

    @property
    def all(self) -> Rate:
        """Return the rate over all days."""
        return _sum(self.days.values())

    @property
    def drifted(self) -> tuple[int, int]:
        """Return (drifted, judged) features of the newest days that have a reference."""
        judged = [f.filter((f["verdict"] != "few") & (f["reference"] == EARLIER)) for f in self.drift.values()]
        return sum(int((f["verdict"] == "drifted").sum()) for f in judged), sum(f.height for f in judged)


def collect(settings: Settings, ages: Report | None = None) -> Facts:
    """Read what the page shows; what was not made yet is left empty."""
    lake = Lake(settings.lake_dir)
    days: dict[str, list[Rate]] = {}
    cells: dict[tuple[str, str], list[Rate]] = {}
    rules: dict[str, int] = {}
    for day, market in lake.partitions("pass_rates"):
        rows = lake.read("pass_rates", day, market)
        for (table,), part in rows.group_by(["table"], maintain_order=True):
            rate = Rate(int(part.filter(part["rule"] == "")["frames"].sum()),
                        int(part.filter(part["rule"] != "")["frames"].sum()))  # fmt: skip
            days.setdefault(day, []).append(rate)
            cells.setdefault((market, str(table)), []).append(rate)
        for _, rule, frames in rows.filter(rows["rule"] != "").iter_rows():
            rules[rule] = rules.get(rule, 0) + frames
    judged = docs_dir(settings) / JUDGED
    drift, drift_day = {}, {}
    for day, market in lake.partitions("feature_drift"):  # in order of day: the newest stays
        drift[market], drift_day[market] = lake.read("feature_drift", day, market), day
    samples, sources = _samples(settings, lake)
    return Facts(
        account=settings.account,
        days={day: _sum(found) for day, found in sorted(days.items())[-DAYS:]},
        cells={key: _sum(found) for key, found in sorted(cells.items())},
        rules=dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
        samples=samples,
        sources=sources,
        suites=json.loads(judged.read_text()) if judged.is_file() else [],
        drift=drift,
        drift_day=drift_day,
        agreement=[
            {"day": day, "market": market} | row
            for day, market in lake.partitions("venue_agreement")[-50:]
            for row in lake.read("venue_agreement", day, market).iter_rows(named=True)
        ],
        ages=ages,
    )


def _samples(settings: Settings, lake: Lake) -> tuple[dict[str, list[Sample]], dict[str, int]]:
    """Return the newest refused frames by rule, sources' pages among them, and how many each source has."""
    from bot4_platform.quarantine.release import quarantined

    found: dict[str, list[Sample]] = {}
    for row in quarantined(settings):
        kept = found.setdefault(row["rule"], [])
        kept.append(Sample(row["seq"], row["first_seen"], row["market"], row["raw"], row["state"]))
        del kept[:-SAMPLES]
    sources: dict[str, int] = {}
    for day, scope in lake.partitions("source_quarantine"):
        for row in lake.read("source_quarantine", day, scope).iter_rows(named=True):
            sources[row["source"]] = sources.get(row["source"], 0) + 1
            kept = found.setdefault(f"{row['source']}: {row['rule']}", [])
            kept.append(Sample(None, row["first_seen"], f"{scope}: {row['reason']}", row["raw"], "held"))
            del kept[:-SAMPLES]
    return found, sources


def _sum(rates: Any) -> Rate:
    known = list(rates)
    return Rate(sum(rate.passed for rate in known), sum(rate.refused for rate in known))
