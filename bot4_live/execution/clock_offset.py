"""How far the venue's clock is from the engine's, bounded by round trips.

A question that left at `sent` and whose answer came at `received` was answered in between. If the venue said that its
time was `s` (cut to whole ms), the offset "venue minus engine" lies in [s - received, s + 1 ms - sent]: the offset and
delay of RFC 5905 (eq. 8.1 f.) as an interval. As in its clock filter (section 10) the last eight samples are kept and
age by the greatest drift of the two clocks; all of them are true at once, so the answer is their intersection, at
least as narrow as the sample of the shortest round trip. A sample that misses the others says that a clock
was set: then it alone counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bot4_live.clock import MS

STAGES = 8  # RFC 5905, NSTAGE
# Of the two clocks against each other. RFC 5905's PHI (15 ppm) is for disciplined ones; a crystal on its own is worse.
DRIFT_PPM = 100


@dataclass(frozen=True)
class Offset:
    """An estimate: the true offset is within `error_ns` of `offset_ns`; `rtt_ns` is the shortest round trip kept."""

    offset_ns: int
    error_ns: int
    rtt_ns: int


@dataclass(frozen=True)
class _Sample:
    low_ns: int
    high_ns: int
    sent_ns: int  # from here on the clocks may have drifted: when the venue read its own is not known
    rtt_ns: int


class OffsetEstimator:
    """Takes samples in ns of the engine clock; `steps` counts how often a clock was set."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=STAGES)
        self.steps = 0

    def add(self, venue_ms: int, sent_ns: int, received_ns: int) -> bool:
        """Take one round trip; return whether it showed that a clock was set since the others."""
        sample = _Sample(
            venue_ms * MS - received_ns, (venue_ms + 1) * MS - sent_ns, sent_ns, max(0, received_ns - sent_ns)
        )
        self._samples.append(sample)
        low, high = self._bounds(received_ns)
        if low <= high:
            return False
        self._samples.clear()
        self._samples.append(sample)
        self.steps += 1
        return True

    def estimate(self, now_ns: int) -> Offset | None:
        """Return the offset as of engine time `now_ns`, None without a sample."""
        if not self._samples:
            return None
        low, high = self._bounds(now_ns)
        return Offset((low + high) // 2, (high - low + 1) // 2, min(sample.rtt_ns for sample in self._samples))

    def _bounds(self, now_ns: int) -> tuple[int, int]:
        aged = [(sample, -(-max(0, now_ns - sample.sent_ns) * DRIFT_PPM // 1_000_000)) for sample in self._samples]
        return max(s.low_ns - more for s, more in aged), min(s.high_ns + more for s, more in aged)


class EventBound:
    """What market events prove: none can be received before it happened, so the offset is at least (event - receipt).

    It judges the estimate and never makes it: events are stamped by other machines of the venue than those that answer.
    """

    def __init__(self) -> None:
        self._least_ns: int | None = None
        self._at_ns = 0

    def see(self, exch_ns: int, recv_ns: int) -> None:
        """Take an event's own time and the engine time of its receipt."""
        bound = exch_ns - recv_ns
        if self._least_ns is None or bound > self._least_ns - (recv_ns - self._at_ns) * DRIFT_PPM // 1_000_000:
            self._least_ns, self._at_ns = bound, recv_ns

    def at_least(self, now_ns: int) -> int | None:
        """Return the least possible offset as of engine time `now_ns`, None before the first event."""
        if self._least_ns is None:
            return None
        return self._least_ns - (now_ns - self._at_ns) * DRIFT_PPM // 1_000_000

    def reset(self) -> None:
        """Forget: a clock was set."""
        self._least_ns = None
