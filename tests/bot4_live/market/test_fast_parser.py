"""The compiled parser says what the reference says, or declines."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.digits import infer_instrument
from bot4_live.market.fast_parser import FastParser
from bot4_live.market.frame_batch import BatchParser, FrameBatch
from bot4_live.market.parser import MAX_LEVELS, Rejected, parse
from bot4_live.market.parser_config import C_DIFF, C_QUOTE, C_TRADE


@pytest.fixture(scope="module")
def parser():
    return FastParser(BTCUSDT_USDM)


@lru_cache
def batch_parser(instrument):
    return BatchParser(instrument)


def same(parser, raw):
    """Check one frame, also where memory ends with it; return whether the compiled parser took it."""
    fast = parser.fast(raw)
    reference = parse(raw, parser.instrument)
    batch = batch_parser(parser.instrument).parse(FrameBatch.of([(0, raw)])).record(0)
    assert (fast is None) == (batch is None)
    assert fast is None or fast.tobytes() == batch.tobytes()
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


def test_keys_in_any_order(parser, frames):
    rng = random.Random(1)
    for raw in [
        frames.diff(5, 9, 3, [["1.0", "1"], ["0.9", "0.5"]], [["1.1", "2"]]),
        frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"),
        frames.trade(7, "61800.30", "0.199"),
    ]:
        outer = json.loads(raw)
        stream = outer["stream"].partition("@")[2]
        for _ in range(60):
            keys = list(outer["data"])
            rng.shuffle(keys)
            assert same(parser, frames.wrap(stream, {key: outer["data"][key] for key in keys}))


def all_same(parser, raws):
    """Check frames one after the other in one memory, so that each may be read by the form of those before."""
    records = parser.parse(FrameBatch.of([(0, raw) for raw in raws]))
    for i, raw in enumerate(raws):
        record, reference = records.record(i), parse(raw, parser.instrument)
        assert record is None or record.tobytes() == reference.tobytes(), raw
    return [records.record(i) is not None for i in range(len(raws))]


def form_known(parser, kind):
    return parser._config[{"quote": C_QUOTE, "trade": C_TRADE, "diff": C_DIFF}[kind] // 8] > 0


@pytest.mark.parametrize("kind", ["quote", "trade", "diff"])
def test_frames_like_the_last_one_and_all_but_like_it(frames, kind):
    """The form of a frame is learnt from the first; then each character of another is changed."""
    parser = BatchParser(BTCUSDT_USDM)

    def make(n):
        if kind == "quote":
            return frames.ticker(n, f"{n}.20", f"{n % 17}.507", f"{n}.3", f"{n}")
        if kind == "diff":
            return frames.diff(n, n + 9, n // 2, [[f"{n}.2", "1.5"], ["9.1", "0"]], [[f"{n}.30", "0.001"]])
        return frames.trade(n, f"{n}.20", f"{n % 1000}.5", maker_buys=n % 2 == 0)

    assert not form_known(parser, kind)
    numbers = (61800, 61801, 7, 100_000, 61801, 99, 99_999_999, 0, 10)
    assert all(all_same(parser, [make(n) for n in numbers] * 3))
    assert form_known(parser, kind)
    raw = make(61800)
    changed = [raw]
    for at in range(len(raw)):
        changed += [raw[:at] + bytes([c]) + raw[at + 1 :] for c in b'0129.,:"}{ e-\x00\xff']
        changed += [raw[:at] + raw[at + 1 :], raw[:at] + b"0" + raw[at:], raw[:at] + b"1" + raw[at:], raw]
    taken = all_same(parser, changed)
    assert len(raw) + 1 < sum(taken) < len(changed) // 2


def test_forms_with_texts_of_every_length(frames):
    parser = BatchParser(BTCUSDT_USDM)
    for n in [0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 100, 115, 116, 127, 128, 500, 600]:
        same = [frames.trade(7 + n, "61800.30", "0.199", X="M" * n)] * 70
        others = [frames.trade(8, "61800.3", "1.199", X="M" * n), frames.trade(8, "61800.3", "1.199", X="M" * n + "N")]
        assert all(all_same(parser, [*same, *others]))
        assert form_known(parser, "trade") == (len(f'","X":"{"M" * n}","m":') <= 128)


def test_a_diff_whose_levels_do_not_come_last_has_no_form(frames):
    parser = BatchParser(BTCUSDT_USDM)
    data = json.loads(frames.diff(5, 9, 3, [["1.0", "1"]], [["1.1", "2"]]))["data"]
    for keys in ("eETsUu,pu,a,b", "eETsUu,b,a,pu", "b,a,eETsUu,pu", "eETsUu,b,pu,a"):
        order = [key for part in keys.split(",") for key in ([part] if part == "pu" else part)]
        assert all(all_same(parser, [frames.wrap("depth@0ms", {key: data[key] for key in order})] * 2))
        assert not form_known(parser, "diff")
    assert all(all_same(parser, [frames.diff(5, 9, 3, x=n) for n in range(3)]))  # an unknown key after the levels
    assert not form_known(parser, "diff")
    assert all(all_same(parser, [frames.diff(5, 9, 3)] * 64))
    assert form_known(parser, "diff")


def test_a_form_says_which_values_there_are(frames):
    """On spot a diff has neither pu nor T; one that has them may come before and after it."""
    parser = BatchParser(replace(BTCUSDT_USDM, venue="binance_spot"))
    data = json.loads(frames.diff(5, 9, 3, [["1.0", "1"]], [["1.1", "2"]]))["data"]
    with_both = frames.wrap("depth", data)
    without = frames.wrap("depth", {key: value for key, value in data.items() if key not in ("pu", "T")})
    assert all(all_same(parser, ([with_both] * 70 + [without] * 70) * 3))
    assert form_known(parser, "diff")


@pytest.mark.parametrize("value", ["x", "", 0, 17, True, False, None])
@pytest.mark.parametrize("key", ["z", "ps", "st", "long name", "M", "e2"])
def test_unknown_keys_with_plain_values_are_passed_over(parser, frames, key, value):
    assert same(parser, frames.trade(7, "61800.30", "0.199", **{key: value}))
    assert same(parser, frames.diff(5, 9, 3, [["1.0", "1"]], [], **{key: value}))


@pytest.mark.parametrize("value", [-1, 1.5, [1], {"a": 1}, "\u00e9", 'a"b', "a\\b"])
def test_unknown_keys_with_other_values_are_declined(parser, frames, value):
    assert not same(parser, frames.trade(7, "61800.30", "0.199", ps=value))


NUMBERS = [
    "0", "1", "9.5", "12345678", "123456789", "1234567.5", "12345678.5", "99999999.9", "1.00000000", "1.000000000",
    "00000001", "0.00000000", "61800.2", "61800.25", "61800.20000", "1,5", "1/5", "1:5", "1.", ".5", "1..5", "1.5.5",
    "1.-5", "\u0661", "1e1", "+1", " 1", "1 ", "1\x00", "0.0000001", "1234567890123456",
]  # fmt: skip


@pytest.mark.parametrize("tick_e8", [10**7, 1, 10**8, 100, 5 * 10**6, 25 * 10**7])
def test_numbers_of_every_form_at_every_tick(frames, tick_e8):
    parser = FastParser(replace(BTCUSDT_USDM, tick_e8=tick_e8, lot_e8=tick_e8))
    for number in NUMBERS:
        for raw in (
            frames.trade(7, number, "5"),
            frames.ticker(9, "5", number, number, "5"),
            frames.diff(5, 9, 3, [[number, "5"], ["5", number]], [["10", number], [number, number]]),
            frames.diff(5, 9, 3, [["5", number]]),
        ):
            same(parser, raw)
    assert same(parser, frames.diff(5, 9, 3, [["5", "1234575"], ["1234575", "5.00000000"]] * 3))


SNAPSHOT = b'{"lastUpdateId":5,"E":6,"T":7,"symbol":"BTCUSDT","pair":"BTC","bids":[["9.0","1"],["8.5","2"]],"asks":[]}'


@pytest.mark.parametrize(
    ("old", "new", "taken"),
    [
        (b"", b"", True), (b'"E":6,', b"", True), (b'"E":6,"T":7,', b"", True), (b'"pair":"BTC",', b"", True),
        (b'"symbol":"BTCUSDT",', b"", True), (b"BTCUSDT", b"ETHUSDT", False), (b"BTCUSDT", b"", False),
        (b',"asks":[]', b"", False), (b'"T":7', b'"T":9000000000000', False), (b'"T":7', b'"E":7', False),
        (b'"T":7', b'"x":7', False), (b'"T":7', b'"data":{}', False), (b'"T":7', b'"e":"trade"', False),
        (b'"pair":"BTC"', b'"pair":7', False), (b"bids", b"asks", False), (b"[]}", b"[]}}", False),
        (b"[]}", b'[["9.5","0.001"]]}', True), (b"[]}", b'[["9.55","1"]]}', False), (b"Id\":5", b"Id\":-5", False),
        (b"Id\":5", b"Id\":", False), (b"{", b"{ ", False), (b"8.5", b"8,5", False), (b"]]", b"]", False),
    ],
)  # fmt: skip
def test_snapshots(parser, old, new, taken):
    raw = SNAPSHOT.replace(old, new, 1) if old else SNAPSHOT
    assert same(parser, raw) == taken
    for cut in range(len(raw)):
        same(parser, raw[:cut])
        same(parser, raw[:cut] + b"}")


def test_ids_of_every_length(parser, frames):
    for n in range(1, 21):
        for digit in (1, 9):
            number = int(str(digit) * n)
            taken = same(parser, frames.trade(number, "5", "5"))
            assert taken == (n <= 18)
            same(parser, frames.trade(7, "5", "5").replace(b'"t":7', b'"t":0' + str(number).encode()))
            same(parser, frames.trade(7, "5", "5").replace(b'"t":7', b'"t":' + str(number).encode()[:-1] + b"/"))


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
        lambda raw: raw.replace(b"btcusdt@trade", b"!tcusdt@trade"),
        lambda raw: raw.replace(b"btcusdt@trade", b"!trade"),
        lambda raw: raw.replace(b"btcusdt@trade", b"@trade"),
        lambda raw: raw.replace(b"btcusdt@trade", b""),
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
    assert (taken, len(frames)) == (93_954, 93_954)


@pytest.mark.capture
@pytest.mark.parametrize(
    "path", ["binance_spot/btcusdt_20240808", "binance_spot/ethusdt_20240808", "binance_coinm/btcusd_perp_20240808"]
)
def test_frames_of_the_other_markets(shared_data, path):
    file = shared_data / "captures" / f"{path}.gz"
    with gzip.open(file) as lines:
        frames = [line.split(b" ", 1)[1].rstrip() for line in lines]
    parser = FastParser(infer_instrument(frames, file))
    snapshot = next(raw for raw in frames if raw.startswith(b'{"lastUpdateId'))
    assert all(same(parser, raw) for raw in [snapshot, *frames[::5]])


def mutate(rng, raw):
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(raw))
        match rng.randrange(5):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 4)]
            case 2:
                raw[at:at] = rng.choice([b"0", b".", b"-", b'"', b"1", b"9", b",", b"}", b"]", b"\0"])
            case 3:
                other = rng.randrange(len(raw))
                raw[at:at] = raw[other : other + rng.randint(1, 30)]
            case _:
                raw[at] = rng.choice(b"0123456789")
        if not raw:
            break
    return bytes(raw)


def fuzz(parser, path, count, seed):
    """Compare mutations of real frames; return how many were taken."""
    with gzip.open(path) as lines:
        real = [line.split(b" ", 1)[1].strip() for line, _ in zip(lines, range(4_000), strict=False)]
    real = [raw for raw in real if len(raw) < 2_000]
    rng = random.Random(seed)
    return sum(same(parser, mutate(rng, rng.choice(real))) for _ in range(count))


@pytest.mark.capture
def test_mutations_of_real_frames(parser, usdm_capture):
    assert 2_000 < fuzz(parser, usdm_capture, 30_000, 7) < 28_000


@pytest.mark.capture
@pytest.mark.slow
@pytest.mark.timeout(0)
def test_mutations_of_real_frames_for_ten_minutes(parser, usdm_capture):
    """BOT4_FUZZ_SECONDS sets another time; the seed is printed with a failure."""
    end = time.monotonic() + float(os.environ.get("BOT4_FUZZ_SECONDS", "600"))
    seed = int(time.time())
    while time.monotonic() < end:
        seed += 1
        print("seed", seed)
        fuzz(parser, usdm_capture, 20_000, seed)
