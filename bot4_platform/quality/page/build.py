"""Making the page: collect, judge the ages, render, replace the file."""

from __future__ import annotations

import time
from pathlib import Path

from bot4_live.safety.durable import write_bytes
from bot4_live.settings import Settings
from bot4_platform.quality.page.facts import Facts, collect
from bot4_platform.quality.page.render import render
from bot4_platform.settings import quality_page


def build(settings: Settings, now_ns: int | None = None) -> tuple[Path, Facts]:
    """Make the account's page as of `now_ns` (engine clock, now when not given); return where it is and its facts."""
    from bot4_platform.staleness.report import look

    now = time.time_ns() if now_ns is None else now_ns
    facts = collect(settings, look(settings, now))
    path = quality_page(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, render(facts, now).encode())
    return path, facts
