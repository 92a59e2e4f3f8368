"""A study as Markdown: the block of docs/signals.md between its two marks, written by `bot4 signals --table`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bot4_live.features.registry import FEATURES
from bot4_platform.research.catalogue import FIGURES, SIGNALS, Signal
from bot4_platform.research.study import EVIDENCE, FALSE_DISCOVERIES, FEW, UNSHOWN, CaptureStudy, Finding, Study

BEGIN, END = "<!-- figures: written by `bot4 signals --table` -->", "<!-- end of figures -->"


def write_table(study: Study, path: Path) -> None:
    """Replace the block of a file. Raises ValueError when the file lacks the marks, OSError."""
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: needs the lines {BEGIN!r} and {END!r}, between which the figures go")
    path.write_text(f"{head}{BEGIN}\n{markdown(study)}{END}{tail}")


def markdown(study: Study) -> str:
    """Return all tables of a study."""
    captures = study.captures
    parts = [
        definitions(),
        f"Horizon {study.horizon_s:g} s; {study.tests} figures in all. **Bold** is evidence: false discoveries among "
        f"all of them are controlled at {100 * FALSE_DISCOVERIES:g} %; (in brackets) is too few to judge, - what could "
        "not be shown.",
        _rows(
            ("capture", "market", "day (UTC)", "usable", "judged (the second half)"),
            ((f"`{c.name}`", f"{c.symbol} on {c.venue}", c.day, f"{c.seconds:.0f} s", f"{c.judged_s:.0f} s")
             for c in captures),
        ),
        *(_claim(study, claim) for claim in FIGURES),
        "### More of the walls, the fills and the moves\n",
        _walls(captures),
        _fills(captures),
        _moves(captures),
        "### What could not be shown\n\n" + "".join(_unshown(captures)),
        "### What figures of so little time cannot show\n\n"
        + "".join(f"- {line}\n" for line in study.as_dict()["cannot_show"]),
    ]  # fmt: skip
    return "\n" + "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part) + "\n"


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([*row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(finding: Finding) -> str:
    """Return a finding in short: value, 95 % interval, effective observations."""
    e = finding.estimate
    if e is None:
        return "-"
    text = f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}] n {finding.effective:.0f}"
    return f"**{text}**" if finding.verdict == EVIDENCE else f"({text})" if finding.verdict == FEW else text


def definitions() -> str:
    """Return what each signal is and where it is from, out of the registry of features."""
    declared = {f.name: f for f in FEATURES}
    rows = (
        [s.subject, f"`{s.feature}`", s.claim, declared[s.feature].meaning, declared[s.feature].source] for s in SIGNALS
    )
    return _rows(("D17", "feature", "claim", "definition", "source"), rows)


def _claim(study: Study, claim: str) -> str:
    signals = [(i, s) for i, s in enumerate(SIGNALS) if s.claim == claim]
    head = ["signal", "of", *(_short(c) for c in study.captures)]
    rows = ([f"`{s.feature}`", s.subject, *(cell(c.findings[i]) for c in study.captures)] for i, s in signals)
    text = FIGURES[signals[0][1].claim]
    return f"### {claim.capitalize()}\n\nFigure: {text}.\n\n{_rows(head, rows)}"


def _fills(captures: Iterable[CaptureStudy]) -> str:
    names = (
        "filled", "base_rate", "brier_base_rate", "brier", "brier_calibrated", "brier_cont_larrard",
        "brier_cont_larrard_calibrated",
    )  # fmt: skip
    rows = [
        [
            f"`{f.signal.feature}`",
            f"{c.symbol} {c.venue.removeprefix('binance_')}",
            *(f"{f.extra[n]:.3f}" for n in names),
        ]
        for c in captures
        for f in c.findings
        if f.signal.claim == "fill" and f.extra
    ]
    head = (
        "forecast", "market", "filled", "filled in the first half", "Brier of that base rate", "Brier as declared",
        "calibrated", "Cont & de Larrard", "calibrated",
    )  # fmt: skip
    text = (
        "Brier scores of the fill forecasts (less is better), beside those of 2/pi arctan(other size / own size), the "
        "chance that the own queue is gone first (Cont & de Larrard 2013, SIAM J. Financial Mathematics 4(1); "
        "diffusion limit, equal and uncorrelated queues):"
    )
    return f"{text}\n\n{_rows(head, rows)}" if rows else ""


def _walls(captures: Iterable[CaptureStudy]) -> str:
    names = ("kept", "kept_without_wall", "at_best_price")
    rows = [
        [f"`{f.signal.feature}`", _short(c), *(f"{f.extra[n]:.2f}" for n in names)]
        for c in captures
        for f in c.findings
        if f.signal.claim == "wall" and f.extra
    ]
    head = ("wall", "market", "kept", "kept by a level without a wall", "share of the walls at the best price")
    return f"Walls within reach, and whether they are more than the size of the best price:\n\n{_rows(head, rows)}"


def _moves(captures: Sequence[CaptureStudy]) -> str:
    """Return how far prices went after a strong signal, for signals with evidence on any capture."""
    rows = []
    for i, signal in enumerate(SIGNALS):
        found = [c.findings[i] for c in captures]
        if any(f.verdict == EVIDENCE and "strongest_fifth_bp" in f.extra for f in found):
            moves = [f.extra.get("strongest_fifth_bp") for f in found]
            rows.append([f"`{signal.feature}`", *("-" if m is None else f"{m:+.2f}" for m in moves)])
    if not rows:
        return ""
    half = [next((f.extra["half_spread_bp"] for f in c.findings if "half_spread_bp" in f.extra), 0.0) for c in captures]
    rows.append(["half the spread", *(f"{h:.3f}" for h in half)])
    text = (
        "Mean move of the mid over the horizon, in bp, the way the signal pointed when it was as strong as in the "
        "strongest fifth of the first half. Before fees and latency; a taker's fees alone are several bp:"
    )
    return f"{text}\n\n{_rows(('signal', *(_short(c) for c in captures)), rows)}"


def _short(c: CaptureStudy) -> str:
    return f"{c.symbol} {c.venue.removeprefix('binance_')}"


def _unshown(captures: Iterable[CaptureStudy]) -> Iterable[str]:
    found: dict[tuple[Signal, str], list[str]] = {}
    for c in captures:
        for f in c.findings:
            if f.verdict in (UNSHOWN, FEW):
                found.setdefault((f.signal, f.reason), []).append(_short(c))
    for (signal, reason), where in found.items():
        yield f"- `{signal.feature}` ({', '.join(where)}): {reason}.\n"
    if not found:
        yield "- nothing: every claim could be judged.\n"
