"""Faults on purpose, seeded: what a network and a venue do to those who trust them. For tests and drills."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import Any


@dataclass(frozen=True)
class FaultPlan:
    """Probabilities are per frame or per order request; 0 everywhere is no fault at all."""

    seed: int = 0
    drop: float = 0.0  # a market frame is lost
    duplicate: float = 0.0  # it comes twice
    reorder: float = 0.0  # it comes after the next one
    delay: float = 0.0  # it is held back behind `delay_frames` later ones
    delay_frames: int = 20
    disconnect: float = 0.0  # the connection breaks instead
    user: bool = False  # the same happens to user streams
    lose_request: float = 0.0  # an order request is cut off before it is read
    lose_response: float = 0.0  # an order request is executed and never answered
    response_delay_ms: float = 0.0  # real ms before an order request is answered
    refuse: float = 0.0  # a REST request is refused with 429
    refuse_path: str = ""  # only one whose path begins so
    refuse_after_s: int = 1  # Retry-After of those
    ban_s: float = 0.0  # everybody is banned (418) for so long from now, real seconds
    ban_after: int = 0  # requests during a silence until the ban; 0 leaves what it is
    clock_ms: float = 0.0  # the exchange's clock is wrong by so much: its time, event times, time windows

    def __post_init__(self) -> None:
        """Refuse what is no probability, no number or negative."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, str) != (item.name == "refuse_path") or not isinstance(value, str | int | float):
                raise ValueError(f"fault {item.name} cannot be {value!r}")
            if isinstance(value, str | bool) or item.name in ("seed", "delay_frames", "clock_ms"):
                continue
            free = item.name.endswith(("_ms", "_s", "_after"))
            if not (0 <= value < float("inf") if free else 0 <= value <= 1):
                raise ValueError(f"fault {item.name} must be {'0 or more' if free else '0 to 1'}, not {value}")
        if not abs(self.clock_ms) < 1e12:
            raise ValueError(f"fault clock_ms must be a number of ms, not {self.clock_ms}")

    @classmethod
    def read(cls, values: Any) -> FaultPlan:
        """Return the plan of a parsed JSON object. Raises ValueError naming what is wrong."""
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or not set(values) <= known:
            raise ValueError(f"faults: expected a JSON object with any of {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as problem:
            raise ValueError(f"faults: {problem}") from None

    @classmethod
    def load(cls, path: Path) -> FaultPlan:
        """Return the plan in a JSON file."""
        try:
            return cls.read(json.loads(path.read_text()))
        except json.JSONDecodeError as problem:
            raise ValueError(f"{path} is not JSON ({problem})") from None


class FrameFaults:
    """What happens to the frames of one connection; the same seed does the same."""

    def __init__(self, plan: FaultPlan, salt: int = 0) -> None:
        """Begin; `salt` tells connections apart."""
        self.plan = plan
        self._random = Random(plan.seed * 1_000_003 + salt)
        self._held: list[tuple[int, bytes]] = []  # (frames still to pass, frame)

    def pass_on(self, frames: list[bytes]) -> tuple[list[bytes], bool]:
        """Return (frames to send now, whether the connection breaks after them)."""
        plan, draw = self.plan, self._random.random
        out: list[bytes] = []
        for frame in frames:
            fate = draw()
            if fate < plan.disconnect:
                return out, True
            fate -= plan.disconnect
            if fate < plan.drop:
                continue
            fate -= plan.drop
            if fate < plan.reorder:
                self._held.append((1, frame))
                continue
            fate -= plan.reorder
            if fate < plan.delay:
                self._held.append((plan.delay_frames, frame))
                continue
            fate -= plan.delay
            out.append(frame)
            if fate < plan.duplicate:
                out.append(frame)
            if self._held:
                self._held = [(left - 1, held) for left, held in self._held]
                out.extend(held for left, held in self._held if left <= 0)
                self._held = [entry for entry in self._held if entry[0] > 0]
        return out, False


class RequestFaults:
    """What happens to requests."""

    def __init__(self, plan: FaultPlan) -> None:
        """Begin."""
        self.plan = plan
        self._random = Random(plan.seed * 7_368_787 + 1)

    def lost_before(self) -> bool:
        """Return whether this request never arrives."""
        return self.plan.lose_request > 0 and self._random.random() < self.plan.lose_request

    def lost_after(self) -> bool:
        """Return whether this request is executed and not answered."""
        return self.plan.lose_response > 0 and self._random.random() < self.plan.lose_response

    def refused(self, path: str) -> bool:
        """Return whether this request is refused with 429."""
        plan = self.plan
        return plan.refuse > 0 and path.startswith(plan.refuse_path) and self._random.random() < plan.refuse
