from collections.abc import Callable

import numpy as np
import pytest

from bot4_live.events import Kind, header_of, new_record, slots_of
from bot4_live.journal.layout import SegmentHeader

START_NS = 1_723_161_255_000_000_000


@pytest.fixture
def header() -> SegmentHeader:
    return SegmentHeader(
        account="test", session="s1", first_seq=1, market="binance_usdm:BTCUSDT", shift_ns=0, speed_milli=1000,
        start_market_ns=START_NS, start_mono_ns=0, order_epoch=1, source_hash="h", lock_hash="l", cpu="x", schema=1,
    )  # fmt: skip


@pytest.fixture
def make_record() -> Callable[..., np.ndarray]:
    def make(seq: int, slots: int = 2, kind: int = Kind.TRADE, recv_ns: int | None = None) -> np.ndarray:
        record = new_record(kind, slots)
        head = header_of(record)
        head["seq"], head["recv_ns"] = seq, START_NS + seq * 1000 if recv_ns is None else recv_ns
        head["exch_ns"], head["a"] = head["recv_ns"], seq * 7
        slots_of(record)[:] = seq
        return record

    return make
