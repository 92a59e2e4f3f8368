"""What the watchdog sees of the runner: is it there, does its heart beat, what does it ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot4_live.events import Mode
from bot4_live.safety.control import ControlBlock, RunnerState
from bot4_live.safety.process import Identity, alive, identify

HUNG_NS = 3_000_000_000  # a heart that stood still this long; collection pauses and a busy machine take less
_LOOK_NS = 100_000_000


@dataclass
class Sight:
    """What one look found. `trips` name conditions that are true now and the mode each calls for."""

    trips: dict[str, Mode] = field(default_factory=dict)
    died: bool = False  # seen for the first time: gone without saying STOPPED
    hung: bool = False  # seen for the first time
    emergency: bool = False


class RunnerWatch:
    """Looks at the runner's fields of the control block and at its process."""

    def __init__(self, block: ControlBlock) -> None:
        self._block = block
        self.identity: Identity | None = None
        self.alive = False
        self._pid = 0
        self._seen_ns = 0
        self._looked_ns = 0
        self._reported_dead = 0
        self._was_hung = False

    @property
    def pid(self) -> int:
        """Return the runner's pid as last seen, 0 for none."""
        return self._pid

    def look(self, now_ns: int) -> Sight:
        """Return what is to be done about the runner at CLOCK_BOOTTIME `now_ns`."""
        sight, block = Sight(), self._block
        pid = block.get("runner_pid")
        if pid != self._pid:
            self._pid, self._seen_ns, self.identity = pid, now_ns, identify(pid)
            self._looked_ns, self._was_hung = 0, False
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            self.alive = self.identity is not None and alive(self.identity)
        request = block.get("runner_request")
        sight.emergency = request == Mode.EMERGENCY
        if pid == 0:
            return sight
        state = block.get("runner_state")
        if not self.alive:
            if self._reported_dead != pid and not (state == RunnerState.STOPPED and not block.get("open_orders")):
                self._reported_dead, sight.died = pid, True
            return sight
        if request in (Mode.REDUCE, Mode.PAUSE):
            sight.trips[f"the runner asks for {Mode(request).name}"] = Mode(request)
        beats = state in (RunnerState.HOLD, RunnerState.TRADING)
        beat_ns = max(block.get("runner_beat_ns"), self._seen_ns)  # a new runner finds its predecessor's last beat
        hung = beats and now_ns - beat_ns > HUNG_NS
        if hung:
            sight.trips["the runner is hung"] = Mode.PAUSE
        sight.hung, self._was_hung = hung and not self._was_hung, hung
        return sight
