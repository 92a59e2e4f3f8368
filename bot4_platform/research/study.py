"""All claims on all captures, judged together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bot4_live.clock import day_of
from bot4_platform.research.catalogue import FIGURES, SIGNALS, Signal
from bot4_platform.research.evidence import Sample, Unshown, gather
from bot4_platform.research.market import GRID_MS, Market
from bot4_platform.research.outcomes import steps
from bot4_platform.research.statistics import Estimate, TooFew, estimate, false_discovery

SEED = 20_240_808
FALSE_DISCOVERIES = 0.05
LEAST_EFFECTIVE = 30.0

EVIDENCE, NONE, FEW, UNSHOWN = "evidence", "no evidence", "too few to judge", "cannot be shown"


@dataclass(frozen=True)
class Finding:
    """What one capture says of one signal. `estimate` and `q` are None where nothing could be computed."""

    signal: Signal
    verdict: str
    reason: str = ""
    sign: int = 0
    estimate: Estimate | None = None
    q: float | None = None
    events: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def effective(self) -> float:
        """Return the independent observations it rests on: of the rarer kind where there are two."""
        if self.estimate is None:
            return 0.0
        return self.estimate.effective if self.events is None else min(self.estimate.effective, self.events)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        out: dict[str, Any] = asdict(self.signal) | {"verdict": self.verdict, "reason": self.reason, "sign": self.sign}
        out |= asdict(self.estimate) if self.estimate is not None else {}
        return out | {"effective": self.effective, "q": self.q, "events": self.events, "extra": self.extra}


@dataclass(frozen=True)
class CaptureStudy:
    """The findings of one capture, in the order of SIGNALS."""

    name: str
    venue: str
    symbol: str
    day: str
    seconds: float  # usable
    judged_s: float  # the second part
    findings: tuple[Finding, ...]

    @property
    def span(self) -> str:
        """Return what the figures rest on, in words."""
        return f"{self.judged_s / 60:.1f} minutes of {self.symbol} on {self.venue}, {self.day}"


@dataclass(frozen=True)
class Study:
    """Everything one run found; `tests` is the size of the family whose false discoveries are bounded."""

    horizon_s: float
    tests: int
    captures: tuple[CaptureStudy, ...]
    left_out: tuple[str, ...] = ()  # markets too short to be judged, and why

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, with what the figures are and what cannot be shown."""
        captures = [
            {k: getattr(c, k) for k in ("name", "venue", "symbol", "day", "seconds", "judged_s")}
            | {"signals": [finding.as_dict() for finding in c.findings]}
            for c in self.captures
        ]
        return {
            "horizon_s": self.horizon_s, "tests": self.tests, "false_discoveries": FALSE_DISCOVERIES,
            "figures": dict(FIGURES), "cannot_show": cannot_show(self), "captures": captures,
            "left_out": list(self.left_out),
        }  # fmt: skip


def study(
    markets: Sequence[Market], horizon_s: float, *, seed: int = SEED, progress: Callable[[str], None] | None = None
) -> Study:
    """Judge every signal on every market that is long enough; the others are left out.

    Raises ValueError for a horizon off the grid or when no market is long enough.
    """
    steps(horizon_s)
    judged, left_out = [], []
    for market in markets:
        try:
            sample = Sample(market, horizon_s)
        except ValueError as why:
            left_out.append(str(why))
        else:
            judged.append(_judge(sample, seed, progress))
    if not judged:
        raise ValueError("; ".join(left_out))
    found = [(i, j) for i, c in enumerate(judged) for j, f in enumerate(c.findings) if f.estimate is not None]
    p = [f.estimate.p for c in judged for f in c.findings if f.estimate is not None]
    rows = [list(c.findings) for c in judged]
    for (i, j), q in zip(found, false_discovery(p), strict=True):
        rows[i][j] = _verdict(rows[i][j], q, judged[i])
    captures = tuple(replace(c, findings=tuple(row)) for c, row in zip(judged, rows, strict=True))
    return Study(horizon_s, len(p), captures, tuple(left_out))


def _judge(sample: Sample, seed: int, progress: Callable[[str], None] | None) -> CaptureStudy:
    market = sample.market
    findings = []
    for number, signal in enumerate(SIGNALS):
        if progress is not None:
            progress(f"{market.name}: {signal.feature}")
        try:
            e = gather(sample, signal)
            judged = estimate(e.columns, e.figure, e.least_block, seed + number)
            findings.append(Finding(signal, NONE, "", e.sign, judged, None, e.events, e.extra))
        except (Unshown, TooFew) as why:
            findings.append(Finding(signal, UNSHOWN, str(why)))
    return CaptureStudy(
        market.name, market.venue, market.symbol, day_of(int(market.ns[0])), market.seconds,
        float(market.valid[sample.cut :].sum()) * GRID_MS / 1000, tuple(findings),
    )  # fmt: skip


def _verdict(finding: Finding, q: float, capture: CaptureStudy) -> Finding:
    if finding.effective < LEAST_EFFECTIVE:
        return replace(finding, q=q, verdict=FEW, reason=f"{finding.effective:.0f} effective observations")
    if q <= FALSE_DISCOVERIES and finding.estimate is not None and finding.estimate.low > 0:
        return replace(finding, q=q, verdict=EVIDENCE, reason=f"on {capture.span}; nothing beyond it is shown")
    return replace(finding, q=q, verdict=NONE, reason=f"on {capture.span}")


def cannot_show(study: Study) -> list[str]:
    """Return what figures of so little time cannot show, in sentences."""
    spans = "; ".join(c.span for c in study.captures)
    days = len({c.day for c in study.captures})
    total = sum(c.judged_s for c in study.captures) / 60
    return [
        f"The figures rest on {total:.1f} minutes of captures, from {days} day{'' if days == 1 else 's'} ({spans}). "
        "They say nothing of other days, hours, regimes or symbols, nor whether anything found lasts.",
        "Captures that overlap in time do not repeat each other: their agreement is no second proof.",
        "A correlation is not a profit: fees, latency and the queue stand between them. A move of less than half the "
        "spread cannot be taken by an aggressor even without fees.",
        "Intervals come from blocks of a few seconds; dependence over minutes cannot be seen in minutes, so they are "
        "too narrow if there is any.",
        "Level 2 data show neither whose orders left nor where in the queue: fills and places rest on cancellations "
        "spread evenly, withdrawals are not proven intent.",
    ]
