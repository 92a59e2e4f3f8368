"""A batch gives the records that its frames give one by one, within its arena and never outside its buffer."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from bot4_live.events import header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.kernels import address
from bot4_live.market.capture import read_capture
from bot4_live.market.fast_parser import MAX_RECORD, FastParser, parse_at
from bot4_live.market.frame_batch import DECLINED, BatchParser, FrameBatch


@pytest.fixture
def some(frames):
    raws = [
        frames.trade(7, "61800.30", "0.199"),
        b"not a frame",
        frames.diff(5, 9, 3, [["1.0", "0.000"], ["0.9", "1.001"]], [["1.1", "2"]]),
        b"",
        frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"),
    ]
    return [(1_000 + i, raw) for i, raw in enumerate(raws)]


def check(batch, parser, records, first=0):
    """Compare every record with the one-frame parser's."""
    for i in range(len(records.offsets)):
        one = parser.fast(batch.frame(first + i))
        record = records.record(i)
        assert (one is None) == (record is None)
        if one is not None:
            assert header_of(record)["recv_ns"] == batch.recv_ns[first + i]
            header_of(record)["recv_ns"] = 0
            assert record.tobytes() == one.tobytes()


def test_records_of_a_batch(some):
    batch = FrameBatch.of(some)
    records = BatchParser(BTCUSDT_USDM).parse(batch)
    assert (records.offsets == DECLINED).tolist() == [False, True, False, True, False]
    check(batch, FastParser(BTCUSDT_USDM), records)


def test_an_arena_that_is_full_is_gone_on_with(some):
    batch = FrameBatch.of(some * 4_000)
    parser = BatchParser(BTCUSDT_USDM, arena_bytes=MAX_RECORD)
    done, parts = 0, 0
    while done < len(batch.starts):
        records = parser.parse(batch, done)
        check(batch, FastParser(BTCUSDT_USDM), records, done)
        assert len(records.offsets) > 0
        done, parts = done + len(records.offsets), parts + 1
    assert parts > 2


def test_what_a_batch_must_be(some):
    batch = FrameBatch.of(some)
    parser = BatchParser(BTCUSDT_USDM)
    outside = FrameBatch(batch.buffer[:-1], batch.starts, batch.sizes, batch.recv_ns)
    with pytest.raises(ValueError, match="outside its buffer"):
        parser.parse(outside)
    far = np.iinfo(np.int64).max
    for start, size in ((-1, 10), (0, -1), (batch.buffer.size + 1, 0), (far, far), (1, far)):
        starts, sizes = batch.starts.copy(), batch.sizes.copy()
        starts[2], sizes[2] = start, size
        with pytest.raises(ValueError, match="outside its buffer"):
            parser.parse(FrameBatch(batch.buffer, starts, sizes, batch.recv_ns))
    with pytest.raises(ValueError, match="int64"):
        parser.parse(FrameBatch(batch.buffer, batch.starts.astype(np.int32), batch.sizes, batch.recv_ns))
    with pytest.raises(ValueError, match="int64"):
        parser.parse(FrameBatch(batch.buffer, batch.starts, batch.sizes[1:], batch.recv_ns))
    with pytest.raises(ValueError, match="uint8"):
        parser.parse(FrameBatch(batch.buffer.view(np.int8), batch.starts, batch.sizes, batch.recv_ns))
    with pytest.raises(ValueError, match="larger"):
        BatchParser(BTCUSDT_USDM, arena_bytes=1_000)
    assert len(parser.parse(FrameBatch.of([])).offsets) == 0


def test_nothing_is_read_after_the_last_byte(some):
    """A frame at the very end of a mapping, cut anywhere: reading on would end this process."""
    parser = FastParser(BTCUSDT_USDM)
    out = np.zeros(MAX_RECORD, np.uint8)
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        view = np.frombuffer(page, np.uint8)
        end = address(view) + mmap.PAGESIZE
        for _, raw in some:
            for cut in range(2, len(raw) + 1):
                for part in (raw[:cut], raw[: cut - 2] + b"}}"):
                    view[-len(part) :] = np.frombuffer(part, np.uint8)
                    size = parse_at(end - len(part), len(part), end, address(parser.config), address(out))
                    one = parser.fast(part)
                    assert size == (0 if one is None else one.size)
                    assert out[:size].tobytes() == (b"" if one is None else one.tobytes())
        del view


def test_what_follows_a_frame_decides_nothing(some):
    """A cut frame before bytes that would complete it is declined."""
    parser = FastParser(BTCUSDT_USDM)
    out = np.zeros(MAX_RECORD, np.uint8)
    for _, raw in some:
        data = np.frombuffer(raw + raw, np.uint8)
        for cut in range(len(raw)):
            at = address(data)
            assert parse_at(at, cut, at + data.size, address(parser.config), address(out)) == 0


@pytest.mark.capture
def test_a_whole_capture_in_one_call(usdm_capture):
    batch = FrameBatch.of(list(read_capture(usdm_capture)))
    records = BatchParser(BTCUSDT_USDM, arena_bytes=160 << 20).parse(batch)
    assert len(records.offsets) == len(batch.starts) == 93_954
    assert not (records.offsets == DECLINED).any()
    check(batch, FastParser(BTCUSDT_USDM), records)
