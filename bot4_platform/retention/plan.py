"""The plan of what goes, and its execution: nothing is removed that the plan did not show."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot4_live.safety.durable import read_json, sync_path, write_json
from bot4_live.settings import Settings
from bot4_platform.archive.window import before, newest_days
from bot4_platform.lake import Lake
from bot4_platform.locks import locked
from bot4_platform.retention.rules import RULES
from bot4_platform.retention.settings import RetentionSettings

DAY_S = 86_400


@dataclass(frozen=True)
class Removal:
    """A folder that goes: its path below the account's, files, bytes, why; of the lake also table, day and market."""

    path: str
    files: int
    size: int
    why: str
    table: str = ""
    day: str = ""
    market: str = ""


def plan(settings: Settings, retention: RetentionSettings) -> list[Removal]:
    """Return what may go now; nothing is touched."""
    return [*_lake(settings, retention), *_runs(settings, retention)]


def plan_path(settings: Settings) -> Path:
    """Return where the last plan lies."""
    return settings.root / "maintenance" / "retention_plan.json"


def save(settings: Settings, removals: list[Removal]) -> Path:
    """Keep a plan, to be read and then carried out."""
    write_json(plan_path(settings), {"removals": [asdict(one) for one in removals]})
    return plan_path(settings)


def saved(settings: Settings) -> list[Removal]:
    """Return the last plan. Raises ValueError when there is none or it is damaged."""
    found: dict[str, Any] | None = read_json(plan_path(settings))
    if found is None:
        raise ValueError(f"there is no {plan_path(settings)}: materialize the asset retention_plan first")
    try:
        return [Removal(**one) for one in found["removals"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{plan_path(settings)} is damaged ({error!r}): materialize retention_plan again") from None


def carry_out(settings: Settings, retention: RetentionSettings) -> list[Removal]:
    """Remove what the saved plan shows and a fresh plan still allows; return it as it was when it went.

    A partition is renamed away under its writers' lock and then removed, so that a reader finds all of it or none and a
    killed run leaves nothing half; doing it again removes the rest.
    """
    shown = {one.path for one in saved(settings)}
    gone = []
    for removal in plan(settings, retention):
        if removal.path not in shown:
            continue
        folder = settings.root / removal.path
        if removal.table:
            lake = Lake(settings.lake_dir)
            aside = lake.stage(removal.table, removal.day, removal.market).with_suffix("")
            with locked(lake.root, f"{removal.table}/{removal.day}/{removal.market}"):
                os.rename(folder, aside)
                sync_path(folder.parent)
            shutil.rmtree(aside)
        else:
            shutil.rmtree(folder)
        gone.append(removal)
    return gone


def _lake(settings: Settings, retention: RetentionSettings) -> Iterator[Removal]:
    lake, spans = Lake(settings.lake_dir), {"scratch": retention.scratch_days, "derived": retention.derived_days}
    newest = newest_days(lake)
    for table, rule in RULES.items():
        for day, market in lake.partitions(table):
            days = spans[rule.span]
            if day > before(newest[market], days) or not lake.exists(rule.made_of, day, market):
                continue
            folder = lake.folder(table, day, market)
            files, size = measure(folder)
            why = f"older than {days} days; {rule.why}"
            yield Removal(folder.relative_to(settings.root).as_posix(), files, size, why, table, day, market)


def _runs(settings: Settings, retention: RetentionSettings) -> Iterator[Removal]:
    """Yield what steps of old runs printed; Dagster's records of the runs stay."""
    oldest = time.time() - retention.run_days * DAY_S
    storage = settings.root / "dagster" / "storage"
    for logs in sorted(storage.glob("*/compute_logs")) if storage.is_dir() else ():
        if logs.is_dir() and max(path.stat().st_mtime for path in [logs, *logs.rglob("*")]) < oldest:
            files, size = measure(logs)
            why = f"output of a run's steps, untouched for {retention.run_days} days"
            yield Removal(logs.relative_to(settings.root).as_posix(), files, size, why)


def measure(folder: Path) -> tuple[int, int]:
    """Return (files, bytes on the disk) below a folder; what vanishes meanwhile is not counted."""
    files = size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(at, name))
            except FileNotFoundError:
                continue
            files, size = files + 1, size + status.st_blocks * 512
    return files, size
