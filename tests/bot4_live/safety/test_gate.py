"""The gate never opens on anything but a valid, current lease."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numba import njit

from bot4_live.events import Flag, Kind, Mode, SuppressCause
from bot4_live.safety import gate
from bot4_live.safety.control import LEASE_NS, MAGIC, RUN_MAGIC, WORD, ControlBlock, RunnerState

NOW = 5_000_000_000
INT64 = st.integers(-(2**63), 2**63 - 1)
USED = ("magic", "flag", "run_until_ns", "arming_epoch")


def page(**fields: int) -> np.ndarray:
    words = np.zeros(512, np.int64)
    good = {"magic": MAGIC, "flag": RUN_MAGIC, "run_until_ns": NOW + LEASE_NS, "arming_epoch": 3}
    for name, value in {**good, "runner_state": RunnerState.TRADING, **fields}.items():
        words[WORD[name]] = value
    return words


def test_a_valid_lease_lets_out() -> None:
    assert gate.check(page(), NOW) == 0
    assert gate.admit(page(), NOW, 3, Kind.CMD_NEW, 0) == 0


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"flag": 0}, SuppressCause.STOPPED),
        ({"flag": RUN_MAGIC + 1}, SuppressCause.STOPPED),
        ({"magic": 0}, SuppressCause.STOPPED),
        ({"arming_epoch": 0}, SuppressCause.DISARMED),
        ({"arming_epoch": -1}, SuppressCause.DISARMED),
        ({"run_until_ns": 0}, SuppressCause.NO_LEASE),
        ({"run_until_ns": NOW}, SuppressCause.NO_LEASE),
        ({"run_until_ns": NOW + gate.LONGEST_NS + 1}, SuppressCause.NO_LEASE),
        ({"run_until_ns": 2**63 - 1}, SuppressCause.NO_LEASE),
        ({"run_until_ns": -(2**63)}, SuppressCause.NO_LEASE),
    ],
)
def test_each_word_stops_by_itself(fields: dict[str, int], cause: SuppressCause) -> None:
    assert gate.check(page(**fields), NOW) == cause
    assert gate.admit(page(**fields), NOW, 3, Kind.CMD_CANCEL, 0) == cause


@given(st.lists(INT64, min_size=512, max_size=512), st.integers(0, 2**62))
def test_garbage_pages_never_allow(words: list[int], now: int) -> None:
    array = np.array(words, np.int64)
    assume(array[WORD["flag"]] != RUN_MAGIC or array[WORD["magic"]] != MAGIC)
    assert gate.check(array, now) != 0
    assert gate.admit(array, now, int(array[WORD["arming_epoch"]]), Kind.CMD_CANCEL_ALL, 0) != 0


@given(st.sampled_from(USED), INT64, st.integers(1, 2**40))
def test_one_garbage_word_never_allows(name: str, value: int, now: int) -> None:
    words = page(run_until_ns=now + LEASE_NS)
    words[WORD[name]] = value
    lawful = {
        "magic": value == MAGIC,
        "flag": value == RUN_MAGIC,
        "run_until_ns": now < value <= now + gate.LONGEST_NS,
        "arming_epoch": value > 0,
    }[name]
    assert (gate.check(words, now) == 0) == lawful


@given(INT64, INT64, st.sampled_from(list(Kind)), st.integers(0, 127), INT64)
def test_what_may_leave_by_mode_and_hold(mode: int, state: int, kind: Kind, flags: int, epoch: int) -> None:
    cause = gate.admit(page(mode=mode, runner_state=state), NOW, epoch, kind, flags)
    cancels = kind in (Kind.CMD_CANCEL, Kind.CMD_CANCEL_ALL)
    reduces = kind == Kind.CMD_NEW and bool(flags & Flag.REDUCE_ONLY)
    if cause == 0:
        assert epoch == 3
        assert mode in (Mode.NORMAL, Mode.REDUCE, Mode.PAUSE)
        assert cancels or reduces or (kind == Kind.CMD_NEW and mode == Mode.NORMAL and state == RunnerState.TRADING)


@pytest.mark.parametrize("mode", [Mode.REDUCE, Mode.PAUSE])
def test_reduce_and_pause_let_only_cancels_and_reduce_only_leave(mode: Mode) -> None:
    words = page(mode=mode)
    assert gate.admit(words, NOW, 3, Kind.CMD_CANCEL, 0) == 0
    assert gate.admit(words, NOW, 3, Kind.CMD_CANCEL_ALL, 0) == 0
    assert gate.admit(words, NOW, 3, Kind.CMD_NEW, Flag.REDUCE_ONLY | Flag.SELL) == 0
    assert gate.admit(words, NOW, 3, Kind.CMD_NEW, Flag.SELL) == SuppressCause.MODE


@pytest.mark.parametrize("state", [RunnerState.STARTING, RunnerState.HOLD, RunnerState.STOPPING, 0, 99])
def test_hold_lets_only_cancels_and_reduce_only_leave(state: int) -> None:
    words = page(runner_state=state)
    assert gate.admit(words, NOW, 3, Kind.CMD_CANCEL, 0) == 0
    assert gate.admit(words, NOW, 3, Kind.CMD_NEW, Flag.REDUCE_ONLY) == 0
    assert gate.admit(words, NOW, 3, Kind.CMD_NEW, 0) == SuppressCause.HOLD


def test_emergency_lets_nothing_leave() -> None:
    words = page(mode=Mode.EMERGENCY)
    assert gate.admit(words, NOW, 3, Kind.CMD_CANCEL, 0) == SuppressCause.MODE


def test_a_sender_of_an_older_arming_epoch_stays_stopped(tmp_path: Path) -> None:
    now = [NOW]
    block = ControlBlock.create(tmp_path / "control")
    sender = gate.Gate(block, lambda: now[0])
    assert sender.admit(Kind.CMD_NEW) == SuppressCause.STOPPED
    for name, value in {"flag": RUN_MAGIC, "run_until_ns": NOW + LEASE_NS, "arming_epoch": 1}.items():
        block.set(name, value)
    block.set("runner_state", RunnerState.TRADING)
    assert (sender.admit(Kind.CMD_NEW), sender.check(), sender.epoch) == (0, 0, 1)
    block.set("arming_epoch", 2)
    assert sender.admit(Kind.CMD_NEW) == SuppressCause.DISARMED
    assert gate.Gate(block, lambda: now[0]).admit(Kind.CMD_NEW) == 0
    now[0] += LEASE_NS
    assert gate.Gate(block, lambda: now[0]).admit(Kind.CMD_NEW) == SuppressCause.NO_LEASE


def test_the_page_is_loaded_atomically() -> None:
    fresh = njit(gate.check.py_func)  # a function loaded from the cache has no code to look at
    assert fresh(page(), NOW) == 0
    code = next(iter(fresh.inspect_llvm().values()))
    assert "load atomic i64" in code
    assert "acquire" in code
