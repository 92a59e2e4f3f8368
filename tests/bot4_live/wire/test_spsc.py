"""The compiled ring: the same entries as the journal's ring, in order and complete between two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.journal.ring import Ring
from bot4_live.kernels import address, pointer
from bot4_live.wire.spsc import SpscRing, after_at, commit_at, peek_at, push_parts_at, room_at

PRODUCER = Path(__file__).with_name("spsc_producer.py")
PATIENCE = 2_000  # polls before the other side is let run: it may have no core of its own


@njit
def consume(base, position, i, n, patience):
    """Take the producer's entries from i to n; return (how far it came, first number that was wrong or -1)."""
    empty = 0
    while i < n:
        entry = peek_at(base, position)
        if entry == 0:
            empty += 1
            if empty > patience:
                return i, -1
            continue
        empty = 0
        head = carray(pointer(entry), 4, np.uint32)
        size = 8 + i % 90
        if head[0] != size or head[1] != 7 or carray(pointer(entry + 8), 2, np.int64)[0] != -i:
            return i, i
        if carray(pointer(entry + 16), 1, np.int64)[0] != i:
            return i, i
        payload = carray(pointer(entry + 16), size, np.uint8)
        for k in range(8, size):
            if payload[k] != i & 0xFF:
                return i, i
        position = after_at(base, position, entry)
        commit_at(base, position)
        i += 1
    return i, -1


@pytest.mark.parametrize(("capacity", "n"), [(1024, 60_000), (1 << 20, 300_000)])  # thousands of times round, and tens
def test_between_two_processes_nothing_is_lost_or_out_of_order(tmp_path, capacity, n):
    Ring.create(tmp_path / "ring", capacity).unmap()
    ring = SpscRing(tmp_path / "ring")
    consume(ring.base, 0, 0, 0, 0)  # compiled before the other process begins
    command = [sys.executable, str(PRODUCER), str(tmp_path / "ring"), str(n)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as producer:
        taken, wrong = 0, -1
        while taken < n and wrong < 0:
            before, ended = taken, producer.poll() is not None
            taken, wrong = consume(ring.base, ring.tail, taken, n, PATIENCE)
            if ended and taken == before:
                break
            os.sched_yield()
        assert (taken, wrong) == (n, -1)
        assert producer.wait(20) == 0
    assert ring.pop() is None
    ring.unmap()


ENTRIES = st.lists(st.tuples(st.booleans(), st.binary(max_size=200), st.integers(0, 255)), max_size=80)


@settings(max_examples=100, deadline=None)
@given(entries=ENTRIES, reading=st.booleans())
def test_the_same_ring_as_the_journals(tmp_path_factory, entries, reading):
    """Whoever writes, Python's ring or the compiled one, the other reads the same."""
    path = tmp_path_factory.mktemp("ring") / "ring"
    python = Ring.create(path, 1024)
    compiled = SpscRing(path)
    waiting = []
    for compiled_writes, payload, kind in entries:
        writer = compiled if compiled_writes else python
        data = np.frombuffer(payload, np.uint8) if compiled_writes else payload
        if writer.push(data, kind, len(waiting)):
            waiting.append(payload)
        else:
            assert python.backlog + 16 + len(payload) > 1024 - 240
            reader = compiled if reading else python
            assert [reader.pop() for _ in waiting] == waiting
            waiting = []
    assert compiled.tail == python.tail
    assert [(python if reading else compiled).pop() for _ in waiting] == waiting
    assert python.pop() is compiled.pop() is None
    python.close_producer()
    assert compiled.closed
    python.unmap()
    compiled.unmap()


@pytest.mark.parametrize("reading", [False, True], ids=["python reads", "compiled reads"])
@pytest.mark.parametrize("writing", [False, True], ids=["python writes", "compiled writes"])
def test_many_times_around(tmp_path, writing, reading):
    """Entries of every size at every place of the ring's end."""
    python = Ring.create(tmp_path / "ring", 1024)
    compiled = SpscRing(tmp_path / "ring")
    for i in range(3000):
        payload = bytes([i & 0xFF]) * (i * 37 % 400)
        assert compiled.push(np.frombuffer(payload, np.uint8), 3) if writing else python.push(payload, 3)
        assert (compiled if reading else python).pop() == payload
    assert python.tail > 100 * 1024
    python.unmap()
    compiled.unmap()


def test_an_entry_of_two_parts(tmp_path):
    python = Ring.create(tmp_path / "ring", 1024)
    compiled = SpscRing(tmp_path / "ring")
    head, data = (np.frombuffer(part, np.uint8) for part in (b"head", b"data of some bytes"))
    free = room_at(compiled.base)
    for _ in range(100):
        assert push_parts_at(compiled.base, address(head), 4, address(data), data.size, 2, -7) == 1
        assert room_at(compiled.base) < free
        assert python.peek(python.tail)[:3] == (b"headdata of some bytes", 2, -7)
        assert python.pop() == b"headdata of some bytes"
    assert room_at(compiled.base) == 1024
    assert push_parts_at(compiled.base, address(head), 4, address(data), 600, 2, 0) == -1
    python.unmap()
    compiled.unmap()


def test_what_can_never_fit_is_refused(tmp_path):
    Ring.create(tmp_path / "ring", 1024).unmap()
    ring = SpscRing(tmp_path / "ring")
    with pytest.raises(ValueError, match="does not fit"):
        ring.push(np.zeros(600, np.uint8))
    ring.unmap()
    (tmp_path / "other").write_bytes(bytes(8192))
    with pytest.raises(ValueError, match="not a ring"):
        SpscRing(tmp_path / "other")


def test_a_commit_keeps_the_consumers_words(tmp_path):
    python = Ring.create(tmp_path / "ring", 1024)
    compiled = SpscRing(tmp_path / "ring")
    python.push(b"one")
    python.commit(0, (1, 2, 3, 4, 5, 6))
    assert compiled.pop() == b"one"
    assert python.consumer_words == (1, 2, 3, 4, 5, 6)
    assert python.backlog == 0
    python.unmap()
    compiled.unmap()
