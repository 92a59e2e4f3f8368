"""Binance's mark price and forced orders as events, bare and combined frames, and the split sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.events import Field, Flag, Kind, Reason, StaleCause, header_of, slot_value, slots_of
from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.parser import Rejected, parse
from bot4_live.market.venues.binance_sockets import MARKET, PUBLIC, path_of, socket_urls, stream_name

# As the venue's documentation writes them, for our symbol.
MARK_PRICE = {
    "e": "markPriceUpdate", "E": 1723161256123, "s": "BTCUSDT", "p": "11794.15000000", "i": "11784.62659091",
    "P": "11784.25641265", "r": "0.00038167", "T": 1723190400000,
}  # fmt: skip
FORCED = {
    "e": "forceOrder", "E": 1723161256123,
    "o": {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910", "ap": "9911.5123",
          "X": "FILLED", "l": "0.014", "z": "0.014", "T": 1723161256101},
}  # fmt: skip
DAY = {
    "e": "24hrTicker", "E": 1723161256123, "s": "BTCUSDT", "p": "-0.0015", "P": "250.00", "w": "61800.12345678",
    "c": "61800.30", "Q": "0.010", "o": "60000.00", "h": "62000.10", "l": "59000.00", "v": "10000.123",
    "q": "612345678.98765432", "O": 1723074856000, "C": 1723161256122, "F": 5, "L": 18150, "n": 18146,
}  # fmt: skip
SPOT = replace(BTCUSDT_USDM, venue="binance_spot", tick_e8=E8 // 100, lot_e8=E8 // 100_000)
COINM = replace(BTCUSDT_USDM, venue="binance_coinm", symbol="BTCUSD_200930", tick_e8=E8 // 10, lot_e8=E8)


def bare(data, **changes):
    return json.dumps(data | changes, separators=(",", ":")).encode()


def combined(stream, data, **changes):
    return json.dumps({"stream": stream, "data": data | changes}, separators=(",", ":")).encode()


def values(record, first=0):
    return {Field(f): v for f, v in (slot_value(int(x), int(y)) for x, y in slots_of(record)[first:])}


def test_the_mark_price_is_funding():
    record = parse(bare(MARK_PRICE), BTCUSDT_USDM)
    head = header_of(record)
    assert (head["kind"], head["a"], head["b"]) == (Kind.FUNDING, 1723190400000 * 10**6, 0)
    assert head["exch_ns"] == 1723161256123 * 10**6
    assert values(record) == {
        Field.FUNDING_RATE: Decimal("0.00038167"),
        Field.MARK_PRICE: Decimal("11794.15"),
        Field.INDEX_PRICE: Decimal("11784.62659091"),
        Field.SETTLEMENT_PRICE: Decimal("11784.25641265"),
    }
    assert parse(combined("btcusdt@markPrice@1s", MARK_PRICE), BTCUSDT_USDM).tobytes() == record.tobytes()


def test_a_negative_rate_and_a_contract_without_one():
    record = parse(bare(MARK_PRICE, r="-0.00750000"), BTCUSDT_USDM)
    assert values(record)[Field.FUNDING_RATE] == Decimal("-0.0075")
    dated = {k: v for k, v in MARK_PRICE.items() if k != "i"} | {"s": "BTCUSD_200930", "r": "", "T": 0}
    record = parse(bare(dated), COINM)
    assert header_of(record)["a"] == 0
    assert set(values(record)) == {Field.MARK_PRICE, Field.SETTLEMENT_PRICE}


@pytest.mark.parametrize("stream", ["btcusdt@forceOrder", "!forceOrder@arr"])
def test_a_forced_order_is_a_liquidation(stream):
    record = parse(combined(stream, FORCED), BTCUSDT_USDM)
    head = header_of(record)
    assert (head["kind"], head["flags"], head["a"]) == (Kind.LIQUIDATION, Flag.SELL, 0)
    assert head["exch_ns"] == 1723161256101 * 10**6
    assert slots_of(record)[0].tolist() == [99_100, 14]
    assert values(record, 1) == {Field.AVERAGE_PRICE: Decimal("9911.5123"), Field.FILLED_QTY: Decimal("0.014")}
    buys = parse(bare(FORCED, o=FORCED["o"] | {"S": "BUY"}), BTCUSDT_USDM)
    assert header_of(buys)["flags"] == 0


def test_the_day_is_a_ticker():
    record = parse(combined("btcusdt@ticker", DAY), BTCUSDT_USDM)
    head = header_of(record)
    assert (head["kind"], head["a"], head["exch_ns"]) == (Kind.TICKER, 18150, 1723161256123 * 10**6)
    said = {
        Field.LAST_PRICE: Decimal("61800.30"), Field.LAST_QTY: Decimal("0.010"), Field.OPEN_PRICE: Decimal("60000.00"),
        Field.HIGH_PRICE: Decimal("62000.10"), Field.LOW_PRICE: Decimal("59000.00"),
        Field.VOLUME: Decimal("10000.123"), Field.QUOTE_VOLUME: Decimal("612345678.98765432"),
    }  # fmt: skip
    assert values(record) == said
    assert parse(bare(DAY), BTCUSDT_USDM).tobytes() == record.tobytes()
    quotes = {"b": "61800.20", "B": "2.5", "a": "61800.30", "A": "0.1"}
    spot = values(parse(bare(DAY, **quotes), SPOT))
    assert spot == said | {
        Field.BID_PRICE: Decimal("61800.20"), Field.BID_QTY: Decimal("2.5"),
        Field.ASK_PRICE: Decimal("61800.30"), Field.ASK_QTY: Decimal("0.1"),
    }  # fmt: skip
    coins = parse(bare(DAY, s="BTCUSD_200930", ps="BTCUSD", L=-1), COINM)
    assert Field.QUOTE_VOLUME not in values(coins)
    assert header_of(coins)["a"] == 0


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bare(DAY, c="1.5e400"), Reason.BAD_NUMBER),
        (bare(DAY, c="0." + "1" * 65), Reason.LOST_DIGITS),
        (bare(DAY, L=2**63), Reason.TOO_LARGE),
        (bare(DAY, E=-1), Reason.TIME_OUT_OF_RANGE),
        (bare(DAY, s="ETHUSDT"), Reason.UNKNOWN_SYMBOL),
        (bare({k: v for k, v in DAY.items() if k != "h"}), Reason.MISSING_FIELD),
        (combined("btcusdt@miniTicker", DAY), Reason.UNKNOWN_STREAM),
        (combined("btcusdt@ticker", MARK_PRICE), Reason.UNKNOWN_STREAM),
        (bare(MARK_PRICE, r="0.0003816700000000000000001"), Reason.LOST_DIGITS),
        (bare(MARK_PRICE, p="1_0"), Reason.BAD_NUMBER),
        (bare(MARK_PRICE, p="NaN"), Reason.BAD_NUMBER),
        (bare(MARK_PRICE, p=11794.15), Reason.WRONG_TYPE),
        (bare(MARK_PRICE, s="ETHUSDT"), Reason.UNKNOWN_SYMBOL),
        (bare(MARK_PRICE, T=-1), Reason.TIME_OUT_OF_RANGE),
        (bare(MARK_PRICE, E=10**18), Reason.TIME_OUT_OF_RANGE),
        (bare({k: v for k, v in MARK_PRICE.items() if k != "p"}), Reason.MISSING_FIELD),
        (bare(FORCED, o=FORCED["o"] | {"S": "LONG"}), Reason.WRONG_TYPE),
        (bare(FORCED, o=FORCED["o"] | {"q": "0.0145"}), Reason.LOST_DIGITS),
        (bare(FORCED, o=FORCED["o"] | {"p": "-1"}), Reason.NEGATIVE),
        (bare(FORCED, o=None), Reason.WRONG_TYPE),
        (combined("btcusdt@markPrice", FORCED), Reason.UNKNOWN_STREAM),
        (combined("btcusdt@trade", MARK_PRICE), Reason.UNKNOWN_STREAM),
        (combined("!", MARK_PRICE), Reason.UNKNOWN_STREAM),
    ],
)
def test_broken_statements_are_refused(raw, reason):
    rejected = parse(raw, BTCUSDT_USDM)
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason


@given(data=st.data())
def test_mutations_never_raise_and_never_change_a_number(data):
    raw = bytearray(
        data.draw(st.sampled_from([bare(MARK_PRICE), bare(FORCED), bare(DAY), combined("a@forceOrder", FORCED)]))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    parsed = parse(bytes(raw), BTCUSDT_USDM)
    if isinstance(parsed, np.ndarray):
        body = json.loads(bytes(raw))
        body = body.get("data", body)
        if body.get("r"):
            assert values(parsed)[Field.FUNDING_RATE] == Decimal(body["r"])


def test_bare_and_combined_frames_are_the_same(frames):
    for raw in (
        frames.trade(7, "61800.30", "0.199"),
        frames.ticker(9, "61800.20", "2.507", "61800.30", "2.510"),
        frames.diff(5, 9, 3, [["1.0", "1.0"]], []),
    ):
        data = json.loads(raw)["data"]
        assert parse(bare(data), BTCUSDT_USDM).tobytes() == parse(raw, BTCUSDT_USDM).tobytes()


def test_spots_bare_best_quote_has_no_event_name():
    data = {"u": 50093239212, "s": "BTCUSDT", "b": "61837.63", "B": "3.78826", "a": "61837.64", "A": "1.54698"}
    record = parse(bare(data), SPOT)
    assert record.tobytes() == parse(combined("btcusdt@bookTicker", data), SPOT).tobytes()
    assert slots_of(record).tolist() == [[6183763, 378826], [6183764, 154698]]
    refused = parse(bare(data), BTCUSDT_USDM)
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.UNKNOWN_STREAM


def test_the_feed_passes_them_on_and_judges_them(base_ns):
    out = []
    core = FeedCore(BTCUSDT_USDM, out.append)
    core.on_connect(base_ns)
    at = base_ns // 10**6
    core.on_frame(base_ns, bare(MARK_PRICE, E=at))
    core.on_frame(base_ns, bare(FORCED, o=FORCED["o"] | {"T": at}))
    core.on_frame(base_ns, bare(MARK_PRICE, E=at - 3_600_000))
    core.on_frame(base_ns, bare(FORCED, o=FORCED["o"] | {"T": at, "p": "0"}))
    core.on_frame(base_ns, bare(FORCED, o=FORCED["o"] | {"T": at, "q": "0"}))
    assert [Kind(int(header_of(record)["kind"])) for record in out] == [
        Kind.BOOK_STALE, Kind.FUNDING, Kind.LIQUIDATION, Kind.QUARANTINE, Kind.QUARANTINE, Kind.QUARANTINE,
    ]  # fmt: skip
    assert core.counts.events == {Kind.FUNDING: 1, Kind.LIQUIDATION: 1}
    assert core.counts.stale == {StaleCause.START: 1}
    assert core.counts.quarantined == {Reason.TIME_OUT_OF_RANGE: 1, Reason.ZERO_PRICE: 1, Reason.BAD_NUMBER: 1}


@pytest.mark.parametrize(
    ("stream", "name", "path"),
    [
        ("btcusdt@depth@0ms", "depth", PUBLIC),
        ("btcusdt@depth20@100ms", "depth20", PUBLIC),
        ("btcusdt@bookTicker", "bookTicker", PUBLIC),
        ("!bookTicker", "bookTicker", PUBLIC),
        ("btcusdt@trade", "trade", PUBLIC),
        ("btcusdt@aggTrade", "aggTrade", MARKET),
        ("btcusdt@markPrice@1s", "markPrice", MARKET),
        ("btcusdt@ticker", "ticker", MARKET),
        ("btcusdt@forceOrder", "forceOrder", MARKET),
        ("!forceOrder@arr", "forceOrder", MARKET),
        ("btcusdt_perpetual@continuousKline_1m", "continuousKline_1m", MARKET),
    ],
)
def test_each_stream_has_its_socket(stream, name, path):
    assert (stream_name(stream), path_of(stream)) == (name, path)


def test_sockets_split_and_not():
    streams = ["btcusdt@depth@0ms", "btcusdt@markPrice", "btcusdt@trade"]
    assert socket_urls("wss://example.org/", streams) == {
        "wss://example.org/public/stream?streams=btcusdt@depth@0ms/btcusdt@trade": [streams[0], streams[2]],
        "wss://example.org/market/stream?streams=btcusdt@markPrice": [streams[1]],
    }
    assert list(socket_urls("ws://host", streams, split=False)) == ["ws://host/stream?streams=" + "/".join(streams)]
    with pytest.raises(ValueError, match="no market stream"):
        path_of("btcusdt")
