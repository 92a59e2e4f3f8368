"""Latency histograms of a session, always in real time: log-linear bins, at most 0.8 % wide."""

from __future__ import annotations

from typing import Any

from bot4_live.execution.exchange_time import ExchangeTime

_SUB = 7  # 2**7 bins an octave


class Histogram:
    """Counts of durations in ns; quantiles are the upper edges of their bins."""

    def __init__(self) -> None:
        self._bins = [0] * (64 << _SUB)
        self.count = 0
        self.max_ns = 0

    def add(self, ns: int, times: int = 1) -> None:
        """Count a duration, several times; a negative one counts as 0."""
        ns = max(ns, 0)
        shift = max(ns.bit_length() - _SUB - 1, 0)
        self._bins[(shift << _SUB) + (ns >> shift)] += times
        self.count += times
        self.max_ns = max(self.max_ns, ns)

    @staticmethod
    def _upper_ns(index: int) -> int:
        shift = max((index >> _SUB) - 1, 0)
        return ((index - (shift << _SUB)) + 1 << shift) - 1

    def quantile_us(self, q: float) -> float | None:
        """Return the `q` quantile (0..1) in microseconds, None when nothing was counted."""
        if not self.count:
            return None
        left = min(int(q * self.count) + 1, self.count)
        for index, n in enumerate(self._bins):
            left -= n
            if left <= 0:
                return min(self._upper_ns(index), self.max_ns) / 1000
        return self.max_ns / 1000

    def as_dict(self) -> dict[str, Any]:
        """Return count, p50, p99, p999 and max in us, and the bins that hold anything as [upper edge us, count]."""
        return {
            "count": self.count,
            "p50": self.quantile_us(0.5),
            "p99": self.quantile_us(0.99),
            "p999": self.quantile_us(0.999),
            "max": self.max_ns / 1000 if self.count else None,
            "histogram": [[self._upper_ns(i) / 1000, n] for i, n in enumerate(self._bins) if n],
        }


class ExchangeLatency:
    """Venue's event time to receipt, in real time, corrected by the measured offset of the venue's clock.

    Each figure is right to within `error_us` (the offset's error), and up to `RESOLUTION_US` too long, for venues cut
    event times to whole ms. A corrected latency below zero, but not by more than the error, counts as 0; one further
    below is impossible: it is counted and never shown as a latency. `steps` counts how often the venue's clock was
    found set: between that and the next sample the figures are off by the step.
    """

    RESOLUTION_US = 1000.0

    def __init__(self) -> None:
        self.histogram = Histogram()
        self.impossible = 0
        self.below_error = 0
        self.uncorrected = 0  # events that came before the offset was measured

    def add(self, recv_ns: int, exch_ns: int, venue: ExchangeTime) -> None:
        """Take an event: engine time of its receipt and the venue's own time of it."""
        venue.events.see(exch_ns, recv_ns)
        if not venue.rtt_ns:
            self.uncorrected += 1
            return
        elapsed = recv_ns + venue.offset_ns - exch_ns
        if elapsed < 0:
            if elapsed < -venue.error_ns:
                self.impossible += 1
                return
            self.below_error += 1
        self.histogram.add(elapsed * 1000 // venue.clock.speed_milli)

    def as_dict(self, venue: ExchangeTime | None) -> dict[str, Any]:
        """Return the histogram, the offset behind it, and what it leaves out, for JSON."""
        offset: dict[str, Any] = {"error_us": None, "offset_ms": None, "rtt_us": None, "steps": 0}
        if venue is not None and venue.rtt_ns:
            real = 1000 / venue.clock.speed_milli
            offset = {
                "error_us": venue.error_ns * real / 1e3,
                "offset_ms": venue.offset_ns / 1e6,
                "rtt_us": venue.rtt_ns * real / 1e3,
                "steps": venue.steps,
            }
        return {
            **self.histogram.as_dict(),
            **offset,
            "resolution_us": self.RESOLUTION_US,
            "impossible": self.impossible,
            "below_error": self.below_error,
            "uncorrected": self.uncorrected,
        }


class Latency:
    """What is measured: `decision` (frame received -> commands ready) and `wire` (wake-up -> request written).

    The wake-up is the frame in whose wake the command came or, for requotes on the grid of TICKs, the timer;
    `wire_frame` holds the former alone. "Written" is the loop's turn after the request went to the socket. In `spin` a
    frame counts as received when the poll that found it came back.
    """

    def __init__(self) -> None:
        self.decision = Histogram()
        self.wire = Histogram()
        self.wire_frame = Histogram()
        self.exchange = ExchangeLatency()
        self.venue: ExchangeTime | None = None  # the venue's clock; without it nothing is said of `exchange`

    def market(self, recv_ns: int, exch_ns: int) -> None:
        """Take a market event's two times: engine clock and the venue's (0 where it has none)."""
        if exch_ns and self.venue is not None:
            self.exchange.add(recv_ns, exch_ns, self.venue)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "decision_us": self.decision.as_dict(),
            "wire_us": self.wire.as_dict(),
            "wire_frame_us": self.wire_frame.as_dict(),
            "exchange_us": self.exchange.as_dict(self.venue),
        }
