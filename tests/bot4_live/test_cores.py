"""Which cores a session runs on, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bot4_live import cores
from bot4_live.settings import Settings


@pytest.fixture
def usable(monkeypatch):
    """Say which cores this process may use."""

    def say(*found):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(found))

    return say


def test_nothing_is_pinned_by_default(usable):
    usable(0)
    assert cores.choose(Settings()) == cores.Cores(None, None)
    usable(0, 1, 2, 3)
    assert cores.choose(Settings(transport="spin")) == cores.Cores(None, None)


def test_spin_wants_four_cores_or_to_be_forced(usable):
    usable(2, 3)
    with pytest.raises(ValueError, match=r"takes one of 4 cores, and this process may use 2; .*BOT4_SPIN_FORCE=1"):
        cores.choose(Settings(transport="spin"))
    assert cores.choose(Settings(transport="spin", spin_force=True)) == cores.Cores()


def test_all_others_keep_off_the_loops_core(usable):
    usable(0, 1, 2, 3)
    chosen = cores.choose(Settings(transport="spin", loop_cpu=2))
    assert chosen == cores.Cores(2, frozenset({0, 1, 3}))
    assert cores.choose(Settings(loop_cpu=1)) == cores.Cores(1, frozenset({0, 2, 3}))
    usable(5)
    assert cores.choose(Settings(transport="spin", loop_cpu=5, spin_force=True)) == cores.Cores(5, frozenset({5}))


def test_a_core_that_is_not_there(usable):
    usable(0, 1, 2, 3)
    with pytest.raises(ValueError, match="BOT4_LOOP_CPU=7: this process may use the cores 0,1,2,3; choose one"):
        cores.choose(Settings(transport="spin", loop_cpu=7))


def test_processes_and_threads_of_a_pinned_loop_go_elsewhere():
    before = os.sched_getaffinity(0)
    mine, *others = sorted(before)
    if not others:
        pytest.skip("one core: there is no elsewhere")
    chosen = cores.Cores(mine, frozenset(others))
    try:
        chosen.pin_loop()
        assert os.sched_getaffinity(0) == {mine}
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            cores.keep_to(child, chosen.others)
            assert os.sched_getaffinity(child.pid) == set(others)
        cores.keep_to(child, chosen.others)  # it has ended: nothing to move
        with chosen.workers() as workers:
            assert workers.submit(os.sched_getaffinity, 0).result() == set(others)
    finally:
        os.sched_setaffinity(0, before)


def test_awake_where_the_kernel_grants_it(tmp_path, monkeypatch):
    """The request is four bytes, zero microseconds, and holds for as long as the file is open."""
    device = tmp_path / "cpu_dma_latency"
    device.write_bytes(b"none")
    monkeypatch.setattr(cores, "LATENCY", device)

    def held():
        return any(os.path.realpath(f"/proc/self/fd/{fd}") == str(device) for fd in os.listdir("/proc/self/fd"))

    with cores.kept_awake() as awake:
        assert awake
        assert held()
        assert device.read_bytes() == bytes(4)
    assert not held()
    with cores.kept_awake(wanted=False) as awake:
        assert not awake
        assert not held()
    device.unlink()
    with cores.kept_awake() as awake:
        assert not awake
