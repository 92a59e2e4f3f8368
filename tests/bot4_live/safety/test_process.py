"""SIGKILL hits the runner, and nothing that only has its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot4_live.safety.control import ControlBlock
from bot4_live.safety.process import Identity, alive, identify, kill_runner


@pytest.fixture
def block(tmp_path: Path) -> ControlBlock:
    return ControlBlock.create(tmp_path / "control")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()"], stdin=-1, stdout=-1, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def runner(block: ControlBlock) -> Iterator[subprocess.Popen[str]]:
    code = (
        "import pathlib, sys; from bot4_live.safety.control import ControlBlock\n"
        "block = ControlBlock(pathlib.Path(sys.argv[1])); print('up', flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(block.path)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_the_runner_is_killed(block: ControlBlock, runner: subprocess.Popen[str]) -> None:
    block.set("runner_pid", runner.pid)
    seen = identify(runner.pid)
    assert seen is not None
    assert "ControlBlock" in seen.command
    assert kill_runner(block, seen) == "killed"
    assert runner.wait(5) == -signal.SIGKILL
    assert not alive(seen)
    assert kill_runner(block, seen) == "already gone"


def test_a_stale_pid_spares_whoever_has_it_now(block: ControlBlock, runner: subprocess.Popen[str]) -> None:
    block.set("runner_pid", runner.pid)
    assert kill_runner(block, Identity(runner.pid, 1, "the runner of long ago")) == "already gone"
    assert runner.poll() is None


def test_a_stranger_is_spared(block: ControlBlock, stranger: subprocess.Popen[str]) -> None:
    block.set("runner_pid", stranger.pid)
    assert "is not this account's runner" in kill_runner(block, None)
    assert stranger.poll() is None


@pytest.mark.parametrize("pid", [-1, 1, 2**40])
def test_garbage_is_nobody(block: ControlBlock, pid: int) -> None:
    block.set("runner_pid", pid)
    assert kill_runner(block, None) in ("already gone", "not killed: process 1 is not this account's runner")


def test_ourselves_are_spared(block: ControlBlock) -> None:
    assert kill_runner(block, None) == "no runner"
    block.set("runner_pid", os.getpid())
    assert kill_runner(block, None).startswith("not killed")


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identify(process.pid) is None
    process.wait()
