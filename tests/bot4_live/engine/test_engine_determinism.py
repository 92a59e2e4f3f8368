"""The same events give the same bytes: in one call or many, from a snapshot, in another process, in another month."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.engine import SNAPSHOT_MAGIC, Engine
from bot4_live.engine_state import STATE, layout_hash
from bot4_live.events import header_of, slots_of


def step_all(engine: Engine, events: list[np.ndarray]) -> bytes:
    return b"".join(engine.step(event) for event in events)


def test_a_batch_and_one_call_each_agree_bit_for_bit(traded: Any) -> None:
    rig = traded(seed=3, steps=150)
    live = b"".join(c.tobytes() for c in rig.log.commands)
    one, batch = Engine(), Engine()
    assert step_all(one, rig.log.events) == live
    assert batch.run(*rig.log.batch()) == live
    assert len(live) > 50 * 64
    assert one.state.tobytes() == batch.state.tobytes() == rig.engine.state.tobytes()
    assert rig.engine.counters["fills"] > 0


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_any_division_into_batches_agrees(traded_once: Any, cuts: list[int]) -> None:
    buffer, offsets = traded_once.log.batch()
    engine = Engine()
    edges = sorted({0, offsets.size, *(c % offsets.size for c in cuts)})
    out = b"".join(engine.run(buffer, offsets[a:b]) for a, b in pairwise(edges))
    assert out == b"".join(c.tobytes() for c in traded_once.log.commands)
    assert engine.state.tobytes() == traded_once.engine.state.tobytes()


def test_a_batch_whose_commands_fill_the_buffer_goes_on_in_the_next(traded_once: Any, monkeypatch: Any) -> None:
    from bot4_live import engine as module

    monkeypatch.setattr(module, "_BATCH_OUT", module.OUT_BYTES + 16)
    assert Engine().run(*traded_once.log.batch()) == b"".join(c.tobytes() for c in traded_once.log.commands)


def test_a_batch_with_a_broken_record_stops_there(traded_once: Any) -> None:
    buffer, offsets = traded_once.log.batch()
    for broken in (buffer.size, -8, buffer.size - 32):
        engine = Engine()
        with pytest.raises(ValueError, match=f"offset {broken} "):
            engine.run(buffer, np.array([*offsets[:5], broken], np.int64))
        assert engine.counters["events"] == 5


@pytest.mark.parametrize("at", [1, 10, 300, 900])
def test_a_restored_engine_goes_on_as_if_nothing_had_happened(traded_once: Any, at: int) -> None:
    events = traded_once.log.events
    first = Engine()
    head = step_all(first, events[:at])
    second = Engine()
    second.restore(first.snapshot())
    assert second.last_seq == at
    assert head + step_all(second, events[at:]) == b"".join(c.tobytes() for c in traded_once.log.commands)
    assert second.state.tobytes() == traded_once.engine.state.tobytes()


def test_a_snapshot_of_another_layout_or_a_cut_one_is_refused() -> None:
    engine = Engine()
    good = engine.snapshot()
    head = len(SNAPSHOT_MAGIC) + 32
    assert len(good) == head + STATE.itemsize
    for bad, message in (
        (b"something else", "wrong magic"),
        (good[: len(SNAPSHOT_MAGIC)] + bytes(32) + good[head:], "another state layout"),
        (good[:-1], "not whole"),
    ):
        with pytest.raises(ValueError, match=message):
            engine.restore(bad)


def test_one_used_input_changes_the_commands(traded_once: Any) -> None:
    events = [event.copy() for event in traded_once.log.events]
    live = [c.tobytes() for c in traded_once.log.commands]
    quote = next(i for i, e in enumerate(events) if i > 400 and header_of(e)["kind"] == 3)
    slots_of(events[quote])[0, 0] -= 400
    assert step_all(Engine(), events) != b"".join(live)


def summary(rig: Any) -> dict[str, Any]:
    return {
        "events": len(rig.log.events),
        "events_sha256": hashlib.sha256(b"".join(e.tobytes() for e in rig.log.events)).hexdigest(),
        "commands": len(rig.log.commands),
        "commands_sha256": hashlib.sha256(b"".join(c.tobytes() for c in rig.log.commands)).hexdigest(),
        "account": rig.engine.account,
        "features": [value.hex() for value in rig.engine.features.tolist()],
        "prediction": rig.engine.prediction.hex(),
    }


def test_golden_commands(traded_once: Any, traded_with_model: Any, golden: Any) -> None:
    """RENEW_GOLDEN=1 writes it anew; a difference nobody intended is a change of what is traded."""
    golden("engine.json", {
        "baseline": summary(traded_once), "with_model": summary(traded_with_model), "state_layout": layout_hash(),
    })  # fmt: skip


@pytest.mark.slow
def test_a_fresh_process_for_a_generic_cpu_gives_the_same_bytes(traded_once: Any, tmp_path: Any) -> None:
    """What the code generator knows of this CPU (wide vectors, fused multiply-add) must not show."""
    buffer, offsets = traded_once.log.batch()
    np.savez(tmp_path / "log.npz", buffer=buffer, offsets=offsets)
    code = (
        "import sys, hashlib, numpy as np\n"
        "from bot4_live.engine import Engine\n"
        "log = np.load(sys.argv[1])\n"
        "print(hashlib.sha256(Engine().run(log['buffer'], log['offsets'])).hexdigest())\n"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log.npz")], env=environment, capture_output=True, text=True,
        check=True, timeout=280,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(b"".join(c.tobytes() for c in traded_once.log.commands)).hexdigest()


def test_the_layout_hash_follows_the_layout() -> None:
    from bot4_live.engine_state import _describe

    moved = np.dtype([("a", "<i8"), ("b", [("c", "<i8", (3,))], (2,))])
    assert _describe(moved) != _describe(np.dtype([("a", "<i8"), ("b", [("c", "<i8", (2,))], (3,))]))
