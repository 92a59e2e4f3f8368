"""The frozen contracts against their golden files (docs/contracts.md)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live import events
from bot4_live.clock import TICK_NS, MarketClock
from bot4_live.execution import order_id
from bot4_live.journal import layout
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.reader import Journal
from bot4_live.safety import control
from bot4_live.settings import PARAM_IDS, SLOW_FEATURES, StrategyParams

Golden = Callable[[str, Any], None]


def fields(dtype: np.dtype) -> dict[str, list[Any]]:
    assert dtype.fields is not None
    return {name: [str(spec[0]), spec[1]] for name, spec in dtype.fields.items()}


def sample_record() -> np.ndarray:
    record = events.new_record(events.Kind.DEPTH_DIFF, 3)
    head = events.header_of(record)
    for i, name in enumerate(events.HEADER.names or ()):
        if name not in ("length", "kind", "schema", "crc"):
            head[name] = i + 1
    events.slots_of(record)[:] = [(11, 1), (618_002, 2_507), (618_003, -1)]
    return record


def test_event_record(golden: Golden) -> None:
    enums = (
        events.Kind,
        events.Field,
        events.Flag,
        events.Source,
        events.Reason,
        events.StaleCause,
        events.SuppressCause,
        events.Mode,
    )
    golden(
        "record.json",
        {
            "header": fields(events.HEADER),
            "sizes": [events.HEADER.itemsize, events.SLOT.itemsize],
            "schema": events.SCHEMA,
            "codes": {enum.__name__: {member.name: int(member) for member in enum} for enum in enums},
            "sample": sample_record().tobytes().hex(),
            "float": events.float_bits(-0.1),
            "params": PARAM_IDS,
            "slow_features": {str(k): v for k, v in SLOW_FEATURES.items()},
        },
    )


@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(2**62), max_value=2**62, places=0)
    | st.floats(-1e15, 1e15, allow_subnormal=False).map(lambda value: Decimal(repr(value)))
)
def test_a_value_keeps_every_digit(number: Decimal) -> None:
    if len(number.normalize().as_tuple().digits) - int(number.normalize().as_tuple().exponent) > 64:
        return
    field, value = events.slot_value(*events.value_slot(events.Field.MARK_PRICE, str(number)))
    assert (field, value) == (events.Field.MARK_PRICE, number)


@pytest.mark.parametrize(
    "text", ["", "nan", "Infinity", "1_0", " 1", "\u0661", "1e99", "9223372036854775808", "1e-65", "--1"]
)
def test_a_value_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        events.value_slot(events.Field.MARK_PRICE, text)


def test_journal(golden: Golden, tmp_path: Path) -> None:
    header = layout.SegmentHeader(
        account="golden", session="1", first_seq=6, market="binance_usdm:BTCUSDT", shift_ns=5_000_000, speed_milli=4000,
        start_market_ns=7, start_mono_ns=8, order_epoch=9, source_hash="s", lock_hash="l", cpu="c", schema=1,
    )  # fmt: skip
    with LocalJournal(tmp_path, header, segment_bytes=1 << 16) as journal:
        journal.append(sample_record())
        journal.append_raw(3, b"frame", 2, 1)
    golden(
        "journal.json",
        {
            "header": header.encode().rstrip(b"\0").decode("latin1"),
            "segment": (tmp_path / layout.segment_name(6)).read_bytes()[4096:].hex(),
            "seal": Journal(tmp_path).seals()[0] | {"path": ""},
            "raw": (tmp_path / layout.raw_name(6)).read_bytes()[:24].hex(),
            "names": [layout.segment_name(6), layout.seal_name(6), layout.raw_name(6), layout.snapshot_name(6)],
        },
    )


def test_time_base(golden: Golden) -> None:
    readings = {}
    for speed in (0, 500, 1000, 4000, 8000):
        mono = iter((1_000, 1_001, 1_999, 10**15))
        clock = MarketClock(10**18, 1_000, speed, lambda mono=mono: next(mono))
        readings[str(speed)] = [clock.now_ns() for _ in range(4)]
    golden("clock.json", {"tick_ns": TICK_NS, "readings": readings})


def test_control_block(golden: Golden) -> None:
    golden(
        "control.json",
        {
            "fields": fields(control.CONTROL),
            "magic": control.MAGIC,
            "run_magic": control.RUN_MAGIC,
            "lease_ns": control.LEASE_NS,
            "renew_ns": control.RENEW_NS,
        },
    )


def test_order_identity(golden: Golden, tmp_path: Path) -> None:
    ids = [order_id.pack(1, 1), order_id.pack(7, 2**32 - 1), order_id.pack(order_id.MAX_EPOCH, 3)]
    epochs = [order_id.next_epoch(tmp_path / "epoch") for _ in range(3)]
    golden("order_id.json", {"ids": ids, "client_ids": [order_id.to_client_id(i) for i in ids], "epochs": epochs})


@given(epoch=st.integers(1, order_id.MAX_EPOCH), sequence=st.integers(1, 2**32 - 1))
def test_order_ids_survive_the_venue(epoch: int, sequence: int) -> None:
    packed = order_id.pack(epoch, sequence)
    assert packed < 2**63
    assert order_id.unpack(packed) == (epoch, sequence)
    client_id = order_id.to_client_id(packed)
    assert len(client_id) <= 36
    assert order_id.from_client_id(client_id) == packed


@pytest.mark.parametrize("foreign", ["", "web_abc", "b4-1-2", "b4-00000001-0000000g", "x b4-00000001-00000001"])
def test_foreign_client_ids_are_not_ours(foreign: str) -> None:
    assert order_id.from_client_id(foreign) == 0


def test_a_lost_epoch_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "epoch").write_text("")
    with pytest.raises(ValueError, match="does not hold an order epoch"):
        order_id.next_epoch(tmp_path / "epoch")


def test_every_param_has_an_id_and_none_twice() -> None:
    assert set(PARAM_IDS) == set(StrategyParams.model_fields)
    assert len(set(PARAM_IDS.values())) == len(PARAM_IDS)


def test_lease_needs_magic_and_time(tmp_path: Path) -> None:
    block = control.ControlBlock.create(tmp_path / "control")
    assert not block.may_send(0)
    block.set("run_until_ns", 100)
    assert not block.may_send(50)
    block.set("flag", control.RUN_MAGIC)
    assert block.may_send(99)
    assert not block.may_send(100)
    again = control.ControlBlock.create(tmp_path / "control")
    assert again.get("flag") == control.RUN_MAGIC, "an existing block is kept"
