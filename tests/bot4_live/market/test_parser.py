"""The parser: exact records, a reason for every broken frame, nothing broken accepted."""

from __future__ import annotations

import gzip
import json
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Flag, Kind, Reason, header_of, slots_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.parser import MAX_LEVELS, Rejected, parse


def ok(raw):
    record = parse(raw, BTCUSDT_USDM)
    assert isinstance(record, np.ndarray), record
    return header_of(record), slots_of(record).tolist()


def test_trade(frames):
    head, slots = ok(frames.trade(7, "61800.30", "0.199", maker_buys=True))
    assert (head["kind"], head["a"], head["flags"]) == (Kind.TRADE, 7, Flag.SELL)
    assert slots == [[618_003, 199]]
    assert head["exch_ns"] % 1_000_000 == 0
    assert head["exch_ns"] > 0
    assert head["c"] == -1
    assert ok(frames.trade(8, "61800.30", "0.199"))[0]["flags"] == 0


def test_ticker(frames):
    head, slots = ok(frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"))
    assert (head["kind"], head["a"]) == (Kind.BOOK_TICKER, 9)
    assert slots == [[618_002, 2507], [618_003, 2510]]


def test_diff(frames):
    head, slots = ok(frames.diff(5, 9, 3, [["1.0", "0.000"], ["0.9", "1.001"]], [["1.1", "2"]]))
    assert (head["kind"], head["a"], head["b"], head["length"]) == (Kind.DEPTH_DIFF, 5, 9, 64 + 4 * 16)
    assert slots == [[3, 2], [10, 0], [9, 1001], [11, 2000]]


def test_snapshot(frames):
    head, slots = ok(frames.snapshot(77, [["1.0", "1"]], [["1.1", "2"], ["1.2", "3"]]))
    assert (head["kind"], head["a"], head["b"]) == (Kind.DEPTH_SNAPSHOT, 77, 77)
    assert slots == [[0, 1], [10, 1000], [11, 2000], [12, 3000]]


def test_bare_frame_equals_the_wrapped_one(frames):
    wrapped = frames.trade(7, "61800.30", "0.199")
    bare = json.dumps(json.loads(wrapped)["data"]).encode()
    assert parse(wrapped, BTCUSDT_USDM).tobytes() == parse(bare, BTCUSDT_USDM).tobytes()


def test_key_order_blanks_and_new_fields_do_not_matter(frames):
    wrapped = frames.trade(7, "61800.30", "0.199")
    data = json.loads(wrapped)
    turned = {"extra": {"deep": [1, {"e": "x"}]}, "data": dict(reversed(data["data"].items())) | {"z": None}}
    raw = json.dumps(turned | {"stream": data["stream"]}, indent=3).encode()
    assert parse(raw, BTCUSDT_USDM).tobytes() == parse(wrapped, BTCUSDT_USDM).tobytes()


def test_records_are_writable(frames):
    record = parse(frames.trade(7, "61800.30", "0.199"), BTCUSDT_USDM)
    header_of(record)["seq"] = 5
    assert header_of(record)["seq"] == 5


def without(raw, key):
    message = json.loads(raw)
    del message["data"][key]
    return json.dumps(message).encode()


def changed(raw, **fields):
    message = json.loads(raw)
    message["data"] |= fields
    return json.dumps(message).encode()


@pytest.fixture
def broken(frames):
    """Every way a frame can be broken that the parser itself must see, with its reason."""
    trade = frames.trade(7, "61800.30", "0.199")
    ticker = frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510")
    diff = frames.diff(5, 9, 3, [["1.0", "1.0"]], [])
    return [
        (b"", Reason.NOT_JSON, 0),
        (trade[:-5], Reason.NOT_JSON, 0),
        (trade + b"}", Reason.NOT_JSON, 0),
        (b"[1,2]", Reason.WRONG_TYPE, 0),
        (b"[" * 100_000, Reason.WRONG_TYPE, 0),
        (b'{"a":' + b"[" * 100_000, Reason.NOT_JSON, 0),
        (trade.replace(b"MARKET", b"MAR\xffET"), Reason.NOT_UTF8, 0),
        (b'{"result":null,"id":1}', Reason.UNKNOWN_STREAM, 0),
        (trade.replace(b'"e":"trade"', b'"e":"aggTrade"'), Reason.UNKNOWN_STREAM, 0),
        (trade.replace(b"@trade", b"@markPrice"), Reason.UNKNOWN_STREAM, 0),
        (without(trade, "p"), Reason.MISSING_FIELD, Kind.TRADE),
        (without(trade, "e"), Reason.MISSING_FIELD, 0),
        (without(ticker, "A"), Reason.MISSING_FIELD, Kind.BOOK_TICKER),
        (without(diff, "pu"), Reason.MISSING_FIELD, Kind.DEPTH_DIFF),
        (without(without(trade, "T"), "E"), Reason.MISSING_FIELD, Kind.TRADE),
        (changed(trade, p=61800.3), Reason.WRONG_TYPE, Kind.TRADE),
        (changed(trade, m="false"), Reason.WRONG_TYPE, Kind.TRADE),
        (changed(trade, t="7"), Reason.WRONG_TYPE, Kind.TRADE),
        (changed(trade, t=7.5), Reason.WRONG_TYPE, Kind.TRADE),
        (changed(trade, t=None), Reason.WRONG_TYPE, Kind.TRADE),
        (changed(diff, b=[["1.0"]]), Reason.WRONG_TYPE, Kind.DEPTH_DIFF),
        (changed(diff, b={}), Reason.WRONG_TYPE, Kind.DEPTH_DIFF),
        (changed(trade, p="1e5"), Reason.BAD_NUMBER, Kind.TRADE),
        (changed(trade, q=""), Reason.BAD_NUMBER, Kind.TRADE),
        (changed(trade, p="61800.35"), Reason.LOST_DIGITS, Kind.TRADE),
        (changed(trade, q="0.1995"), Reason.LOST_DIGITS, Kind.TRADE),
        (changed(ticker, B="2.5075"), Reason.LOST_DIGITS, Kind.BOOK_TICKER),
        (changed(diff, a=[["1.05", "1"]]), Reason.LOST_DIGITS, Kind.DEPTH_DIFF),
        (changed(trade, p="-1.0"), Reason.NEGATIVE, Kind.TRADE),
        (changed(trade, t=-7), Reason.NEGATIVE, Kind.TRADE),
        (changed(trade, t=2**63), Reason.TOO_LARGE, Kind.TRADE),
        (changed(trade, t=10**30), Reason.TOO_LARGE, Kind.TRADE),
        (changed(trade, p="9" * 30), Reason.TOO_LARGE, Kind.TRADE),
        (changed(diff, b=[["1", "1"]] * (MAX_LEVELS + 1)), Reason.TOO_LARGE, Kind.DEPTH_DIFF),
        (changed(trade, T=-5), Reason.TIME_OUT_OF_RANGE, Kind.TRADE),
        (changed(trade, T=10**18), Reason.TIME_OUT_OF_RANGE, Kind.TRADE),
        (changed(trade, s="ETHUSDT"), Reason.UNKNOWN_SYMBOL, Kind.TRADE),
        (changed(diff, u=4), Reason.BAD_SEQUENCE, Kind.DEPTH_DIFF),
    ]


def test_each_broken_frame_has_its_reason(broken):
    for raw, reason, stream in broken:
        got = parse(raw, BTCUSDT_USDM)
        assert isinstance(got, Rejected), raw[:200]
        assert (got.reason, got.stream) == (reason, stream), (raw[:200], got)
        assert got.detail


def test_spot_frames_have_no_previous_id_and_no_quote_time(frames):
    from dataclasses import replace

    spot = replace(BTCUSDT_USDM, venue="binance_spot")
    record = parse(without(frames.diff(5, 9, 3, [], []), "pu"), spot)
    assert slots_of(record)[0].tolist() == [-1, 0]
    raw = frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510")
    for key in ("e", "T", "E"):
        raw = without(raw, key)
    assert header_of(parse(raw, spot))["exch_ns"] == 0


def exact(message):
    """Read a frame a second way: json and Decimal; return what the record must say."""
    data = message.get("data", message)

    def units(levels):
        return [[Decimal(p) * 10, Decimal(q) * 1000] for p, q in levels]

    if "lastUpdateId" in data:
        return [[0, len(data["bids"])], *units(data["bids"]), *units(data["asks"])]
    if data["e"] == "trade":
        return units([(data["p"], data["q"])])
    if data["e"] == "bookTicker":
        return units([(data["b"], data["B"]), (data["a"], data["A"])])
    return [[data["pu"], len(data["b"])], *units(data["b"]), *units(data["a"])]


@pytest.mark.capture
def test_real_frames_and_their_mutations(usdm_capture):
    """20,000 mutations of real frames: no exception, and what is accepted says exactly what its text says."""
    with gzip.open(usdm_capture) as lines:
        real = [line.split(b" ", 1)[1].strip() for line, _ in zip(lines, range(3_000), strict=False)]
    for raw in real:
        assert slots_of(parse(raw, BTCUSDT_USDM)).tolist() == exact(json.loads(raw))
    rng = random.Random(20240808)
    accepted = 0
    for _ in range(20_000):
        raw = bytearray(rng.choice(real))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(raw))
            match rng.randrange(4):
                case 0:
                    raw[at] = rng.randrange(256)
                case 1:
                    del raw[at : at + rng.randint(1, 6)]
                case 2:
                    raw[at:at] = rng.choice([b"0", b".", b"-", b'"', b"e", b"9", b",", b"{", b"\xc3"])
                case _:
                    raw[at] = rng.choice(b"0123456789")
        got = parse(bytes(raw), BTCUSDT_USDM)
        if not isinstance(got, Rejected):
            accepted += 1
            assert slots_of(got).tolist() == exact(json.loads(raw))
    assert 1_000 < accepted < 19_000


KEYS = st.sampled_from("seEtTpqmuUbBaAdata")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=80), JSON.map(lambda value: json.dumps(value).encode())))
@settings(max_examples=300)
def test_nothing_makes_the_parser_raise(raw):
    assert isinstance(parse(raw, BTCUSDT_USDM), Rejected | np.ndarray)


@given(
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**9)), max_size=20),
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**9)), max_size=20),
)
@settings(max_examples=100)
def test_any_levels_come_through(frames_factory, bids, asks):
    def text(levels):
        return [[f"{p / 10:.2f}", f"{Decimal(q) / 1000:.3f}"] for p, q in levels]

    _, slots = ok(frames_factory().diff(1, 2, 0, text(bids), text(asks)))
    assert slots == [[0, len(bids)], *map(list, bids), *map(list, asks)]
