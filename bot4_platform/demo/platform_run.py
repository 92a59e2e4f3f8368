"""The demo's Dagster stage: every asset, in process, with the account's instance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bot4_live.journal.reader import Journal
from bot4_live.settings import Settings
from bot4_platform.demo.progress import Stages
from bot4_platform.run import RunSummary, Step, materialize


def partitions_of(settings: Settings) -> list[tuple[str, str]]:
    """Return the (exchange day, market) pairs that the journal's sealed segments hold, in order."""
    pairs = {
        (day, str(seal["market"]))
        for seal in Journal(settings.journal_dir).seals()
        for day in [*seal["exchange_days"], seal["receive_day"]]
        if day is not None
    }
    return sorted(pairs)


def materialize_all(settings: Settings, stages: Stages, selection: str = "*") -> dict[str, Any]:
    """Materialize and return the run's counts. Raises RuntimeError naming the first step that failed."""

    def progress(step: Step) -> None:
        verdict = "" if step.ok else "  FAILED"
        stages.say(f"{step.done:3d}/{step.total} {step.name:<28} {step.seconds:5.1f} s{verdict}")

    summary: RunSummary = materialize(selection, partitions_of(settings), settings, progress=progress)
    summary.raise_for_failure()
    return asdict(summary)
