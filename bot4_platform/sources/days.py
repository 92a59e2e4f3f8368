"""UTC days of sources, without Dagster's partitions: a reader is also a small process of its own."""

from __future__ import annotations

from bot4_live.clock import DAY_NS, day_start_ns


def is_past(day: str, now_ns: int) -> bool:
    """Return whether a day is over: what is read of it now is a backfill."""
    return day_start_ns(day) + DAY_NS <= now_ns
