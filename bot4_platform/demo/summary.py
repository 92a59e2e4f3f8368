"""`summary.json`: what a run came to, from the venue, the journal and the platform's own records."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_platform.demo.story import Story, read

if TYPE_CHECKING:
    from bot4_platform.demo.job import Job


def machine() -> str:
    """Return what this ran on, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {model}, Python {platform.python_version()}"


def _total(sessions: Sequence[dict[str, Any]], name: str) -> int:
    return sum(int(session["counters"][name]) for session in sessions)


def _percentiles(session: dict[str, Any], name: str) -> dict[str, float | None]:
    return {quantile: session[name][quantile] for quantile in ("p50", "p99")}


def summarise(job: Job, evidence: dict[str, Any], candles: int) -> tuple[dict[str, Any], Story]:
    """Return (summary, story). Money is in the quote currency; times are ns of the journal's engine clock."""
    facts, settings = job.facts, job.settings
    story = read([settings.journal_dir], BTCUSDT_USDM)
    real_time = job.sessions[-1]
    kill, book, runs, venue, replay = (facts[name] for name in ("kill", "book", "platform", "venue", "replay"))
    last = facts["last_session"]
    sessions = [*job.sessions, last]
    shift = int(job.clock["shift_ns"])
    summary: dict[str, Any] = {
        "source": f"capture {job.capture.name}" if job.capture else job.clock["source"],
        "seed": None if job.capture else job.seed,
        "account": facts["account"],
        "finished_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "speed": {"capture": job.plan.capture_speed, "live": job.plan.live_speed, "latency": 1.0},
        "stages_s": job.stages.seconds,
        "stages_total_s": job.stages.total,
        "events": story.events,
        "decisions": _total(sessions, "decisions"),
        "orders_sent": _total(sessions, "orders_sent"),
        "cancels_sent": _total(sessions, "cancels_sent"),
        "fills": venue["fills"],
        "maker_fills": venue["maker_fills"],
        "why_no_fills": None if venue["fills"] else why_no_fills(story),
        "pnl_quote": venue["pnl_quote"],
        "fees_quote": venue["fees_quote"],
        "risk_rejections": _total(sessions, "risk_rejections"),
        "suppressed": story.suppressed,
        "train_until_ns": evidence["train_until_ns"],
        "live_from_ns": facts["live_from_ns"] + shift,
        "model_name": "baseline" if evidence["is_baseline"] else evidence["model"],
        "model_version": evidence["model_version"],
        "model_alias": evidence["model_alias"],
        "model_score": evidence["model_score"],
        "baseline_score": evidence["baseline_score"],
        "promotion": evidence["verdict"],
        "online_features": story.slow_values,
        "assets_materialized": sum(run["assets_materialized"] for run in runs),
        "asset_checks_passed": sum(run["asset_checks_passed"] for run in runs),
        "asset_checks_failed": sum(run["asset_checks_failed"] for run in runs),
        "quarantined": sum(story.quarantined.values()),
        "quarantined_by_reason": story.quarantined,
        "bad_frames_by_reason": facts["bad_frames"],
        "candles": candles,
        "flat_ms": kill["flat_ms"],
        "kill_ms": kill["kill_ms"],
        "recv_window_ms": kill["recv_window_ms"],
        "kill_position_taken": facts["position_taken"],
        "kill_open_orders": facts["at_kill"]["open_orders"],
        "kill_position_lots": facts["at_kill"]["position_lots"],
        "after_kill_open_orders": venue["open_orders"],
        "after_kill_positions": venue["positions"],
        "replay_identical": replay["identical"],
        "replay_commands": replay["commands"],
        "replay_sha256": replay["sha256"],
        "decision_us": _percentiles(real_time, "decision_us"),
        "wire_us": _percentiles(real_time, "wire_us"),
        "book_compared": book["compared"],
        "book_matched": book["matched"],
        "book_gaps": book["gaps"],
        "book_crossed": book["crossed"],
    }
    return summary, story


def why_no_fills(story: Story) -> str:
    """Return why no order was filled, from the distance between our quotes and the market."""
    if not story.quote_t.size:
        return "no order was sent"
    mids = story.mid[(story.mid_t >= story.quote_t[0]) & (story.mid_t <= story.quote_t[-1])]
    tick = BTCUSDT_USDM.tick_e8 / E8
    if not mids.size:
        return "there was no market while we quoted"
    width = float(abs(story.quote_px - mids.mean()).mean())
    moved = float(mids.max() - mids.min())
    return (
        f"quotes rested {width / tick:.0f} ticks from mid on average, and mid moved {moved / tick:.0f} ticks in all: "
        "nobody traded through them"
    )
