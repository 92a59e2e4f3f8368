"""The report's sections, each from the data it speaks of."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot4_live.instrument import BTCUSDT_USDM
from bot4_platform.demo import charts, slow_sources
from bot4_platform.demo.depth import Depth, read_depth
from bot4_platform.demo.report import escape, paragraph, pill, table
from bot4_platform.demo.story import Story
from bot4_platform.lake import Lake
from bot4_platform.settings import quality_page

if TYPE_CHECKING:
    from bot4_platform.demo.job import Job

Section = tuple[str, str, str]


def picture(path: Path) -> str:
    """Return a PNG as an inline image; nothing when it is not there."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'


def trading(job: Job, summary: dict[str, Any], story: Story) -> list[Section]:
    """Return quotes and PnL."""
    start = max(float(story.quote_t[0]) - 5.0 if story.quote_t.size else 0.0, 0.0)
    quotes = paragraph(
        "Each dot is a quote as it was placed; triangles are fills. The blue behind them is the book: the darker, "
        "the more rested there. Dotted lines begin a session, with the market's speed. Quotes follow Avellaneda and "
        "Stoikov (2008), never closer to mid than the maker fee and the expected adverse selection."
    ) + charts.book_and_quotes(story, start, _depth(job, story, start))
    if summary["why_no_fills"]:
        quotes += paragraph(f"No fills: {summary['why_no_fills']}.", "warn")
    pnl = paragraph(
        f"PnL after fees by the venue's own books: {summary['pnl_quote']:.4f} USDT, of which fees "
        f"{summary['fees_quote']:.4f}, from {summary['fills']} fills ({summary['maker_fills']} as maker). It is "
        "reported as it came. The kill's flattening is the venue's, not the runner's, so the curve ends before it."
    ) + charts.position_and_pnl(story, start)
    return [("quotes", "Book and quotes", quotes), ("pnl", "Position and PnL", pnl)]


def _depth(job: Job, story: Story, start: float) -> Depth | None:
    if not story.mid_t.size:
        return None
    seconds = (start, float(story.mid_t[-1]) + 1.0)
    return read_depth(job.settings.journal_dir, BTCUSDT_USDM, story.start_ns, seconds, charts.view(story, start))


LATENCIES = {
    "decision_us": "frame received to commands ready",
    "wire_us": "wake-up to request written",
    "wire_frame_us": "frame received to request written",
}


def latency(job: Job, summary: dict[str, Any]) -> Section:
    """Return latencies of the session at 1x."""
    session = job.sessions[-1]
    shapes, rows = {}, []
    for name, title in LATENCIES.items():
        found = session.get(name)
        if not found or not found["histogram"]:
            continue
        rows.append((title, name, found["count"], *(found[key] for key in ("p50", "p99", "max"))))
        upper = np.array([edge for edge, _ in found["histogram"]])
        if name != "wire_frame_us":  # a part of wire_us; drawn over it, it would only hide it
            shapes[title] = (np.array([upper[0] * 0.99, *upper]), np.array([n for _, n in found["histogram"]]))
    text = paragraph("Real microseconds in the session at 1x, Python, asyncio and parser included.")
    text += charts.latency(shapes)
    return ("latency", "Latency", text + table(("", "", "count", "p50, us", "p99, us", "max, us"), rows, digits=1))


SCORES = {
    "model_score": "skill of the challenger",
    "baseline_score": "skill of the baseline",
    "advantage": "advantage over the baseline",
    "direction": "directional accuracy of the challenger",
    "baseline_direction": "directional accuracy of the baseline",
}


def model(evidence: dict[str, Any]) -> Section:
    """Return the promotion's evidence."""
    judged = evidence["challenger"]
    champion = "the baseline" if evidence["is_baseline"] else evidence["model"]
    why = f" ({evidence['why']})" if evidence["why"] else ""
    text = paragraph(
        f"Champion: version {evidence['model_version']}, {champion}. Verdict on the challenger: "
        f"{evidence['verdict']}{why}. Skill is 1 - sum w (y - f)^2 / sum w y^2 on rows later than all that trained; "
        "0 is what knowing nothing scores. A refused challenger is an honest outcome: the baseline never skews quotes."
    )
    scores = [
        (title, judged[name]["value"], judged[name]["low"], judged[name]["high"])
        for name, title in SCORES.items()
        if name in judged
    ]
    text += table(("on the holdout", "value", "95 % from", "to"), scores)
    pictures = [picture(Path(judged.get("plots", {}).get(name, ""))) for name in ("prediction", "skill_over_time")]
    text += f'<div class="pair">{"".join(pictures)}</div>'
    importance = judged.get("importance") or {}
    used = {name: float(value) for name, value in importance.items() if value > 0}
    if used:
        text += paragraph("What the challenger looked at, by gain; features that are not named were not used:")
        text += charts.bars(dict(sorted(used.items(), key=lambda item: -item[1])[:12]), "gain")
    gates = [
        (g["name"].replace("_", " "), pill("passed" if g["passed"] else "refused", g["passed"]), g["value"], g["limit"])
        for g in evidence["gates"]
    ]
    text += table(("gate", "verdict", "value", "asked"), gates)
    return ("model", "Model evidence", text)


def quality(job: Job, summary: dict[str, Any]) -> Section:
    """Return the data's quality."""
    found, sent = summary["quarantined_by_reason"], summary["bad_frames_by_reason"]
    rows = [
        (
            reason.replace("_", " ").lower(),
            n := sent.get(reason, 0),
            m := found.get(reason, 0),
            pill("equal" if n == m else "differs", n == m),
        )
        for reason in sorted({*found, *sent})
    ]
    failed = [name for run in job.facts["platform"] for name in run["failed_checks"]]
    text = paragraph(
        f"{summary['book_matched']:,} of {summary['book_compared']:,} best quotes equal the book built from snapshot "
        f"and diffs alone ({summary['book_gaps']} gaps, {summary['book_crossed']} crossed). "
        f"{summary['asset_checks_passed']} asset checks passed, "
        f"{summary['asset_checks_failed']} failed, over {summary['assets_materialized']} "
        "materializations. Broken frames were sent on purpose; each must be quarantined for its own reason:"
    )
    text += table(("reason", "sent", "quarantined", ""), rows)
    if failed:
        text += paragraph("Failed: " + ", ".join(failed), "bad")
    docs = job.settings.root / "data_docs" / "index.html"
    if docs.is_file():
        link = docs.relative_to(job.folder)
        text += f'<p>Great Expectations over minute profiles and samples: <a href="{escape(link)}">Data Docs</a>.</p>'
    page = quality_page(job.settings)
    if page.is_file():
        link = page.relative_to(job.folder)
        text += f'<p>Pass rates, drift, quarantine, ages: <a href="{escape(link)}">the quality page</a>.</p>'
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
        f"after the second sweep at {summary['kill_ms']:.1f} ms (recvWindow {summary['recv_window_ms']} ms, promised "
        f"within {summary['recv_window_ms'] + 500} ms). Panel: {_panel(record.get('lights') or {})}. "
        f"{_ended(job.facts['runner_exit'])}"
    )
    steps = [(str(step["step"]), float(step["at_ms"])) for step in record["steps"]]
    rows = [
        (step["step"], float(step["at_ms"]), pill("ok" if step["ok"] else "failed", step["ok"]), _said(step["result"]))
        for step in record["steps"]
    ]
    text += charts.kill_timeline(steps) + table(("step", "at ms", "", "result"), rows, digits=1)
    return ("kill", "The kill", text)


def _panel(lights: dict[str, bool]) -> str:
    names = {"red": "red LED", "yellow": "yellow LED", "green": "green LED", "buzzer": "buzzer"}
    return ", ".join(f"{title} {'on' if lights[name] else 'off'}" for name, title in names.items() if name in lights)


def _ended(code: int) -> str:
    return f"The runner was ended by signal {-code}." if code < 0 else f"The runner ended with exit code {code}."


def _said(result: object) -> str:
    """Return a step's result for people: an order as side by side figures."""
    if not isinstance(result, dict):
        return str(result)
    return ", ".join(f"{key} {' / '.join(v) if isinstance(v, list) else v}" for key, v in result.items())


def run_and_stages(job: Job, summary: dict[str, Any]) -> Section:
    """Return stage times and the replay's verdict."""
    verdict = "the same" if summary["replay_identical"] else "NOT the same"
    text = paragraph(
        f"A fresh process read the journal's events only and gave {verdict} {summary['replay_commands']:,} commands "
        f"(sha256 {summary['replay_sha256'][:16]}...)."
    )
    return (
        "run",
        "Replay and stages",
        text + charts.bars({name.replace("_", " "): s for name, s in job.stages.seconds.items()}, "seconds"),
    )


def all_sections(job: Job, summary: dict[str, Any], evidence: dict[str, Any], story: Story) -> list[Section]:
    """Return the sections in the order of the page."""
    return [
        *trading(job, summary, story),
        latency(job, summary),
        model(evidence),
        quality(job, summary),
        *slow_sources.section(Lake(job.settings.lake_dir)),
        kill(job, summary),
        run_and_stages(job, summary),
    ]
