"""One kill from request to confirmation: attempts until it is confirmed, `kill.json`, and the audit record.

The watchdog runs it in a thread; `bot4 kill` runs it itself where no watchdog answers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.safety import audit
from bot4_live.safety.control import STOP, ControlBlock, KillState
from bot4_live.safety.durable import write_json
from bot4_live.safety.kill import Hooks, Kill, Report
from bot4_live.safety.panel import Lights
from bot4_live.safety.process import Identity, kill_runner
from bot4_live.safety.venue import SafetyVenue
from bot4_live.settings import Settings

FILE = "kill.json"
_RETRY_S = 1.0


def take_lease(block: ControlBlock) -> None:
    """Take the right to send from everybody, at once: flag down, lease ended."""
    block.set("flag", STOP)
    block.set("run_until_ns", 0)


class KillRun:
    """A kill that goes on until it is confirmed (or `stop` is set after an attempt)."""

    def __init__(
        self,
        settings: Settings,
        block: ControlBlock,
        venue: SafetyVenue,
        *,
        source: str,
        reason: str,
        request: int,
        pressed_ns: int,
        runner: Identity | None = None,
        on_step: Callable[[dict[str, Any]], None] = lambda _step: None,
        on_end: Callable[[], Lights | None] = lambda: None,
    ) -> None:
        """`source` is button, command, runner or resumed; `request` the operator's request it answers, or 0.

        `on_end` switches on red LED and buzzer and returns what the panel shows then.
        """
        self._settings, self._block, self._venue, self._runner = settings, block, venue, runner
        self._on_end = on_end
        self.source, self.reason, self.request = source, reason, request
        self.report = Report(pressed_ns, settings.recv_window_ms)
        self.stop = threading.Event()
        self.alarmed = self.finished = False
        self._recording = threading.Lock()
        hooks = Hooks(
            flag=lambda: take_lease(block),
            stop_runner=lambda: kill_runner(block, runner),
            state=lambda state: block.set("kill_state", state),
            step=on_step,
        )
        budget_ns = int(settings.kill_budget_s * 1e9)
        self._kill = Kill(venue, [settings.symbol], hooks, self.report, budget_ns=budget_ns)
        self.path = settings.state_dir / FILE
        self.audit_path = settings.state_dir / audit.FILE

    def run(self) -> Report:
        """Kill; each attempt over budget alarms and is repeated. Returns the report."""
        while True:
            self._kill.run()
            if self.report.confirmed:
                break
            self.alarmed = True
            lights = self._on_end()
            with self._recording:
                self._write("alarm", lights)
            self._audit("kill.alarm", lights)
            if self.stop.wait(_RETRY_S):
                return self.report
        lights = self._on_end()
        self._audit("kill.confirmed", lights)
        with self._recording:  # last: who waits for this file finds everything else done
            self._write("confirmed", lights)
            self.finished = True
        return self.report

    def join(self, request: int) -> bool:
        """Answer one more request by this kill; False when it has ended already."""
        with self._recording:
            if self.finished:
                return False
            self.request = request or self.request
            return True

    def begin(self) -> None:
        """Put on disk that a kill is under way, so that a restarted watchdog takes it up again."""
        with self._recording:
            if not self.alarmed and not self.finished:
                self._write("running", None)
        self._audit("kill.requested", None)

    def _write(self, state: str, lights: Lights | None) -> None:
        try:
            write_json(self.path, {"state": state, **self.summary(), "lights": lights and lights._asdict()})
        except OSError:  # a full disk must not stop a kill
            self.report.steps.append({"step": "record", "ok": False, "result": f"cannot write {self.path}"})

    def _audit(self, event: str, lights: Lights | None) -> None:
        details = {} if event == "kill.requested" else {"kill": self.summary(), "lights": lights and lights._asdict()}
        for path in (self.audit_path, self.audit_path.with_name(f"audit-{os.getpid()}.jsonl")):
            try:
                audit.append(path, event, self.source, reason=self.reason, request=self.request, **details)
                return
            except OSError as error:  # locked by a hung process: a trail of its own; neither holds up a kill
                self.report.steps.append({"step": "audit", "ok": False, "result": str(error)})

    def summary(self) -> dict[str, Any]:
        """Return the record of this kill so far, as in `kill.json`."""
        return {
            "account": self._settings.account,
            "symbol": self._settings.symbol,
            "source": self.source,
            "reason": self.reason,
            "request": self.request,
            "arming_epoch": self._block.get("arming_epoch"),
            "written_boottime_ns": boottime_ns(),
            **asdict(self.report),
        }


def unfinished(kill: dict[str, Any] | None, block: ControlBlock) -> bool:
    """Return whether `kill.json` or the control block tells of a kill that was not confirmed."""
    state = block.get("kill_state")
    began = state not in (KillState.IDLE, KillState.CONFIRMED)
    return began or (kill is not None and not kill.get("confirmed"))
