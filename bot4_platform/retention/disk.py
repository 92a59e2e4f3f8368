"""What the disk is used for, how much of the budget that is, and what would free some of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Literal

from bot4_live.settings import Settings
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.archive.window import candidates
from bot4_platform.lake import Lake
from bot4_platform.retention.plan import measure, plan
from bot4_platform.retention.settings import DiskSettings, RetentionSettings

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Usage:
    """Bytes by part, largest first, of `budget`; `free` is what the disk has left. `frees`: (what to do, bytes)."""

    parts: tuple[tuple[str, int, int], ...]  # name, files, bytes
    used: int
    budget: int
    free: int
    frees: tuple[tuple[str, int], ...]

    @property
    def percent(self) -> float:
        """Return how much of the budget is used: by the account, or where that is worse, by all that is on the disk."""
        return max(100.0 * self.used / self.budget, 100.0 * self.used / max(1, self.used + self.free))

    def verdict(self, settings: DiskSettings) -> Verdict:
        """Return what the settings say to that."""
        if self.percent >= settings.fail_pct:
            return "fail"
        return "warn" if self.percent >= settings.warn_pct else "ok"


def usage(settings: Settings, disk: DiskSettings, retention: RetentionSettings, archive: ArchiveSettings) -> Usage:
    """Measure the account. Raises FileNotFoundError when there is none."""
    if not settings.root.is_dir():
        raise FileNotFoundError(2, "there is no such account", str(settings.root))
    parts: list[tuple[str, int, int]] = []
    for entry in sorted(os.scandir(settings.root), key=lambda entry: entry.name):
        if entry.name == "lake":
            parts += [(f"lake/{table.name}", *measure(table)) for table in sorted(settings.lake_dir.iterdir())]
        elif entry.is_dir():
            parts.append((entry.name, *measure(settings.root / entry.name)))
    parts = [part for part in parts if part[1]]
    space = shutil.disk_usage(settings.root)
    budget = round(disk.budget_gb * 2**30) or space.total
    removable = sum(one.size for one in plan(settings, retention))
    old = sum(
        one.path.stat().st_blocks * 512
        for one in candidates(Lake(settings.lake_dir), settings.journal_dir, archive.days)
    )
    cached = measure(settings.lake_dir / ".archive")[1]
    how = "bot4 archive" if archive.bucket else "an archive (BOT4_PLATFORM__ARCHIVE__BUCKET), then bot4 archive"
    frees = [("retention: materialize retention_plan, then retention", removable), (how, old)]
    frees.append((f"fewer files of the archive kept: empty {settings.lake_dir / '.archive'}", cached))
    found = tuple((what, size) for what, size in frees if size)
    used = sum(size for _, _, size in parts)
    return Usage(tuple(sorted(parts, key=lambda part: -part[2])), used, budget, space.free, found)
