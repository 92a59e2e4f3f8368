"""The latched mode: cooldown, latching, re-arming, and what a restart or a reboot keeps."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot4_live.events import Mode
from bot4_live.journal.layout import SegmentHeader, segment_name
from bot4_live.safety.modes import ModeMachine, traded_before

S = 1_000_000_000
COOLDOWN = 300 * S
CALLS = st.sampled_from([Mode.REDUCE, Mode.PAUSE])


def machine(path: Path, now: list[int], *, traded: bool = True, boot: str = "boot-1", least: int = 0) -> ModeMachine:
    return ModeMachine(
        path, cooldown_ns=COOLDOWN, traded_before=traded, clock=lambda: now[0], boot=boot, least_epoch=least
    )


class Modes(RuleBasedStateMachine):
    """Random requests, trips, time, restarts and reboots against a model of the rules."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "mode.json"
        self.now, self.boot = [1_000 * S], 1
        self.machine = machine(self.path, self.now, traded=False)
        assert self.machine.mode == Mode.NORMAL
        self.model, self.calm_since, self.epoch, self.tripped = Mode.NORMAL, -COOLDOWN, 1, {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def allowed(self) -> bool:
        return not self.tripped and self.now[0] - self.calm_since >= COOLDOWN

    def check_change(self, old: Mode, new: Mode) -> None:
        if new > old:
            self.calm_since = self.now[0]
        if new < old and new == Mode.NORMAL:
            assert self.allowed()
        self.model = new

    @rule(to=st.sampled_from(list(Mode)), by=st.sampled_from(["operator", "operator:ada", "watchdog", "runner"]))
    def ask(self, to: Mode, by: str) -> None:
        old = self.machine.mode
        answer = self.machine.request(to, "test", by)
        if to > old or to == old or (old, to) == (Mode.PAUSE, Mode.REDUCE):
            assert answer.granted
        elif old == Mode.EMERGENCY:
            assert not answer.granted
        else:
            assert answer.granted == self.allowed()
        assert self.machine.mode == (to if answer.granted else old)
        self.check_change(old, self.machine.mode)

    @rule(trips=st.dictionaries(st.sampled_from(["spread", "silence", "hung"]), CALLS, max_size=3))
    def look(self, trips: dict[str, Mode]) -> None:
        old = self.machine.mode
        if trips or self.tripped:
            self.calm_since = self.now[0]
        self.tripped = dict(trips)
        self.machine.observe(trips)
        assert self.machine.mode == max([old, *trips.values()])
        self.check_change(old, self.machine.mode)

    @rule(seconds=st.sampled_from([0, 1, 30, 299, 300, 301, 4000]))
    def wait(self, seconds: int) -> None:
        self.now[0] += seconds * S
        if self.tripped:  # the loop looks each turn
            self.look(self.tripped)

    @rule()
    def settle(self) -> None:
        old = self.machine.mode
        if self.machine.settle():
            assert old in (Mode.REDUCE, Mode.PAUSE)
        self.check_change(old, self.machine.mode)

    @rule(authorised=st.booleans())
    def rearm(self, authorised: bool) -> None:
        old = self.machine.mode
        answer = self.machine.rearm(authorised, "test", "operator")
        assert answer.granted == (authorised and old == Mode.EMERGENCY)
        if answer.granted:
            self.epoch += 1
            assert self.machine.mode == (Mode.NORMAL if self.allowed() else Mode.PAUSE)
            self.model = self.machine.mode

    @rule()
    def restart(self) -> None:
        if self.tripped:
            self.calm_since = self.now[0]
        self.tripped = {}
        self.machine = machine(self.path, self.now, boot=f"boot-{self.boot}")

    @rule()
    def reboot(self) -> None:
        self.boot += 1
        self.now[0] = 20 * S
        self.calm_since, self.tripped = self.now[0], {}
        self.machine = machine(self.path, self.now, boot=f"boot-{self.boot}")

    @invariant()
    def latched(self) -> None:
        if hasattr(self, "machine"):
            assert self.machine.mode == self.model
            assert self.machine.arming_epoch == self.epoch
            assert json.loads(self.path.read_text())["mode"] == self.model


Modes.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestModes = Modes.TestCase


def test_a_missing_file_means_pause_where_the_account_has_traded(tmp_path: Path) -> None:
    now = [1000 * S]
    found = machine(tmp_path / "mode.json", now)
    assert found.mode == Mode.PAUSE
    now[0] += 2 * COOLDOWN
    assert not found.settle()  # nobody knows what was latched: the operator decides
    assert found.request(Mode.NORMAL, "looked at it", "operator").granted


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"mode": 0}', '{"mode": 7}'])
def test_an_unreadable_file_means_emergency(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mode.json"
    path.write_text(text)
    found = machine(path, [1000 * S], traded=False, least=4)
    assert (found.mode, found.arming_epoch) == (Mode.EMERGENCY, 5)


def test_what_the_machine_made_safer_returns_what_the_operator_did_does_not(tmp_path: Path) -> None:
    now = [1000 * S]
    auto = machine(tmp_path / "a.json", now, traded=False)
    held = machine(tmp_path / "b.json", now, traded=False)
    auto.observe({"hung": Mode.PAUSE})
    auto.observe({})
    held.request(Mode.PAUSE, "maintenance", "operator:ada")
    now[0] += COOLDOWN - 1
    assert not auto.settle()
    assert auto.cooldown_left_ns() == 1
    now[0] += 1
    assert auto.settle()
    assert not held.settle()
    assert (auto.mode, held.mode) == (Mode.NORMAL, Mode.PAUSE)


def test_a_trip_never_sells_at_market(tmp_path: Path) -> None:
    found = machine(tmp_path / "mode.json", [1000 * S], traded=False)
    found.observe({"bad data": Mode.EMERGENCY})
    assert found.mode == Mode.PAUSE


def test_safer_holds_when_the_disk_refuses(tmp_path: Path) -> None:
    found = machine(tmp_path / "state" / "mode.json", [1000 * S], traded=False)
    found.path = Path("/proc/nowhere/mode.json")
    with pytest.raises(OSError, match="nowhere"):
        found.request(Mode.EMERGENCY, "test", "runner")
    assert found.mode == Mode.EMERGENCY
    with pytest.raises(OSError, match="nowhere"):
        found.rearm(True, "test", "operator")
    assert found.mode == Mode.EMERGENCY


def test_marks_survive_a_restart(tmp_path: Path) -> None:
    now = [1000 * S]
    machine(tmp_path / "mode.json", now, traded=False).mark("kill_request", 77)
    assert machine(tmp_path / "mode.json", now).marked("kill_request") == 77


def test_only_a_journal_of_trading_counts_as_one(tmp_path: Path) -> None:
    def segment(first: int, order_epoch: int) -> bytes:
        return SegmentHeader(
            account="a", session="s", first_seq=first, market="m:X", shift_ns=0, speed_milli=1000, start_market_ns=0,
            start_mono_ns=0, order_epoch=order_epoch, source_hash="", lock_hash="", cpu="", schema=1,
        ).encode()  # fmt: skip

    assert not traded_before(tmp_path / "journal")
    (tmp_path / segment_name(1)).write_bytes(segment(1, 0))
    assert not traded_before(tmp_path)
    (tmp_path / segment_name(9)).write_bytes(segment(9, 1))
    assert traded_before(tmp_path)
    (tmp_path / segment_name(9)).write_bytes(b"broken")
    assert traded_before(tmp_path)
