"""A study as one HTML file that reads offline: every figure with its interval, reliability of the fill forecasts."""

from __future__ import annotations

from collections.abc import Iterable

from bot4_platform.demo.charts import ASK, BID, MID, SOFT, canvas, to_svg
from bot4_platform.demo.report import card, page, paragraph, pill, section, table
from bot4_platform.research.catalogue import FIGURES, SIGNALS
from bot4_platform.research.study import EVIDENCE, FALSE_DISCOVERIES, FEW, NONE, CaptureStudy, Study, cannot_show

COLOURS = (BID, ASK, MID, "#9a6700", "#5b4b8a", "#0b7285")


def render(study: Study) -> str:
    """Return the page."""
    findings = [f for c in study.captures for f in c.findings]
    counts = {v: sum(f.verdict == v for f in findings) for v in (EVIDENCE, NONE, FEW)}
    cards = [
        card("figures computed", study.tests),
        card(f"evidence (false discoveries held at {100 * FALSE_DISCOVERIES:g} %)", counts[EVIDENCE], "good"),
        card("no evidence", counts[NONE]),
        card("too few to judge", counts[FEW], "warn"),
        card("cannot be shown here", len(findings) - sum(counts.values()), "warn"),
        card("horizon, s", study.horizon_s, digits=1),
    ]
    limits = [*cannot_show(study), *(f"Left out: {line}." for line in study.left_out)]
    lines = "".join(f"<li>{paragraph(line)}</li>" for line in limits)
    parts = [section("limits", "What this cannot show", f"<ul>{lines}</ul>")]
    for claim, text in FIGURES.items():
        drawn = _intervals(study, claim)
        parts.append(section(claim, f"Claim: {claim}", paragraph(f"Figure: {text}."), drawn, _table(study, claim)))
    parts.append(section("reliability", "Reliability of the fill forecasts", _reliability(study.captures)))
    lead = f"Judged on the second half of each capture: {'; '.join(c.span for c in study.captures)}."
    return page(
        "Bot4: what signals are worth",
        f"<h1>What signals are worth</h1>{paragraph(lead, 'lead')}"
        f'<div class="cards">{"".join(cards)}</div>{"".join(parts)}',
    )


def _short(c: CaptureStudy) -> str:
    return f"{c.symbol} {c.venue.removeprefix('binance_')}"


def _intervals(study: Study, claim: str) -> str:
    """Draw every figure of a claim with its interval; filled where it is evidence."""
    signals = [(i, s) for i, s in enumerate(SIGNALS) if s.claim == claim]
    figure, axes = canvas(1.1 + 0.34 * len(signals))
    gap = 0.6 / max(len(study.captures), 1)
    for k, c in enumerate(study.captures):
        colour = COLOURS[k % len(COLOURS)]
        axes.plot([], [], "o", color=colour, ms=5, label=_short(c))
        for row, (i, _) in enumerate(signals):
            found = c.findings[i]
            if found.estimate is None:
                continue
            at = row - 0.3 + gap * (k + 0.5)
            axes.plot([found.estimate.low, found.estimate.high], [at, at], color=colour, lw=1.4)
            face = colour if found.verdict == EVIDENCE else "white"
            axes.plot(found.estimate.value, at, "o", ms=4.5, color=colour, mfc=face)
    axes.axvline(0, color=SOFT, lw=1, zorder=0)
    axes.set_yticks(range(len(signals)), [s.feature for _, s in signals])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(signals) - 0.5, -0.5)
    axes.set_xlabel("figure with 95 % interval; filled = evidence")
    axes.legend(ncols=4, fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return to_svg(figure, f"figures of the claim {claim}")


def _table(study: Study, claim: str) -> str:
    rows = []
    for c in study.captures:
        for f in c.findings:
            if f.signal.claim != claim:
                continue
            e = f.estimate
            tone = True if f.verdict == EVIDENCE else None
            numbers = (e.value, e.low, e.high, f.q) if e is not None else (None,) * 4
            shown = (*numbers, round(f.effective) if e is not None else None)
            why = "" if f.verdict in (EVIDENCE, NONE) else f.reason
            rows.append((f.signal.feature, _short(c), *shown, pill(f.verdict, tone), why))
    head = ("signal", "market", "figure", "low", "high", "q", "effective", "verdict", "why not")
    return f"<details><summary>All figures</summary>{table(head, rows, digits=3)}</details>"


def _reliability(captures: Iterable[CaptureStudy]) -> str:
    figure, axes = canvas(3.6)
    axes.plot([0, 1], [0, 1], color=SOFT, lw=1)
    for k, c in enumerate(captures):
        for f in c.findings:
            bins = f.extra.get("reliability", [])
            if bins:
                axes.plot(
                    [b["forecast"] for b in bins], [b["filled"] for b in bins], "o-" if f.signal.side > 0 else "s--",
                    ms=4, lw=1.1, color=COLOURS[k % len(COLOURS)], label=f"{_short(c)} {f.signal.feature}",
                )  # fmt: skip
    axes.set_xlabel("forecast as declared")
    axes.set_ylabel("share filled before the price left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(ncols=2, fontsize=8, frameon=False)
    return to_svg(figure, "reliability of fill forecasts")
