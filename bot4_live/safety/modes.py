"""The control mode (S2): NORMAL, REDUCE, PAUSE, EMERGENCY, latched and on disk.

Safer is always at once. REDUCE and PAUSE interchange at once. The way into NORMAL is guarded by a cooldown
(CLOCK_BOOTTIME) from the later of the last safer change and the last instant a trip was true; a reboot restarts it.
EMERGENCY is left only by re-arming with authorisation, which opens a new arming epoch and leads to PAUSE until the
cooldown has passed. What the machine made safer returns to NORMAL by itself; what the operator made safer waits for
the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.journal.layout import SegmentHeader
from bot4_live.safety.audit import boot_id
from bot4_live.safety.durable import read_json, write_json

FILE = "mode.json"
OPERATOR = "operator"


@dataclass(frozen=True)
class Latched:
    """What is on disk. Times are CLOCK_BOOTTIME ns of the boot `boot_id`."""

    mode: int
    since_ns: int
    safer_ns: int  # last change to a safer mode
    trip_ns: int  # last instant a trip was true
    returns: bool  # goes back to NORMAL by itself after the cooldown
    reason: str
    by: str
    arming_epoch: int
    boot_id: str
    trips: list[str] = field(default_factory=list)  # true when this was written
    marks: dict[str, int] = field(default_factory=dict)  # requests already carried out, so that none acts twice


@dataclass(frozen=True)
class Answer:
    """Whether a request was granted, and one line that says why."""

    granted: bool
    text: str


class ModeMachine:
    """The state machine over its file: a change is fsynced before it takes effect.

    Methods raise OSError when that fails; a change to a safer mode is in force all the same.
    """

    def __init__(
        self,
        path: Path,
        *,
        cooldown_ns: int,
        traded_before: bool,
        least_epoch: int = 0,
        clock: Callable[[], int] = boottime_ns,
        boot: str | None = None,
    ) -> None:
        """Load the latched mode. A missing file means PAUSE, or NORMAL where the account never traded.

        An unreadable file might have said EMERGENCY: it is taken as that and needs re-arming. `least_epoch` is an
        arming epoch known to have been used.
        """
        self.path, self.cooldown_ns, self._clock = path, cooldown_ns, clock
        self._boot = boot or boot_id()
        self.state = self._load(traded_before, least_epoch)
        self._trips: frozenset[str] = frozenset()
        self._save(self.state)

    def _load(self, traded_before: bool, least_epoch: int) -> Latched:
        now = self._clock()
        start = Latched(Mode.NORMAL, now, 0, 0, False, "first start", "watchdog", least_epoch + 1, self._boot)
        try:
            found = read_json(self.path)
            latched = None if found is None else _decode(found)
        except (ValueError, TypeError):
            return replace(start, mode=Mode.EMERGENCY, safer_ns=now, reason=f"{self.path.name} is unreadable")
        if latched is None:
            if not traded_before:
                return replace(start, safer_ns=now - self.cooldown_ns, trip_ns=now - self.cooldown_ns)
            return replace(start, mode=Mode.PAUSE, safer_ns=now, reason=f"{self.path.name} is missing")
        if latched.boot_id != self._boot:
            latched = replace(latched, boot_id=self._boot, since_ns=now, safer_ns=now, trip_ns=now)
        elif latched.trips:
            latched = replace(latched, trip_ns=now)
        return replace(
            latched,
            safer_ns=min(latched.safer_ns, now),
            trip_ns=min(latched.trip_ns, now),
            arming_epoch=max(latched.arming_epoch, least_epoch),
            trips=[],
        )

    @property
    def mode(self) -> Mode:
        """Return the mode in force."""
        return Mode(self.state.mode)

    @property
    def arming_epoch(self) -> int:
        """Return the arming epoch in force."""
        return self.state.arming_epoch

    def cooldown_left_ns(self) -> int:
        """Return how long NORMAL is still barred; 0 when it is not."""
        if self._trips:
            return self.cooldown_ns
        return max(0, max(self.state.safer_ns, self.state.trip_ns) + self.cooldown_ns - self._clock())

    def request(self, target: Mode, reason: str, by: str) -> Answer:
        """Ask for a mode. `by` starting with "operator" latches it until the operator asks for NORMAL."""
        held = by.startswith(OPERATOR)
        mode = self.mode
        if target == mode:
            if held and self.state.returns:
                self._save(replace(self.state, returns=False, reason=reason, by=by))
            return Answer(True, f"{mode.name} already")
        if mode == Mode.EMERGENCY:
            return Answer(False, "EMERGENCY is left only by re-arming: bot4 mode rearm --confirm ACCOUNT")
        if target == Mode.NORMAL:
            left = self.cooldown_left_ns()
            if left:
                tripped = f", and these are still tripped: {', '.join(sorted(self._trips))}" if self._trips else ""
                return Answer(False, f"NORMAL is barred for another {left / 1e9:.0f} s of calm{tripped}")
        now = self._clock()
        self._save(
            replace(
                self.state,
                mode=target,
                since_ns=now,
                safer_ns=now if target > mode else self.state.safer_ns,
                returns=not held and (self.state.returns or mode == Mode.NORMAL),
                reason=reason,
                by=by,
            )
        )
        return Answer(True, f"{mode.name} -> {target.name}")

    def observe(self, trips: Mapping[str, Mode]) -> None:
        """Take in the trips that are true now, each with the mode it calls for (REDUCE or PAUSE)."""
        names = frozenset(trips)
        if names or self._trips:
            changed = names != self._trips
            self._trips = names
            state = replace(self.state, trip_ns=self._clock(), trips=sorted(names))
            if changed:
                self._save(state)
            else:
                self.state = state  # the instant alone is not worth an fsync each 50 ms; see `_load`
        if names:
            worst = min(max(trips.values()), Mode.PAUSE)  # bad data must not sell at market
            if worst > self.mode:
                self.request(worst, ", ".join(sorted(names)), "watchdog")

    def settle(self) -> bool:
        """Return to NORMAL where that is due by itself; True when it happened."""
        if self.mode not in (Mode.REDUCE, Mode.PAUSE) or not self.state.returns or self.cooldown_left_ns():
            return False
        return self.request(Mode.NORMAL, "calm for the whole cooldown", "watchdog").granted

    def rearm(self, authorised: bool, reason: str, by: str) -> Answer:
        """Leave EMERGENCY when authorised: a new arming epoch, in PAUSE until the cooldown has passed."""
        if self.mode != Mode.EMERGENCY:
            return Answer(False, f"nothing to re-arm: the mode is {self.mode.name}")
        if not authorised:
            return Answer(False, "re-arming needs authorisation: bot4 mode rearm --confirm ACCOUNT")
        epoch = self.state.arming_epoch + 1
        self._save(
            replace(
                self.state,
                mode=Mode.PAUSE,
                since_ns=self._clock(),
                returns=True,
                reason=reason,
                by=by,
                arming_epoch=epoch,
            )
        )
        self.settle()
        left = self.cooldown_left_ns()
        return Answer(True, f"armed again (epoch {epoch}); {f'NORMAL in {left / 1e9:.0f} s' if left else 'NORMAL'}")

    def mark(self, name: str, value: int) -> None:
        """Remember, durably, that request `value` of `name` was carried out."""
        if self.state.marks.get(name) != value:
            self._save(replace(self.state, marks={**self.state.marks, name: value}))

    def marked(self, name: str) -> int:
        """Return the last request of `name` that was carried out, 0 for none."""
        return self.state.marks.get(name, 0)

    def _save(self, state: Latched) -> None:
        try:
            write_json(self.path, {**asdict(state), "name": Mode(state.mode).name})
        except OSError:
            if state.mode > self.state.mode:
                self.state = state
            raise
        self.state = state


def _decode(found: dict[str, Any]) -> Latched:
    known = {item.name for item in fields(Latched)}
    latched = Latched(**{key: value for key, value in found.items() if key in known})
    numbers = (latched.since_ns, latched.safer_ns, latched.trip_ns, latched.arming_epoch, *latched.marks.values())
    if not all(type(value) is int for value in numbers) or latched.arming_epoch < 1:
        raise ValueError("not a latched mode")
    return replace(latched, mode=Mode(latched.mode))


def traded_before(journal_dir: Path) -> bool:
    """Return whether the account's journal holds a session that could send orders (a segment with an order epoch).

    A journal that only recorded a market does not count; a header that cannot be read does.
    """
    for segment in sorted(journal_dir.glob("seg-*.b4j")):
        try:
            with segment.open("rb") as file:
                header, _ = SegmentHeader.decode(file.read(1 << 20))
        except (OSError, ValueError, TypeError):
            return True
        if header.order_epoch > 0:
            return True
    return False
