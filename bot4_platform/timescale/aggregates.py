"""The candles that the database keeps by itself: their buckets, and refreshes whose window has both ends.

A refresh takes whole buckets that are closed by the market's clock. An open end would move the watermark past ticks
that are still to come, and they would not show; buckets whose ticks the retention has taken would lose their candles.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from bot4_platform.timescale.connection import connect
from bot4_platform.timescale.settings import PostgresSettings

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

MINUTE_NS = 60 * 10**9
RETRY_S = 0.2
# Level -> bucket in ns, each stacked on the one before it.
LEVELS = {"1m": MINUTE_NS, "5m": 5 * MINUTE_NS, "15m": 15 * MINUTE_NS, "1h": 60 * MINUTE_NS, "4h": 240 * MINUTE_NS,
          "1d": 1440 * MINUTE_NS}  # fmt: skip


class Window(NamedTuple):
    """Exchange times of the first and last tick concerned, ns, both included."""

    first_ns: int
    last_ns: int


class TooOld(ValueError):
    """Ticks of a time whose raw chunks may be gone: refreshing it would delete candles."""


def buckets(window: Window, width_ns: int, now_ns: int) -> tuple[int, int] | None:
    """Return [start, end) of the closed buckets of `width_ns` that hold the window, None when none is closed."""
    start = window.first_ns // width_ns * width_ns
    end = min(window.last_ns // width_ns + 1, now_ns // width_ns) * width_ns
    return (start, end) if start < end else None


def refresh(settings: PostgresSettings, window: Window) -> None:
    """Bring every aggregate up to date over the window, the lowest first; without the extension there is nothing to do.

    A bucket that is still open is not materialised; the real-time aggregates compute it when asked. Raises TooOld, and
    as `connect` does.
    """
    with connect(settings, autocommit=True) as db, db.cursor() as found:
        if not is_timescale(found):
            return
        refuse_old(found, window.first_ns)
        now = now_ns(found)
        for level, width in LEVELS.items():
            span = buckets(window, width, now)
            if span is not None:
                _refresh_level(found, level, span, settings.lock_timeout_s)


def _refresh_level(found: cursor, level: str, span: tuple[int, int], patience_s: float) -> None:
    """Refresh one aggregate; wait for a refresh of the same buckets that a policy has under way.

    The server does not wait for that one: it refuses at once, whatever `lock_timeout` is.
    """
    from psycopg2.errors import LockNotAvailable

    deadline = time.monotonic() + patience_s
    while True:
        try:
            found.execute(f"call refresh_continuous_aggregate('market.candles_{level}', %s, %s)", span)
            return
        except LockNotAvailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


def refuse_old(found: cursor, first_ns: int) -> None:
    """Raise TooOld when the database drops raw ticks of that time."""
    found.execute(
        "select (config->>'drop_after')::bigint from timescaledb_information.jobs"
        " where proc_name = 'policy_retention' and hypertable_schema = 'market' and hypertable_name = 'market_ticks'"
    )
    row = found.fetchone()
    if row is not None and first_ns < now_ns(found) - int(row[0]):
        days = int(row[0]) // (1440 * MINUTE_NS)
        raise TooOld(
            f"ticks older than the {days} days of raw retention are not loaded: they would be dropped again and their "
            "candles with them; the lake has them (docs/timescale.md)"
        )


def now_ns(found: cursor) -> int:
    """Return the market's clock of the database."""
    found.execute("select market.now_ns()")
    row = found.fetchone()
    assert row is not None
    return int(row[0])


def is_timescale(found: cursor) -> bool:
    """Return whether the database has the extension."""
    found.execute("select exists (select from pg_extension where extname = 'timescaledb')")
    return found.fetchone() == (True,)
