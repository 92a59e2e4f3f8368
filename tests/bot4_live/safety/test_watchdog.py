"""The watchdog's loop, turned by hand in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from bot4_live.clock import boottime_ns
from bot4_live.events import Mode
from bot4_live.safety.control import RunnerState
from bot4_live.safety.panel import BUTTON, Panel
from bot4_live.safety.runner_watch import HUNG_NS, RunnerWatch
from bot4_live.safety.watchdog import Watchdog
from bot4_live.settings import Settings


@pytest.fixture
def dog(account: Settings) -> Iterator[Watchdog]:
    wake = threading.Event()
    watchdog = Watchdog(account, Panel("mock", wake.set), wake)
    yield watchdog
    watchdog.close()


def test_a_key_that_the_venue_refuses_is_no_guard(account: Settings) -> None:
    wrong = account.model_copy(update={"watchdog_api_secret": SecretStr("not-the-secret")})
    wake = threading.Event()
    with pytest.raises(ValueError, match="BOT4_WATCHDOG_API_KEY") as refused:
        Watchdog(wrong, Panel("mock", wake.set), wake)
    assert "not-the-secret" not in str(refused.value)
    assert not account.shm_dir.exists()  # nothing was begun


def test_a_venue_that_is_away_is_no_reason_not_to_guard(account: Settings, small_venue: Any) -> None:
    small_venue.close()
    wake = threading.Event()
    dog = Watchdog(account, Panel("mock", wake.set), wake)
    try:
        turn_until(dog, lambda: "venue" in dog.warnings)
        assert dog.block.may_send(boottime_ns())
    finally:
        dog.close()


def test_a_key_that_is_revoked_later_is_a_warning(dog: Watchdog, small_venue: Any) -> None:
    turn_until(dog, lambda: small_venue.names().count("GET /fapi/v1/openOrders") == 2)
    refusal = b'{"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}'
    small_venue.answer_after["GET /fapi/v1/openOrders"] = (401, refusal)
    dog._venue_ns = 0  # due again at once
    turn_until(dog, lambda: "-2015" in dog.warnings.get("venue", ""))


def turn_until(dog: Watchdog, done: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(dog.turn())


def test_a_slow_request_of_its_own_does_not_hold_up_the_kill(dog: Watchdog, small_venue: Any) -> None:
    small_venue.rest("b4-00000001-00000001")
    pin: Any = dog.panel.factory.pin(f"GPIO{BUTTON}")
    with dog._venue_lock:  # as while a request of the watchdog waits for its timeout
        pin.drive_low()
        turn_until(dog, lambda: dog.kill is not None and dog.kill.finished)
        pin.drive_high()
    assert small_venue.orders == {}
    assert dog.kill is not None
    assert dog.kill.report.kill_ms is not None
    assert dog.kill.report.kill_ms <= 250 + 500


def test_the_lease_ends_before_anything_else_happens(dog: Watchdog, small_venue: Any) -> None:
    allowed: list[bool] = []
    small_venue.hooks["DELETE /fapi/v1/allOpenOrders"] = lambda _: allowed.append(dog.block.may_send(boottime_ns()))
    dog.turn()
    assert dog.block.may_send(boottime_ns())
    dog.block.set("kill_request", boottime_ns())
    turn_until(dog, lambda: dog.kill is not None and dog.kill.finished)
    assert allowed == [False, False]
    second = boottime_ns()
    dog.block.set("kill_request", second)  # again, when all is gone: done again
    turn_until(dog, lambda: dog.kill is not None and dog.kill.request == second and dog.kill.finished)
    assert not dog.block.may_send(boottime_ns())


def test_garbage_in_the_page_never_makes_the_mode_riskier(dog: Watchdog) -> None:
    dog.block.set("mode_request", Mode.PAUSE)
    dog.block.set("mode_request_id", 1)
    dog.turn()
    assert dog.machine.mode == Mode.PAUSE
    for request, value in enumerate((-1, 4, 2**62, Mode.EMERGENCY), start=2):
        dog.block.set("mode_request", value)
        dog.block.set("mode_request_id", request)
        dog.turn()
        assert not dog.answers["mode_request"]["granted"]
        assert dog.machine.mode == Mode.PAUSE


def test_a_runner_s_request_is_a_trip_while_it_lasts(dog: Watchdog) -> None:
    import os

    dog.block.set("runner_pid", os.getpid())
    dog.block.set("runner_request", Mode.REDUCE)
    turn_until(dog, lambda: dog.machine.mode == Mode.REDUCE)
    time.sleep(0.6)  # longer than this account's cooldown
    dog.turn()
    assert dog.machine.mode == Mode.REDUCE
    dog.block.set("runner_request", Mode.NORMAL)
    turn_until(dog, lambda: dog.machine.mode == Mode.NORMAL)


def test_a_runner_is_hung_only_after_a_grace_of_its_own(dog: Watchdog) -> None:
    import os

    watch, now = RunnerWatch(dog.block), boottime_ns()
    dog.block.set("runner_state", RunnerState.TRADING)
    dog.block.set("runner_beat_ns", now - 60 * HUNG_NS)  # its predecessor's
    dog.block.set("runner_pid", os.getpid())
    assert watch.look(now).trips == {}
    assert watch.look(now + HUNG_NS).trips == {}
    late = watch.look(now + HUNG_NS + 1)
    assert (late.hung, late.trips) == (True, {"the runner is hung": Mode.PAUSE})
    assert not watch.look(now + HUNG_NS + 2).hung  # said once
    dog.block.set("runner_state", RunnerState.STARTING)  # compiling takes its time
    assert watch.look(now + 9 * HUNG_NS).trips == {}
    dog.block.set("runner_state", RunnerState.STOPPED)
    dog.block.set("runner_pid", 0)
