"""The last stage: summary.json and report.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot4_live.safety.durable import write_bytes, write_json
from bot4_platform.demo.report import render
from bot4_platform.demo.sections import all_sections
from bot4_platform.demo.summary import summarise

if TYPE_CHECKING:
    from bot4_platform.demo.job import Job


def finish(job: Job) -> dict[str, Any]:
    """Write both files and return the summary."""
    from bot4_platform.lake import Lake
    from bot4_platform.mlops import evidence

    with job.stages.stage("report", "writing the report"):
        proof = evidence.load(job.settings)
        candles = Lake(job.settings.lake_dir).read("candles_1m").height
        summary, story = summarise(job, proof, candles)
        page = render(summary, all_sections(job, summary, proof, story))
        write_bytes(job.folder / "report.html", page.encode())
    summary["stages_s"], summary["stages_total_s"] = job.stages.seconds, job.stages.total
    write_json(job.folder / "summary.json", summary)
    return summary
