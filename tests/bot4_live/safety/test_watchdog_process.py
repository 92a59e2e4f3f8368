"""The real watchdog process: lease, button, kill, commands, re-arming. Processes are killed for real."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.safety import audit, mock_hand
from bot4_live.safety.control import LEASE_NS, RUN_MAGIC, KillState
from bot4_live.safety.gate import Gate

pytestmark = pytest.mark.system


def expect_killed(guarded: Any, small_venue: Any, record: dict[str, Any]) -> None:
    """Both gone, red LED and buzzer, in time, and the audit trail holds."""
    assert small_venue.orders == {}
    assert small_venue.position == 0
    assert record["confirmed"]
    assert record["recv_window_ms"] <= record["kill_ms"] <= record["recv_window_ms"] + 500
    assert 0 <= record["flat_ms"] < record["kill_ms"]
    assert record["lights"] == {"green": False, "yellow": False, "red": True, "buzzer": True}
    block = guarded.block()
    assert block.get("kill_state") == KillState.CONFIRMED
    assert block.get("mode") == Mode.EMERGENCY
    assert not block.may_send(boottime_ns())
    path = guarded.settings.state_dir / audit.FILE
    assert audit.verify(path).fault is None
    kills = [line for line in audit.entries(path) if line["event"] == "kill.confirmed"]
    assert kills[-1]["kill"]["kill_ms"] == record["kill_ms"]
    names = [step["step"] for step in kills[-1]["kill"]["steps"] if step["step"] != "order"]
    wanted = ["flag", "clock", "cancel-all", "stop-runner", "flatten", "cancel-algo", "wait", "sweep", "flatten"]
    assert names == [*wanted, "verify", "disconnect"]


def test_the_lease_is_renewed_and_lapses_when_the_watchdog_is_killed(guarded: Any, until: Any) -> None:
    ready = guarded.watchdog()
    assert (ready["mode"], ready["arming_epoch"], ready["panel"]) == ("NORMAL", 1, "mock")
    assert ready["priority"]["session"] == "ok"
    block = guarded.block()
    gate = Gate(block)
    assert gate.check() == 0
    first = block.get("run_until_ns")
    until(lambda: block.get("run_until_ns") > first, 2)
    guarded.runner()
    os.kill(ready["pid"], signal.SIGKILL)
    died = boottime_ns()
    until(lambda: gate.check() != 0, 2)
    assert block.get("run_until_ns") <= died + LEASE_NS  # so whoever reads the page is stopped 250 ms later at most
    assert block.get("flag") == RUN_MAGIC  # nobody was left to lower it: the lease did it
    again = guarded.watchdog()
    assert (again["mode"], again["arming_epoch"]) == ("NORMAL", 1)
    until(lambda: gate.check() == 0, 2)


def test_the_button_kills_and_rearming_arms_again(guarded: Any, small_venue: Any, until: Any) -> None:
    guarded.watchdog()
    runner = guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    small_venue.rest("b4-00000001-00000002", "SELL", "61000.0")
    small_venue.position = small_venue.position + 3
    until(lambda: guarded.status()["lights"]["green"])
    mock_hand.press(guarded.settings.shm_dir, 80)
    until(lambda: guarded.kill_record().get("state") == "confirmed")
    record = guarded.kill_record()
    expect_killed(guarded, small_venue, record)
    assert record["source"] == "button"
    assert runner.wait(5) == -signal.SIGKILL
    until(lambda: guarded.status()["lights"]["red"])

    # Stopped stays stopped: no other mode, no wrong authorisation, no restart brings it back.
    assert guarded.run("mode", "normal").returncode == 1
    refused = guarded.run("mode", "rearm")
    assert refused.returncode == 1
    assert "--confirm guarded" in refused.stderr
    block = guarded.block()
    block.set("rearm_request", boottime_ns())  # garbage in the page authorises nothing
    until(lambda: guarded.status()["answers"].get("rearm_request"))
    assert not guarded.status()["answers"]["rearm_request"]["granted"]
    os.kill(guarded.dogs[0].pid, signal.SIGKILL)
    guarded.dogs[0].wait()
    assert guarded.watchdog()["mode"] == "EMERGENCY"
    time.sleep(0.1)
    assert not block.may_send(boottime_ns())

    answer = guarded.run("mode", "rearm", "--confirm", "guarded", "--reason", "test is over", "--json")
    assert json.loads(answer.stdout)["granted"], answer
    until(lambda: block.may_send(boottime_ns()), 2)
    assert block.get("arming_epoch") == 2
    assert block.get("kill_state") == KillState.IDLE
    until(lambda: guarded.status()["mode"] == "NORMAL", 5)  # the cooldown of this account is short
    until(lambda: not guarded.status()["lights"]["red"] and not guarded.status()["lights"]["buzzer"])
    assert Gate(block).check() == 0
    assert audit.verify(guarded.settings.state_dir / audit.FILE).fault is None


def test_bounces_shorter_than_50_ms_do_not_kill(guarded: Any, small_venue: Any, until: Any) -> None:
    guarded.watchdog()
    small_venue.rest("b4-00000001-00000001")
    pattern = [(True, 20), (False, 5), (True, 35), (False, 1), (True, 30), (False, 60), (True, 10)]
    mock_hand.move(guarded.settings.shm_dir, pattern)
    time.sleep(0.15)
    assert guarded.status()["mode"] == "NORMAL"
    assert small_venue.orders
    mock_hand.move(guarded.settings.shm_dir, [*pattern, (True, 90)])  # bounces, then a finger that stays
    until(lambda: guarded.kill_record().get("state") == "confirmed")
    assert not small_venue.orders


def test_bot4_kill_does_the_same(guarded: Any, small_venue: Any) -> None:
    guarded.watchdog()
    runner = guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    small_venue.position = small_venue.position - 2
    done = guarded.run("kill", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    expect_killed(guarded, small_venue, record)
    assert record["source"] == "command"
    assert runner.wait(5) == -signal.SIGKILL
    assert "confirmed" in done.stderr


def test_bot4_kill_kills_alone_without_a_watchdog(guarded: Any, small_venue: Any) -> None:
    ready = guarded.watchdog()
    os.kill(ready["pid"], signal.SIGKILL)
    runner = guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    small_venue.position = small_venue.position + 1
    done = guarded.run("kill", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["confirmed"]
    assert small_venue.orders == {}
    assert small_venue.position == 0
    assert runner.wait(5) == -signal.SIGKILL
    assert guarded.watchdog()["mode"] == "EMERGENCY"
    assert not guarded.block().may_send(boottime_ns())


def test_a_hung_watchdog_does_not_keep_bot4_kill_from_killing(guarded: Any, small_venue: Any, until: Any) -> None:
    ready = guarded.watchdog()
    small_venue.rest("b4-00000001-00000001")
    path = guarded.settings.state_dir / audit.FILE
    until(path.exists)
    with path.open() as trail:
        # As if it hung while it wrote its audit line; stopped after the lock, or it might itself hold it for ever.
        fcntl.flock(trail, fcntl.LOCK_EX)
        os.kill(ready["pid"], signal.SIGSTOP)
        done = guarded.run("kill", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kill_ms"] < 250 + 500 + 1000  # the second without an answer counts
    assert small_venue.orders == {}
    aside = list(guarded.settings.state_dir.glob("audit-*.jsonl"))
    assert [audit.verify(one).fault for one in aside] == [None]
    os.kill(ready["pid"], signal.SIGCONT)  # it wakes up, finds the request and stays stopped
    until(lambda: guarded.status()["mode"] == "EMERGENCY")
    time.sleep(0.3)
    assert not guarded.block().may_send(boottime_ns())


def test_a_kill_cut_short_is_finished_by_the_next_watchdog(guarded: Any, small_venue: Any, until: Any) -> None:
    ready = guarded.watchdog()
    small_venue.rest("b4-00000001-00000001")
    small_venue.position = small_venue.position + 1
    reached = []

    def die(_params: dict[str, str]) -> None:
        if not reached:
            reached.append(True)
            os.kill(ready["pid"], signal.SIGKILL)

    small_venue.hooks["POST /fapi/v1/order"] = die
    with contextlib.suppress(ConnectionError):  # it dies while the button is held
        mock_hand.press(guarded.settings.shm_dir, 80)
    until(lambda: reached)
    guarded.dogs[0].wait()
    assert guarded.watchdog()["mode"] == "EMERGENCY"
    until(lambda: guarded.kill_record().get("state") == "confirmed")
    assert guarded.kill_record()["source"] == "resumed"
    assert small_venue.orders == {}
    assert small_venue.position == 0


def test_a_dead_runner_s_orders_are_cancelled(guarded: Any, small_venue: Any, until: Any) -> None:
    guarded.watchdog()
    runner = guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    until(lambda: guarded.status()["runner"]["alive"])
    runner.kill()
    until(lambda: not small_venue.orders, 3)
    assert guarded.status()["mode"] == "NORMAL"
    until(lambda: "orders.cancelled" in [e["event"] for e in audit.entries(guarded.settings.state_dir / audit.FILE)])


def test_a_hung_runner_is_paused_and_its_orders_cancelled(guarded: Any, small_venue: Any, until: Any) -> None:
    guarded.watchdog()
    runner = guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    until(lambda: guarded.status()["runner"]["alive"])
    runner.send_signal(signal.SIGSTOP)
    until(lambda: not small_venue.orders, 6)
    assert guarded.block().get("mode") == Mode.PAUSE
    until(lambda: guarded.status()["lights"]["yellow"])  # the status file is written beside the loop
    assert guarded.run("mode", "normal").returncode == 1
    runner.send_signal(signal.SIGCONT)
    until(lambda: guarded.status()["mode"] == "NORMAL", 5)  # calm for the whole (short) cooldown


def test_the_runner_may_ask_for_emergency(guarded: Any, small_venue: Any, until: Any) -> None:
    guarded.watchdog()
    runner = guarded.runner()
    small_venue.position = small_venue.position + 1
    guarded.block().set("runner_request", Mode.EMERGENCY)
    until(lambda: guarded.kill_record().get("state") == "confirmed")
    assert guarded.kill_record()["source"] == "runner"
    assert small_venue.position == 0
    assert runner.wait(5) == -signal.SIGKILL
    rearmed = guarded.run("mode", "rearm", "--confirm", "guarded")
    assert rearmed.returncode == 0, rearmed.stderr
    time.sleep(0.2)
    assert guarded.block().may_send(boottime_ns())  # the dead runner's request does not act twice


def test_modes_by_command(guarded: Any, until: Any) -> None:
    guarded.watchdog()
    assert "NORMAL" in guarded.run("mode").stdout
    assert guarded.run("mode", "pause", "--reason", "maintenance").returncode == 0
    assert guarded.block().get("mode") == Mode.PAUSE
    assert guarded.run("mode", "reduce").returncode == 0
    time.sleep(0.6)
    shown = json.loads(guarded.run("mode", "show", "--json").stdout)
    assert shown["mode"] == "REDUCE"  # past the cooldown: what the operator asked for stays
    assert shown["lights"]["yellow"]
    assert guarded.block().may_send(boottime_ns())  # cancels and reduce-only still leave
    assert guarded.run("mode", "normal").returncode == 0
    reasons = [e.get("reason") for e in audit.entries(guarded.settings.state_dir / audit.FILE)]
    assert "maintenance" in reasons


def test_sigterm_ends_it_cleanly_and_stopped(guarded: Any, small_venue: Any, until: Any) -> None:
    ready = guarded.watchdog()
    guarded.runner()
    small_venue.rest("b4-00000001-00000001")
    until(lambda: guarded.status()["runner"]["alive"])
    os.kill(ready["pid"], signal.SIGTERM)
    assert guarded.dogs[0].wait(10) == 0
    block = guarded.block()
    assert (block.get("flag"), block.get("run_until_ns"), block.get("watchdog_pid")) == (0, 0, 0)
    assert small_venue.orders == {}  # a runner without lease could not cancel them itself
    assert guarded.status() == {}


def test_one_watchdog_an_account(guarded: Any) -> None:
    guarded.watchdog()
    second = guarded.run("watchdog")
    assert second.returncode == 1
    assert second.stderr.strip() == "bot4: a watchdog for account guarded runs already"


def test_it_refuses_to_start_without_a_key_of_its_own(guarded: Any) -> None:
    guarded.environment["BOT4_WATCHDOG_API_KEY"] = ""
    done = guarded.run("watchdog")
    assert done.returncode == 1
    assert "BOT4_WATCHDOG_API_KEY" in done.stderr


def test_it_imports_no_compiler() -> None:
    code = (
        "import sys, bot4_live.cli, bot4_live.commands.watchdog, bot4_live.safety.watchdog, bot4_live.safety.mock_hand,"
        " bot4_live.safety.operator, gpiozero, gpiozero.pins.mock, bot4_live.settings\n"
        "print([m for m in ('numba', 'llvmlite', 'aiohttp', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
