"""A kill is carried out whatever happens to its records."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from bot4_live.clock import boottime_ns
from bot4_live.safety import audit
from bot4_live.safety.control import CONTROL_FILE, RUN_MAGIC, ControlBlock, KillState
from bot4_live.safety.kill_run import KillRun, unfinished
from bot4_live.safety.panel import Lights
from bot4_live.safety.venue import SafetyVenue
from bot4_live.settings import Settings

SHOWN = Lights(red=True, buzzer=True)


def run_of(account: Settings, block: ControlBlock) -> KillRun:
    venue = SafetyVenue(account.rest_url, "watchdog-key", "watchdog-secret")
    return KillRun(
        account, block, venue, source="button", reason="test", request=0, pressed_ns=boottime_ns(), on_end=lambda: SHOWN
    )


def test_the_record_and_the_trail_say_the_same(account: Settings, small_venue: Any) -> None:
    small_venue.position = Decimal(1)
    block = ControlBlock.create(account.shm_dir / CONTROL_FILE)
    block.set("flag", RUN_MAGIC)
    run = run_of(account, block)
    run.begin()
    assert unfinished(json.loads(run.path.read_text()), block)
    report = run.run()
    record = json.loads(run.path.read_text())
    assert not unfinished(record, block)
    assert (record["state"], record["lights"]) == ("confirmed", SHOWN._asdict())
    assert record["flat_ms"] == report.flat_ms
    assert (block.get("flag"), block.get("kill_state")) == (0, KillState.CONFIRMED)
    assert [line["event"] for line in audit.entries(run.audit_path)] == ["kill.requested", "kill.confirmed"]
    assert not run.join(5)


def test_a_disk_that_takes_nothing_does_not_stop_it(account: Settings, small_venue: Any) -> None:
    small_venue.position = Decimal(1)
    small_venue.rest("b4-00000001-00000001")
    account.root.mkdir(parents=True)
    account.state_dir.write_text("a file where the folder belongs")
    run = run_of(account, ControlBlock.create(account.shm_dir / CONTROL_FILE))
    run.begin()
    assert run.run().confirmed
    assert (small_venue.orders, small_venue.position) == ({}, 0)
    assert {"record", "audit"} <= {step["step"] for step in run.report.steps if not step["ok"]}


def test_a_late_beginning_does_not_overwrite_the_end(account: Settings, small_venue: Any) -> None:
    run = run_of(account, ControlBlock.create(account.shm_dir / CONTROL_FILE))
    run.run()
    run.begin()
    assert json.loads(run.path.read_text())["state"] == "confirmed"


def test_over_budget_it_alarms_and_says_so(account: Settings, small_venue: Any) -> None:
    small_venue.bids, small_venue.position = [], Decimal(1)
    short = account.model_copy(update={"kill_budget_s": 0.3})
    run = run_of(short, ControlBlock.create(account.shm_dir / CONTROL_FILE))
    run.stop.set()
    assert not run.run().confirmed
    record = json.loads(run.path.read_text())
    assert (record["state"], record["confirmed"], run.alarmed) == ("alarm", False, True)
    assert unfinished(record, ControlBlock(account.shm_dir / CONTROL_FILE))
    assert [line["event"] for line in audit.entries(run.audit_path)] == ["kill.alarm"]
