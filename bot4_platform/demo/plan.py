"""How a run divides its market: what is captured and learnt from, what is traded, at which speed."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000
LONGEST_S = 345.0  # more market than this would not fit the five minutes a run may take
SHORTEST_S = 60.0
LEARN_SHARE = 0.62
CAPTURE_WALL_S = 27.0
LIVE_WALL_S = 27.0
REAL_TIME_S = 14.0
SHORTEST_REAL_TIME_S = 8.0  # a runner needs seconds to connect and bridge its book, at any length of market
KILL_RESERVE_S = 12.0
FASTEST = 16.0


@dataclass(frozen=True)
class Plan:
    """Market times are ns of the recording's own clock (before the exchange's shift)."""

    begin_ns: int
    live_from_ns: int
    real_time_from_ns: int
    kill_ns: int
    end_ns: int
    capture_speed: float
    live_speed: float

    @property
    def captured_s(self) -> float:
        """Return seconds of market that are captured and learnt from."""
        return (self.live_from_ns - self.begin_ns) / SECOND


def make_plan(begin_ns: int, end_ns: int, longest_s: float = LONGEST_S) -> Plan:
    """Divide the market between `begin_ns` and `end_ns`: 62 % to learn, then live, the last part in real time.

    Speeds are chosen so that capture and live take about 27 s each, at most 16x. Raises ValueError when the recording
    is too short to learn from and trade.
    """
    length_s = min((end_ns - begin_ns) / SECOND, longest_s)
    if length_s < SHORTEST_S:
        raise ValueError(
            f"the recording holds {length_s:.0f} s of market; the main job needs at least {SHORTEST_S:.0f} s"
        )
    scale = min(1.0, length_s / 240.0)
    real_s = max(REAL_TIME_S * scale, SHORTEST_REAL_TIME_S)
    reserve_s = KILL_RESERVE_S * scale
    learn_s = LEARN_SHARE * length_s
    live_s = length_s - learn_s - real_s - reserve_s

    def at(seconds: float) -> int:
        return begin_ns + int(seconds * SECOND)

    def speed(market_s: float, wall_s: float) -> float:
        return float(min(FASTEST, max(1.0, round(market_s / wall_s, 1))))

    return Plan(
        begin_ns=begin_ns,
        live_from_ns=at(learn_s),
        real_time_from_ns=at(learn_s + live_s),
        kill_ns=at(learn_s + live_s + real_s),
        end_ns=at(length_s),
        capture_speed=speed(learn_s, CAPTURE_WALL_S * scale),
        live_speed=speed(live_s, LIVE_WALL_S * scale),
    )
