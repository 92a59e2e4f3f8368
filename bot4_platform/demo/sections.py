"""The report's sections, each from the data it speaks of."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot4_platform.demo import charts
from bot4_platform.demo.report import escape, paragraph, table
from bot4_platform.demo.story import Story

if TYPE_CHECKING:
    from bot4_platform.demo.job import Job

Section = tuple[str, str, str]


def picture(path: Path) -> str:
    """Return a PNG as an inline image; nothing when it is not there."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'


def trading(summary: dict[str, Any], story: Story) -> list[Section]:
    """Return quotes and PnL."""
    start = float(story.quote_t[0]) - 5.0 if story.quote_t.size else 0.0
    quotes = paragraph(
        "Each dot is an order as it was placed; triangles are fills. Dotted lines begin a session, with its speed. "
        "Quotes follow Avellaneda and Stoikov (2008), never closer to mid than the maker fee and the expected "
        "adverse selection."
    ) + charts.book_and_quotes(story, max(start, 0.0))
    if summary["why_no_fills"]:
        quotes += paragraph(f"No fills: {summary['why_no_fills']}.", "warn")
    pnl = paragraph(
        f"PnL after fees by the venue's own books: {summary['pnl_quote']:.4f} USDT, of which fees "
        f"{summary['fees_quote']:.4f}, from {summary['fills']} fills ({summary['maker_fills']} as maker). It is "
        "reported as it came. The kill's flattening is the venue's, not the runner's, so the curve ends before it."
    ) + charts.position_and_pnl(story, max(start, 0.0))
    return [("quotes", "Book and quotes", quotes), ("pnl", "Position and PnL", pnl)]


def latency(job: Job, summary: dict[str, Any]) -> Section:
    """Return latencies of the session at 1x."""
    session = job.sessions[-1]
    shapes = {}
    for name, title in (("decision_us", "frame received to commands ready"), ("wire_us", "wake-up to bytes written")):
        bins = session[name]["histogram"]
        if bins:
            edges = np.array([bins[0][0] * 0.97, *[edge for edge, _ in bins]])
            shapes[title] = (edges, np.array([count for _, count in bins]))
    rows = [
        (name, session[name]["count"], session[name]["p50"], session[name]["p99"], session[name]["max"])
        for name in ("decision_us", "wire_us")
    ]
    text = paragraph("Real microseconds in the session at 1x, Python, asyncio and parser included.")
    return ("latency", "Latency", text + charts.latency(shapes) + table(("", "count", "p50", "p99", "max"), rows))


def model(evidence: dict[str, Any]) -> Section:
    """Return the promotion's evidence."""
    judged = evidence["challenger"]
    text = paragraph(
        f"Champion: version {evidence['model_version']} "
        f"({'the baseline' if evidence['is_baseline'] else evidence['model']}). Verdict on the challenger: "
        f"{evidence['verdict']}. {evidence['why']}"
    )
    gates = [(g["name"], "passed" if g["passed"] else "refused", g["value"], g["limit"]) for g in evidence["gates"]]
    scores = [
        (name, judged[name]["value"], judged[name]["low"], judged[name]["high"])
        for name in ("model_score", "baseline_score", "advantage", "direction", "baseline_direction")
        if name in judged
    ]
    text += table(("gate", "verdict", "value", "limit"), gates)
    text += table(("on the holdout", "value", "low (95 %)", "high"), scores)
    importance = judged.get("importance") or {}
    if importance:
        top = dict(sorted(importance.items(), key=lambda item: -item[1])[:12])
        text += charts.bars({name: float(value) for name, value in top.items()}, "gain")
    for name in ("prediction", "skill_over_time"):
        text += picture(Path(judged.get("plots", {}).get(name, "")))
    return ("model", "Model evidence", text)


def quality(job: Job, summary: dict[str, Any]) -> Section:
    """Return the data's quality."""
    found, sent = summary["quarantined_by_reason"], summary["bad_frames_by_reason"]
    rows = [(reason, sent.get(reason, 0), found.get(reason, 0)) for reason in sorted({*found, *sent})]
    failed = [name for run in job.facts["platform"] for name in run["failed_checks"]]
    text = paragraph(
        f"{summary['book_matched']:,} of {summary['book_compared']:,} best quotes equal the book built from snapshot "
        f"and diffs alone ({summary['book_gaps']} gaps, {summary['book_crossed']} crossed). "
        f"{summary['asset_checks_passed']} asset checks passed, "
        f"{summary['asset_checks_failed']} failed, over {summary['assets_materialized']} "
        "materializations. Broken frames were sent on purpose; each must be quarantined for its own reason:"
    )
    text += table(("reason", "sent", "quarantined"), rows)
    if failed:
        text += paragraph("Failed: " + ", ".join(failed), "bad")
    docs = job.settings.root / "data_docs" / "index.html"
    if docs.is_file():
        link = docs.relative_to(job.folder)
        text += f'<p>Great Expectations: <a href="{escape(link)}">Data Docs</a>.</p>'
    return ("quality", "Data quality", text)


def kill(job: Job, summary: dict[str, Any]) -> Section:
    """Return the kill's timeline."""
    record = job.facts["kill"]
    how = (
        "There was no position, so the smallest one the venue allows was taken by the ordinary path first. "
        if summary["kill_position_taken"]
        else ""
    )
    text = paragraph(
        f"{how}The mock panel's button was pressed with {summary['kill_open_orders']} open orders and a position of "
        f"{summary['kill_position_lots']} lots. Flat after {summary['flat_ms']:.1f} ms; zero orders and flat confirmed "
        f"after the second sweep at {summary['kill_ms']:.1f} ms (recvWindow {summary['recv_window_ms']} ms). "
        f"Panel: {record.get('lights')}. The runner was ended with exit code {job.facts['runner_exit']}."
    )
    steps = [(str(step["step"]), float(step["at_ms"])) for step in record["steps"]]
    rows = [
        (step["step"], float(step["at_ms"]), "ok" if step["ok"] else "failed", step["result"])
        for step in record["steps"]
    ]
    return ("kill", "The kill", text + charts.kill_timeline(steps) + table(("step", "at ms", "", "result"), rows))


def run_and_stages(job: Job, summary: dict[str, Any]) -> Section:
    """Return stage times and the replay's verdict."""
    verdict = "the same" if summary["replay_identical"] else "NOT the same"
    text = paragraph(
        f"A fresh process read the journal's events only and gave {verdict} {summary['replay_commands']:,} commands "
        f"(sha256 {summary['replay_sha256'][:16]}...)."
    )
    return ("run", "Replay and stages", text + table(("stage", "seconds"), job.stages.seconds.items()))


def all_sections(job: Job, summary: dict[str, Any], evidence: dict[str, Any], story: Story) -> list[Section]:
    """Return the sections in the order of the page."""
    return [
        *trading(summary, story),
        latency(job, summary),
        model(evidence),
        quality(job, summary),
        kill(job, summary),
        run_and_stages(job, summary),
    ]
