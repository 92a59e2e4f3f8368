"""The watchdog: renews the lease, watches runner and panel, answers the operator, and executes the kill.

One loop turns every 10 ms and touches only memory; disks and the venue are left to threads. Whatever ends this
process ends the lease within 250 ms.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.safety import audit, modes
from bot4_live.safety.control import CONTROL_FILE, LEASE_NS, RENEW_NS, RUN_MAGIC, ControlBlock, KillState
from bot4_live.safety.durable import read_json, write_json
from bot4_live.safety.kill_run import FILE as KILL_FILE
from bot4_live.safety.kill_run import KillRun, take_lease, unfinished
from bot4_live.safety.modes import Answer, ModeMachine
from bot4_live.safety.panel import Lights, Panel
from bot4_live.safety.runner_watch import RunnerWatch
from bot4_live.safety.venue import SafetyVenue, VenueError
from bot4_live.safety.worker import Worker
from bot4_live.settings import Settings

LOCK_FILE, STATUS_FILE = "watchdog.lock", "watchdog.json"
TURN_S = 0.01
VENUE_EVERY_NS = 5_000_000_000  # how often the venue's clock is read: keeps the connection warm, shows that it works
BUZZER_NS = 60_000_000_000
_REQUEST_AGE_NS = 60_000_000_000


class Watchdog:
    """The guard of one account; `run` turns until `stop` is set."""

    def __init__(
        self, settings: Settings, panel: Panel, wake: threading.Event, *, clock: Callable[[], int] = boottime_ns
    ) -> None:
        """Become the account's watchdog; `wake` ends a wait early (the panel sets it at each edge).

        Raises OSError when the account has one already, ValueError without an API key of its own or when the venue
        refuses it. A venue that does not answer is no reason not to guard.
        """
        key, secret = settings.watchdog_api_key.get_secret_value(), settings.watchdog_api_secret.get_secret_value()
        if not key or not secret:
            raise ValueError(
                "the watchdog has no API key: set BOT4_WATCHDOG_API_KEY and BOT4_WATCHDOG_API_SECRET "
                "(a key of its own, so that it can act when the runner's is used up or revoked)"
            )
        self.settings, self.panel, self._clock = settings, panel, clock
        self.venue = SafetyVenue(settings.rest_url, key, secret)
        _require_key(self.venue)
        self._lock = _only_one(settings)
        self.block = ControlBlock.create(settings.shm_dir / CONTROL_FILE)
        take_lease(self.block)  # until armed below
        self.machine = ModeMachine(
            settings.state_dir / modes.FILE,
            cooldown_ns=int(settings.mode_cooldown_s * 1e9),
            traded_before=modes.traded_before(settings.journal_dir),
            least_epoch=max(0, self.block.get("arming_epoch")),
            clock=clock,
        )
        self.runner = RunnerWatch(self.block)
        self.kill: KillRun | None = None
        self.stop = threading.Event()
        self.wake = wake
        self.answers: dict[str, dict[str, Any]] = {}
        self.warnings: dict[str, str] = {}
        self._venue_lock = threading.Lock()
        self._scribe = Worker("scribe", self._failed)
        self._hands = Worker("hands", self._failed)
        self._armed = False
        self._renewed_ns = self._venue_ns = self._published_ns = self._buzzer_until = 0
        self._status: dict[str, Any] = {}
        self._mode = self.machine.mode
        self.block.set("watchdog_pid", os.getpid())
        self._note("watchdog.started", mode=self._mode.name, arming_epoch=self.machine.arming_epoch, panel=panel.kind)
        last = self._last_kill()
        if unfinished(last, self.block):
            self._start_kill("resumed", "a kill was not confirmed", request=int((last or {}).get("request", 0)))
        elif self._mode != Mode.EMERGENCY:
            self._arm()
        self.turn()

    # The loop.

    def run(self) -> None:
        """Turn until `stop` is set, then hand the account over stopped."""
        try:
            while not self.stop.is_set():
                self.wake.wait(self.turn())
                self.wake.clear()
        finally:
            self.close()

    def turn(self) -> float:
        """Do what is due and return the seconds until the next turn."""
        now = self._clock()
        self.block.set("watchdog_beat_ns", now)
        self._watch_triggers(now)
        self._renew(now)
        self._watch_runner(now)
        self._answer_operator()
        if self._armed:
            self._keep(self.machine.settle)
        self._publish(now)
        due = self.panel.press_due_ns()
        return TURN_S if due is None else min(TURN_S, max(0.0, (due - self._clock()) / 1e9))

    def _renew(self, now: int) -> None:
        if self._armed and now - self._renewed_ns >= RENEW_NS:
            self.block.set("run_until_ns", now + LEASE_NS)
            self._renewed_ns = now

    def _watch_triggers(self, now: int) -> None:
        pressed = self.panel.take_press(now)
        if pressed is not None:
            self._start_kill("button", "the kill button was pressed", pressed_ns=pressed)
        request = self.block.get("kill_request")
        if request not in (0, self.machine.marked("kill_request")):
            pressed_ns = request if 0 <= now - request <= _REQUEST_AGE_NS else now
            self._start_kill("command", "bot4 kill", request=request, pressed_ns=pressed_ns)

    def _watch_runner(self, now: int) -> None:
        sight = self.runner.look(now)
        if sight.emergency and self.runner.pid != self.machine.marked("runner_emergency"):
            self._start_kill("runner", "the runner asked for EMERGENCY")
        if self.kill is not None and not self.kill.finished:
            return
        if self._armed:  # the mode first: a runner that wakes up must find it
            self._keep(lambda: self.machine.observe(sight.trips))
            self._show_mode()
        if sight.died:
            self._note("runner.died", runner_pid=self.runner.pid, open_orders=self.block.get("open_orders"))
            self._cancel_by_own_key("the runner died")
        if sight.hung:
            self._note("runner.hung", runner_pid=self.runner.pid, beat_ns=self.block.get("runner_beat_ns"))
            self._cancel_by_own_key("the runner is hung")
        if self._armed and now - self._venue_ns >= VENUE_EVERY_NS:
            self._venue_ns = now
            self._hands.put_once("venue", self._read_venue)

    # Acts.

    def _arm(self) -> None:
        self._buzzer_until = 0
        self.block.set("arming_epoch", self.machine.arming_epoch)
        self.block.set("mode", self.machine.mode)
        self.block.set("kill_state", KillState.IDLE)
        self.block.set("flag", RUN_MAGIC)
        self._armed, self._renewed_ns = True, 0

    def _start_kill(self, source: str, reason: str, request: int = 0, pressed_ns: int | None = None) -> None:
        take_lease(self.block)  # before anything that can wait
        self._armed = False
        if self.kill is not None and not self.kill.stop.is_set() and self.kill.join(request):
            if request:
                self._keep(lambda: self.machine.mark("kill_request", request))
            return
        self.block.set("kill_state", KillState.REQUESTED)
        pressed_ns = self._clock() if pressed_ns is None else pressed_ns
        shared = self._venue_lock.acquire(timeout=0.02)  # a slow request of ours must not hold up a kill
        kill = KillRun(
            self.settings,
            self.block,
            self.venue if shared else self.venue.twin(),
            source=source,
            reason=reason,
            request=request,
            pressed_ns=pressed_ns,
            runner=self.runner.identity,
            on_end=self._alarm,
        )

        def work() -> None:
            try:
                kill.run()
            finally:
                if shared:
                    self._venue_lock.release()
                self.wake.set()

        self.kill = kill
        threading.Thread(target=work, name="kill", daemon=True).start()
        self._scribe.put("kill", kill.begin)
        self._keep(lambda: self.machine.request(Mode.EMERGENCY, reason, source))
        if request:
            self._keep(lambda: self.machine.mark("kill_request", request))
        if source == "runner":
            self._keep(lambda: self.machine.mark("runner_emergency", self.runner.pid))

    def _alarm(self) -> Lights:
        self._buzzer_until = self._clock() + BUZZER_NS
        self.panel.show(Lights(red=True, buzzer=True))
        return self.panel.lights()

    def _cancel_by_own_key(self, reason: str) -> None:
        def job() -> None:
            with self._venue_lock:
                self.venue.cancel_all(self.settings.symbol)
                self._hang_up_unless_armed()
            audit.append(self._audit_path, "orders.cancelled", "watchdog", reason=reason, symbol=self.settings.symbol)
            self.warnings.pop("cancel", None)

        def retry() -> None:
            for _ in range(20):
                if self.stop.is_set() or not self._armed:
                    return
                try:
                    job()
                    return
                except OSError as error:
                    self.warnings["cancel"] = f"{reason}, and its orders could not be cancelled: {error}"
                    self.stop.wait(0.25)

        self._hands.put_once("cancel", retry)

    def _read_venue(self) -> None:
        if not self._venue_lock.acquire(blocking=False):
            return
        try:
            if self._armed:
                self.venue.sync_time()
                self.venue.filters(self.settings.symbol)
                self.venue.open_orders()  # signed: a key that was revoked shows before it is needed
            self.warnings.pop("venue", None)
        finally:
            self._hang_up_unless_armed()
            self._venue_lock.release()

    def _hang_up_unless_armed(self) -> None:
        if not self._armed:  # a kill came meanwhile, on a connection of its own
            self.venue.close()

    def _answer_operator(self) -> None:
        block, machine = self.block, self.machine
        request = block.get("mode_request_id")
        if request not in (0, machine.marked("mode_request")):
            target = block.get("mode_request")
            if target in (Mode.NORMAL, Mode.REDUCE, Mode.PAUSE):
                answer = self._keep(lambda: machine.request(Mode(target), "bot4 mode", modes.OPERATOR))
            else:
                answer = Answer(False, f"no such mode: {target}")
            self._reply("mode_request", request, answer)
        request = block.get("rearm_request")
        if request not in (0, machine.marked("rearm_request")):
            self._reply("rearm_request", request, self._rearm(request))
            block.set("rearm_done", request)

    def _rearm(self, request: int) -> Answer:
        if self.kill is not None and not self.kill.finished:
            return Answer(False, "the kill is not confirmed yet; orders or a position may be left")
        granted = any(
            line["event"] == "rearm.authorised"
            and line.get("request") == request
            and line.get("confirm") == self.settings.account
            for line in audit.entries(self._audit_path)
        )
        answer = self._keep(lambda: self.machine.rearm(granted, "bot4 mode rearm", modes.OPERATOR))
        if answer is not None and answer.granted:
            self.kill = None
            self._arm()
        return answer or Answer(False, "the mode could not be stored")

    def _reply(self, name: str, request: int, answer: Answer | None) -> None:
        answer = answer or Answer(False, f"the mode could not be stored: {self.warnings.get('state', '')}")
        self._keep(lambda: self.machine.mark(name, request))
        self.answers[name] = {"id": request, "granted": answer.granted, "text": answer.text}
        self._note(f"{name.replace('_', '.')}.answered", request=request, granted=answer.granted, text=answer.text)

    # What others see.

    def _publish(self, now: int) -> None:
        self._show_mode()
        if now - self._published_ns < RENEW_NS:
            return
        self._published_ns = now
        mode, block, machine = self.machine.mode, self.block, self.machine
        killing = self.kill is not None and not self.kill.report.confirmed
        stopped = not killing and not self._armed
        alarmed = self.kill is not None and self.kill.alarmed
        warned = mode != Mode.NORMAL or bool(self.warnings) or (self.runner.pid != 0 and not self.runner.alive)
        lights = Lights(
            green=self._armed and not warned,
            yellow=(self._armed and warned) or (killing and not alarmed),
            red=stopped or alarmed,
            buzzer=now < self._buzzer_until,
        )
        if self.panel.lights() != lights:
            self.panel.show(lights)
        status: dict[str, Any] = {
            "account": self.settings.account,
            "pid": os.getpid(),
            "panel": self.panel.kind,
            "lights": lights._asdict(),
            "armed": self._armed,
            "mode": mode.name,
            "reason": machine.state.reason,
            "by": machine.state.by,
            "returns_to_normal": machine.state.returns,
            "normal_barred_until_ns": max(machine.state.safer_ns, machine.state.trip_ns) + machine.cooldown_ns,
            "arming_epoch": machine.arming_epoch,
            "kill_state": block.get("kill_state"),
            "kill_request": self.kill.request if self.kill is not None else 0,
            "runner": {"pid": self.runner.pid, "alive": self.runner.alive, "state": block.get("runner_state")},
            "warnings": dict(self.warnings),
            "answers": self.answers,
        }
        if status != self._status:
            with contextlib.suppress(OSError):
                write_json(self.settings.shm_dir / STATUS_FILE, status)
            self._status = {**status, "answers": dict(self.answers)}

    def _show_mode(self) -> None:
        mode, state = self.machine.mode, self.machine.state
        if mode != self._mode:
            self._note("mode.changed", old=self._mode.name, new=mode.name, reason=state.reason)
            self._mode = mode
        if self.block.get("mode") != mode or self.block.get("mode_since_ns") != state.since_ns:
            self.block.set("mode", mode)
            self.block.set("mode_since_ns", state.since_ns)

    @property
    def _audit_path(self) -> Any:
        return self.settings.state_dir / audit.FILE

    def _note(self, event: str, **details: Any) -> None:
        self._scribe.put(event, lambda: audit.append(self._audit_path, event, "watchdog", **details))

    def _failed(self, name: str, error: Exception) -> None:
        self.warnings["venue" if name in ("venue", "cancel") else "state"] = str(error)

    def _keep(self, action: Callable[[], Any]) -> Any:
        """Do what writes the mode file; a disk that refuses is a warning, and safer modes hold all the same."""
        try:
            return action()
        except OSError as error:
            self.warnings["state"] = f"the mode could not be stored: {error}"
            return None

    def _last_kill(self) -> dict[str, Any] | None:
        try:
            return read_json(self.settings.state_dir / KILL_FILE)
        except ValueError:
            return None

    def close(self) -> None:
        """End: lease taken, a kill under way finished within its budget, orders of a living runner cancelled."""
        take_lease(self.block)
        left_alone = self._armed and self.runner.alive and self.block.get("open_orders") != 0
        self._armed = False
        kill = self.kill
        if kill is not None and not kill.finished:
            kill.stop.set()
            deadline = self._clock() + int(self.settings.kill_budget_s * 1e9)
            while not kill.finished and not kill.alarmed and self._clock() < deadline:
                time.sleep(TURN_S)
        elif left_alone:
            self._hands.put("cancel", lambda: self.venue.cancel_all(self.settings.symbol))
        self._hands.close(3.0)
        self._note("watchdog.stopped", mode=self.machine.mode.name)
        self._scribe.close(3.0)
        self.block.set("watchdog_pid", 0)
        (self.settings.shm_dir / STATUS_FILE).unlink(missing_ok=True)
        self.panel.close()
        self.venue.close()
        os.close(self._lock)


def _require_key(venue: SafetyVenue) -> None:
    try:
        venue.open_orders()
    except VenueError as error:
        if error.refuses_key:
            raise ValueError(
                f"{error}; set BOT4_WATCHDOG_API_KEY and BOT4_WATCHDOG_API_SECRET to a key of this account "
                "that may cancel and trade: a watchdog that cannot act protects nothing"
            ) from None
    except OSError:
        pass  # it may come back; until then status and lights warn
    finally:
        venue.close()


def _only_one(settings: Settings) -> int:
    settings.shm_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(settings.shm_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise OSError(f"a watchdog for account {settings.account} runs already") from error
    return fd
