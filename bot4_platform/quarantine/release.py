"""Releasing frames and taking releases back, with the ticks and candles rebuilt; what fails leaves all as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quarantine import overrides
from bot4_platform.quarantine.frames import NotReleasable, Tick, held, instrument_of, read_tick

if TYPE_CHECKING:
    from bot4_platform.run import RunSummary

TICKS = ("trades", "quotes", "depth", "quarantine")
CANDLES_GROUP = "candles"


def quarantined(settings: Settings, market: str | None = None, day: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every row of the quarantine with its `market`, `day` and `state` (held or released), by day."""
    lake, now = Lake(settings.lake_dir), overrides.released(settings, market)
    for at, name in lake.partitions("quarantine", market):
        if day in (None, at):
            for row in lake.read("quarantine", at, name).iter_rows(named=True):
                state = "released" if (name, row["seq"]) in now else "held"
                yield row | {"market": name, "day": at, "state": state}


def find(settings: Settings, seq: int, market: str | None = None) -> dict[str, Any]:
    """Return one frame by its seq. Raises ValueError when there is none, or one in several markets."""
    found = [row for row in quarantined(settings, market) if row["seq"] == seq]
    if len(found) != 1:
        what = "no frame" if not found else f"{len(found)} frames (name one with --market)"
        raise ValueError(f"the quarantine has {what} of seq {seq}; `bot4 quarantine list` shows what it has")
    return found[0]


def outcome(settings: Settings, row: dict[str, Any]) -> Tick:
    """Return the tick that a frame would be. Raises NotReleasable with the reason it cannot be one."""
    tick = read_tick(row, row["market"], instrument_of(settings, row["market"], row["first_seen"]))
    if held(Lake(settings.lake_dir), tick, row["market"]):
        raise NotReleasable(f"the lake has this event already, in {tick.table} of {tick.day}")
    return tick


def release(settings: Settings, rows: Iterable[dict[str, Any]], who: str, why: str) -> list[MarketDay]:
    """Release frames and rebuild what they belong to; return the partitions that were rebuilt.

    Raises NotReleasable before anything is written when one of them cannot be a tick. When the rebuilt ticks or candles
    fail a blocking check, the release is taken back, they are rebuilt as they were, and ValueError says which check.
    """
    wanted = [(row, outcome(settings, row)) for row in rows]
    fresh = [
        (row, tick) for row, tick in wanted
        if overrides.release(settings, row, row["market"], row["day"], who, why)
    ]  # fmt: skip
    parts = sorted({MarketDay(tick.day, row["market"]) for row, tick in fresh})
    summary = rebuild(settings, parts)
    if summary is not None and not summary.success:
        failed = ", ".join(summary.failed_checks) or "; ".join(f"{k}: {v}" for k, v in summary.failed_steps.items())
        for row, _ in fresh:
            overrides.revoke(settings, row["market"], row["seq"], who, f"taken back: {failed}")
        rebuild(settings, parts)
        raise ValueError(f"not released: with it the partition fails {failed}; everything is as it was before")
    return parts


def revoke(settings: Settings, rows: Iterable[dict[str, Any]], who: str, why: str) -> list[MarketDay]:
    """Take releases back and rebuild; return the partitions. Frames that are not released change nothing.

    Raises ValueError when the partitions cannot be rebuilt; the release is taken back nevertheless.
    """
    parts = set()
    for row in rows:
        if overrides.revoke(settings, row["market"], row["seq"], who, why):
            tick = read_tick(row, row["market"], instrument_of(settings, row["market"], row["first_seen"]))
            parts.add(MarketDay(tick.day, row["market"]))
    summary = rebuild(settings, sorted(parts))
    if summary is not None and not summary.success:
        raise ValueError(f"taken back, but the ticks were not rebuilt: {summary.failed_steps}")
    return sorted(parts)


def rebuild(settings: Settings, parts: list[MarketDay]) -> RunSummary | None:
    """Make ticks and candles of partitions anew, nothing else; None when there are none."""
    import dagster as dg

    from bot4_platform.run import materialize

    if not parts:
        return None
    return materialize(dg.AssetSelection.assets(*TICKS) | dg.AssetSelection.groups(CANDLES_GROUP), parts, settings)
