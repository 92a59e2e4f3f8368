"""UTC days of sources, without Dagster's partitions: a reader is also a small process of its own."""

from __future__ import annotations

from datetime import UTC, date, datetime

from bot4_live.clock import DAY_NS


def day_start_ns(day: str) -> int:
    """Return the first nanosecond of a UTC day (`YYYY-MM-DD`)."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_NS


def day_of(ns: int) -> str:
    """Return the UTC day of a time."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).date().isoformat()


def is_past(day: str, now_ns: int) -> bool:
    """Return whether a day is over: what is read of it now is a backfill."""
    return day_start_ns(day) + DAY_NS <= now_ns
