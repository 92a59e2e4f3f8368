"""What an operator's command does: write a request into the control block and wait for the watchdog's answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.safety import audit, modes
from bot4_live.safety.control import CONTROL_FILE, ControlBlock, KillState
from bot4_live.safety.durable import read_json
from bot4_live.safety.kill_run import FILE as KILL_FILE
from bot4_live.safety.kill_run import KillRun, take_lease
from bot4_live.safety.venue import SafetyVenue
from bot4_live.safety.watchdog import STATUS_FILE
from bot4_live.settings import Settings

ANSWER_S = 1.0  # a watchdog turns every 10 ms; one that says nothing for this long is dead or hung
BEAT_NS = 1_000_000_000
_POLL_S = 0.005
STATES = {
    KillState.REQUESTED: "requested",
    KillState.FLAGGED: "sending is off",
    KillState.CANCELLED: "orders cancelled",
    KillState.FLAT: "flat",
    KillState.CONFIRMED: "confirmed",
    KillState.FAILED: "NOT confirmed within the budget, trying on",
}


class Operator:
    """The operator's side of one account's control block."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        """Map the block. Raises FileNotFoundError with what to do when there is none (unless `create`)."""
        self.settings = settings
        path = settings.shm_dir / CONTROL_FILE
        try:
            self.block = ControlBlock.create(path) if create else ControlBlock(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"account {settings.account} has no watchdog; start one: bot4 watchdog") from error
        self.audit_path = settings.state_dir / audit.FILE

    def watched(self) -> bool:
        """Return whether a watchdog's heart beats."""
        beat = self.block.get("watchdog_beat_ns")
        return self.block.get("watchdog_pid") != 0 and boottime_ns() - beat < BEAT_NS

    def status(self) -> dict[str, Any]:
        """Return what the watchdog says of itself, {} when it says nothing."""
        try:
            return read_json(self.settings.shm_dir / STATUS_FILE) or {}
        except ValueError:
            return {}

    def last_kill(self) -> dict[str, Any]:
        """Return the record of the last kill, {} when there was none."""
        return read_json(self.settings.state_dir / KILL_FILE) or {}

    # Requests.

    def kill(self, progress: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
        """Kill, by the watchdog or (when it does not answer within a second) by ourselves; return the record.

        The record's `confirmed` is false when orders or a position may be left; a watchdog goes on trying.
        """
        request = boottime_ns()
        self.block.set("operator_pid", os.getpid())
        self.block.set("kill_request", request)
        taken = self._wait(lambda: self.status().get("kill_request") == request, ANSWER_S)
        if not taken:
            progress("no watchdog answers: killing from here")
            return self._kill_ourselves(request, progress)
        return self._follow(request, progress)

    def _follow(self, request: int, progress: Callable[[str], None]) -> dict[str, Any]:
        shown, deadline = 0, time.monotonic() + self.settings.kill_budget_s + 5
        while True:
            state = self.block.get("kill_state")
            if state != shown:
                progress(STATES.get(state, str(state)))
                shown = state
            record = self.last_kill()
            mine = record.get("request") == request
            if mine and record.get("state") == "confirmed":
                return record
            if time.monotonic() > deadline:
                return {**(record if mine else {}), "request": request, "confirmed": False}
            if not self.watched() and not self._wait(self.watched, ANSWER_S):
                progress("the watchdog died meanwhile: killing from here")
                return self._kill_ourselves(request, progress)
            time.sleep(_POLL_S)

    def _kill_ourselves(self, request: int, progress: Callable[[str], None]) -> dict[str, Any]:
        take_lease(self.block)  # the watchdog's fields, but there is no watchdog to do it
        settings = self.settings
        key, secret = settings.watchdog_api_key, settings.watchdog_api_secret
        if not key.get_secret_value():
            key, secret = settings.api_key, settings.api_secret
        if not key.get_secret_value():
            raise ValueError("no API key to kill with: set BOT4_WATCHDOG_API_KEY and BOT4_WATCHDOG_API_SECRET")
        run = KillRun(
            settings,
            self.block,
            SafetyVenue(settings.rest_url, key.get_secret_value(), secret.get_secret_value()),
            source="command",
            reason="bot4 kill, no watchdog",
            request=request,
            pressed_ns=request,
            on_step=lambda step: progress(f"{step['step']}: {step['result']}"),
        )
        run.stop.set()  # one budget; the caller says that it was not confirmed, and may be run again
        self.block.set("mode", Mode.EMERGENCY)
        record = threading.Thread(target=self._latch, args=(run, progress), name="record")
        record.start()  # beside the kill: no disk and no lock may hold it up
        run.run()
        record.join()
        return self.last_kill()

    def _latch(self, run: KillRun, progress: Callable[[str], None]) -> None:
        settings = self.settings
        try:
            machine = modes.ModeMachine(
                settings.state_dir / modes.FILE,
                cooldown_ns=int(settings.mode_cooldown_s * 1e9),
                traded_before=modes.traded_before(settings.journal_dir),
                least_epoch=max(0, self.block.get("arming_epoch")),
            )
            machine.request(Mode.EMERGENCY, run.reason, audit.operator())
            machine.mark("kill_request", run.request)
        except OSError as error:
            progress(f"EMERGENCY could not be stored ({error}): it holds until this machine restarts")
        run.begin()

    def change_mode(self, target: Mode, reason: str) -> dict[str, Any]:
        """Ask for NORMAL, REDUCE or PAUSE; return the watchdog's answer {"granted", "text"}."""
        request = boottime_ns()
        self._need_watchdog()
        audit.append(
            self.audit_path, "mode.requested", audit.operator(), request=request, target=target.name, reason=reason
        )
        self.block.set("operator_pid", os.getpid())
        self.block.set("mode_request", target)
        self.block.set("mode_request_id", request)
        return self._answer("mode_request", request)

    def rearm(self, confirm: str, reason: str) -> dict[str, Any]:
        """Re-arm after EMERGENCY; `confirm` must be the account's name. Raises ValueError when it is not."""
        if confirm != self.settings.account:
            raise ValueError(f"re-arming is authorised by the account's name: --confirm {self.settings.account}")
        self._need_watchdog()
        request = boottime_ns()
        audit.append(
            self.audit_path, "rearm.authorised", audit.operator(), request=request, confirm=confirm, reason=reason
        )
        self.block.set("operator_pid", os.getpid())
        self.block.set("rearm_request", request)
        return self._answer("rearm_request", request)

    def _need_watchdog(self) -> None:
        if not self.watched():
            raise ConnectionError(f"account {self.settings.account} has no watchdog; start one: bot4 watchdog")

    def _answer(self, name: str, request: int) -> dict[str, Any]:
        def mine() -> dict[str, Any]:
            answer: dict[str, Any] = self.status().get("answers", {}).get(name, {})
            return answer if answer.get("id") == request else {}

        if not self._wait(lambda: bool(mine()), 5.0):
            raise ConnectionError("the watchdog did not answer within 5 s; look at it, or: bot4 kill")
        return mine()

    @staticmethod
    def _wait(done: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True
