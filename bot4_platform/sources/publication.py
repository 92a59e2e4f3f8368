"""When a row could be known: `created_ns`, by which training joins.

What arrives live has its arrival. What is fetched later has the event's time plus the lag that the source declares, as
if it had been followed live. A source that states when it publishes (macro releases) gives that instant.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Publication:
    """A source's lag: how long after its event a row can be had by who asks at once, ns; and what that is based on."""

    lag_ns: int
    why: str

    def __post_init__(self) -> None:
        """Refuse what would look ahead."""
        if self.lag_ns < 0:
            raise ValueError(f"a publication lag is not negative: {self.lag_ns} ns")

    def created_ns(self, event_ns: int, arrival_ns: int, *, backfill: bool) -> int:
        """Return when a row could be known: its arrival, or for a backfill its event plus the lag.

        A backfill's is never later than its arrival, and nothing's is earlier than its event.
        """
        known = min(event_ns + self.lag_ns, arrival_ns) if backfill else arrival_ns
        return max(event_ns, known)


CANDLES = Publication(2_000_000_000, "a closed candle is served within 2 s of its close (asked at once)")
TRADES = Publication(1_000_000_000, "trades are served by REST within 1 s")
FUNDING = Publication(MINUTE_NS, "a settled rate is listed within a minute of its settlement")
