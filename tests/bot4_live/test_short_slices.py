"""Short slices: granted to the thread that asks, taken back at the end, and not handed on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest

from bot4_live import short_slices as module
from bot4_live.short_slices import SLICE_NS, short_slices

READ = "from bot4_live import short_slices as m; print(m._read()[m._RUNTIME])"


def _slice():
    return module._read()[module._RUNTIME]


def test_the_asking_thread_has_short_slices_and_what_it_starts_has_not():
    usual = _slice()
    with short_slices() as given:
        if not given:  # Linux before 6.12
            assert _slice() == usual
            return
        assert _slice() == SLICE_NS
        found = []
        thread = threading.Thread(target=lambda: found.append(_slice()))
        thread.start()
        thread.join()
        assert found == [usual]
        child = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
        assert int(child.stdout) == usual
        assert os.getpriority(os.PRIO_PROCESS, 0) == module._read()[3]
    assert _slice() == usual


@pytest.mark.parametrize("machine", ["riscv64", ""])
def test_elsewhere_nothing_is_asked(monkeypatch, machine):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with short_slices() as given:
        assert not given


def test_a_kernel_that_ignores_the_slice_gives_none(monkeypatch):
    usual = module._read()
    monkeypatch.setattr(module, "_read", lambda: usual)
    with short_slices() as given:
        assert not given


def test_a_real_time_thread_is_left_alone(monkeypatch):
    usual = module._read()
    monkeypatch.setattr(module, "_read", lambda: (usual[0], os.SCHED_FIFO, *usual[2:]))
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("its attributes were written"))
    with short_slices() as given:
        assert not given
