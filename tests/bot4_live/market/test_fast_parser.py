"""The compiled parser says what the reference says, or declines."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.fast_parser import FastParser
from bot4_live.market.parser import MAX_LEVELS, Rejected, parse


@pytest.fixture(scope="module")
def parser():
    return FastParser(BTCUSDT_USDM)


def same(parser, raw):
    """Check one frame; return whether the compiled parser took it."""
    fast = parser.fast(raw)
    reference = parse(raw, BTCUSDT_USDM)
    if fast is not None:
        assert not isinstance(reference, Rejected), (raw[:300], reference)
        assert fast.tobytes() == reference.tobytes(), raw[:300]
        return True
    both = parser.parse(raw)
    assert isinstance(both, Rejected) == isinstance(reference, Rejected)
    if isinstance(both, np.ndarray):
        assert both.tobytes() == reference.tobytes()
    else:
        assert both == reference
    return False


def test_the_venues_own_form_is_taken(parser, frames):
    taken = [
        frames.trade(7, "61800.30", "0.199", maker_buys=True),
        frames.trade(8, "61800.30", "0.199"),
        frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"),
        frames.diff(5, 9, 3, [["1.0", "0.000"], ["0.9", "1.001"]], [["1.1", "2"]]),
        frames.diff(5, 9, 3, [], [["1.1", "2"]]),
        frames.diff(5, 9, 0),
    ]
    assert all(same(parser, raw) for raw in taken)


def test_keys_in_any_order_bids_before_asks(parser, frames):
    data = json.loads(frames.diff(5, 9, 3, [["1.0", "1"]], [["1.1", "2"]]))["data"]
    rng = random.Random(1)
    took = 0
    for _ in range(60):
        keys = list(data)
        rng.shuffle(keys)
        took += same(parser, frames.wrap("depth", {key: data[key] for key in keys}))
    assert 10 < took < 50


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b" ",
        lambda raw: raw + b"}",
        lambda raw: raw.replace(b":", b": "),
        lambda raw: raw.replace(b'"t":7', b'"t":07'),
        lambda raw: raw.replace(b'"t":7', b'"t":-7'),
        lambda raw: raw.replace(b'"t":7', b'"t":7.0'),
        lambda raw: raw.replace(b'"t":7', b'"t":' + b"9" * 19),
        lambda raw: raw.replace(b'"t":7', b'"t":7,"t":8'),
        lambda raw: raw.replace(b'"t":7', b'"t":7,"ts":8'),
        lambda raw: raw.replace(b"61800.30", b"61800.35"),
        lambda raw: raw.replace(b"61800.30", b"61800.300000000"),
        lambda raw: raw.replace(b"61800.30", b"1234567890.0"),
        lambda raw: raw.replace(b"61800.30", b"061800.30"),
        lambda raw: raw.replace(b"61800.30", b"61800."),
        lambda raw: raw.replace(b"61800.30", b".30"),
        lambda raw: raw.replace(b"61800.30", b""),
        lambda raw: raw.replace(b"61800.30", b"1e5"),
        lambda raw: raw.replace(b'"p":"61800.30"', b'"p":61800.30'),
        lambda raw: raw.replace(b"BTCUSDT", b"BTCUSDC"),
        lambda raw: raw.replace(b"BTCUSDT", b"BTCUSDTX"),
        lambda raw: raw.replace(b"btcusdt@trade", b"btcusdt@trader"),
        lambda raw: raw.replace(b"btcusdt@trade", b"btcusdt@depth"),
        lambda raw: raw.replace(b"btcusdt@trade", b"btcusdt"),
        lambda raw: raw.replace(b'"e":"trade"', b'"e":"trades"'),
        lambda raw: raw.replace(b"MARKET", b"MAR\\u0041KET"),
        lambda raw: raw.replace(b"MARKET", b"MAR\xffKET"),
        lambda raw: raw.replace(b"MARKET", b"MAR\nKET"),
        lambda raw: raw.replace(b"MARKET", b"MAR\x7fKET"),
        lambda raw: raw.replace(b"false", b"fals"),
        lambda raw: raw.replace(b"false", b"null"),
        lambda raw: raw.replace(b'"X":"MARKET",', b""),
        lambda raw: raw.replace(b'"p":"61800.30",', b""),
        lambda raw: raw.replace(b'"T":', b'"E":'),
        lambda raw: b"",
        lambda raw: b"\0",
        lambda raw: raw.replace(b"{", b"{\0"),
    ],
)
def test_unusual_and_broken_frames(parser, frames, change):
    same(parser, change(frames.trade(7, "61800.30", "0.199")))


def test_times(parser, frames):
    for sent, happened in [(0, 0), (5, 0), (0, 5), (5, 6), (10**13, 10**13), (10**13, 5), (5, 10**13)]:
        same(parser, frames.trade(1, "1.0", "1", E=sent, T=happened))


def test_the_most_levels_and_one_more(parser, frames):
    level = ["1.0", "1"]
    assert same(parser, frames.diff(1, 2, 0, [level] * 9_000, [level] * (MAX_LEVELS - 9_000)))
    assert not same(parser, frames.diff(1, 2, 0, [level] * 9_000, [level] * (MAX_LEVELS - 8_999)))


def test_only_bytes_are_scanned(parser, frames):
    """Only `bytes` end with a NUL."""
    raw = frames.trade(7, "61800.30", "0.199")
    assert parser.fast(bytearray(raw)) is None
    assert parser.fast(memoryview(raw)) is None


def test_records_do_not_share_memory(parser, frames):
    first = parser.fast(frames.trade(7, "61800.30", "0.199"))
    before = first.tobytes()
    parser.fast(frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"))
    assert first.tobytes() == before
    first[0] = 1  # writable


@given(st.binary(max_size=60), st.integers(0, 3), st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_any_part_of_a_frame(parser, frames_factory, tail, which, data):
    make = frames_factory()
    raw = [
        make.trade(7, "61800.30", "0.199"),
        make.ticker(9, "61800.20", "2.507", "61800.30", "2.510"),
        make.diff(5, 9, 3, [["1.0", "0.000"]], [["1.1", "2"]]),
        make.snapshot(9, [], []),
    ][which]
    same(parser, raw[: data.draw(st.integers(0, len(raw)))] + tail)


@pytest.mark.capture
def test_every_frame_of_the_real_capture_field_by_field(parser, usdm_capture):
    with gzip.open(usdm_capture) as lines:
        frames = [line.split(b" ", 1)[1].rstrip() for line in lines]
    taken = sum(same(parser, raw) for raw in frames)
    assert (taken, len(frames)) == (93_953, 93_954)  # all but the snapshot


@pytest.mark.capture
def test_mutations_of_real_frames(parser, usdm_capture):
    with gzip.open(usdm_capture) as lines:
        real = [line.split(b" ", 1)[1].strip() for line, _ in zip(lines, range(4_000), strict=False)]
    real = [raw for raw in real if len(raw) < 2_000]
    rng = random.Random(7)
    taken = 0
    for _ in range(30_000):
        raw = bytearray(rng.choice(real))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(raw))
            match rng.randrange(4):
                case 0:
                    raw[at] = rng.randrange(256)
                case 1:
                    del raw[at : at + rng.randint(1, 4)]
                case 2:
                    raw[at:at] = rng.choice([b"0", b".", b"-", b'"', b"1", b"9", b",", b"}", b"]", b"\0"])
                case _:
                    raw[at] = rng.choice(b"0123456789")
        taken += same(parser, bytes(raw))
    assert 2_000 < taken < 28_000
