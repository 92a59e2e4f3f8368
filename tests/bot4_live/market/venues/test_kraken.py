"""Kraken: both protocols on frames as its public guide shows them, and every checksum of the recorded capture."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bot4_live.events import Field, header_of, slot_value, slots_of
from bot4_live.market.validation import UNLIMITED
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.registry import Instruments

# The worked examples of the venue's guides to its checksums (v1: 974947235, v2: 3310070434).
OLD_ASKS = [f"0.050{i:02}" for i in range(5, 55, 5)]
OLD_BIDS = [f"0.0{i}" for i in (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950)]
BIDS = [
    ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"), ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"), ("45279.0", "0.07990000"), ("45277.6", "0.03310103"), ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"), ("45276.6", "0.15445238"),
]  # fmt: skip
ASKS = [
    ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"), ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"), ("45291.8", "1.54553491"), ("45294.7", "0.04454749"), ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"), ("45299.5", "0.18772827"),
]  # fmt: skip
GUIDE = 3310070434


def side(levels) -> str:
    """JSON of v2 levels: numbers, every digit kept."""
    return "[" + ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in levels) + "]"


def new(kind: str, bids, asks, checksum: int, symbol: str = "BTC/USD") -> bytes:
    """A v2 book message."""
    data = f'"symbol":"{symbol}","bids":{side(bids)},"asks":{side(asks)},"checksum":{checksum}'
    data += ',"timestamp":"2023-10-06T17:35:55.440295Z"'
    return f'{{"channel":"book","type":"{kind}","data":[{{{data}}}]}}'.encode()


def old(*parts: dict, channel: str = "book-10") -> bytes:
    """A v1 book message."""
    return json.dumps([0, *parts, channel, "XBT/USD"]).encode()


def at(levels, *more) -> list[list[str]]:
    return [[p, q, "1582905487.684110", *more] for p, q in levels]


OLD_SNAPSHOT = old({"as": at((p, "0.00000500") for p in OLD_ASKS), "bs": at((p, "0.00000500") for p in OLD_BIDS)})


@pytest.fixture
def feed(make_feed):
    made = make_feed(KrakenFeed, {"BTC/USD": (1, 8)}, depth=10)
    made.on_frame(2, new("snapshot", BIDS, ASKS, GUIDE))
    return made


@pytest.fixture
def old_feed(make_feed):
    made = make_feed(KrakenFeed, {"XBT/USD": (5, 8)}, protocol=1, depth=10)
    made.on_frame(2, OLD_SNAPSHOT)
    return made


def test_the_guides_checksum_of_v2(feed, say):
    assert feed.books["BTC/USD"].live
    assert feed.books["BTC/USD"].instrument.symbol == "BTC-USD"
    assert (feed.counts.checksums, feed.counts.checksums_matched) == (1, 1)
    assert feed.books["BTC/USD"].best() == (452_835, 10_000_000, 452_852, 100_000)


def test_the_guides_checksum_of_v1(old_feed):
    book = old_feed.books["XBT/USD"]
    assert book.live
    assert old_feed.checksum(book) == 974947235
    assert old_feed.counts.checksums == 0  # a v1 snapshot has none


def test_an_update_is_cut_to_its_depth_before_the_checksum(feed, say, engine_books, same_book):
    book = feed.books["BTC/USD"]
    bids = [("45284.0", "2.00000000"), *BIDS]
    reference = KrakenFeed(feed.instruments, depth=10)
    reference.on_frame(1, new("snapshot", bids[:10], ASKS, 0))  # refused for its checksum, but that is what we ask for
    expected = reference._computed
    out = feed.on_frame(3, new("update", [bids[0]], [], expected))
    assert say(out) == ["DIFF 2-2<1 200000000@452840 0@452766 | "]
    assert len(book.bids) == 10
    assert book.live
    assert int(header_of(out[0])["exch_ns"]) == 1_696_613_755_440_295_000


def test_a_wrong_checksum_says_stale_before_the_update(feed, say):
    out = feed.on_frame(3, new("update", [("45283.5", "0.20000000")], [], 1))
    assert say(out) == ["STALE CHECKSUM", "DIFF 2-2<1 20000000@452835 | "]
    assert feed.wants_resync == ["BTC/USD"]
    unsubscribe, subscribe = map(json.loads, feed.resync("BTC/USD"))
    assert unsubscribe["method"] == "unsubscribe"
    assert subscribe == {
        "method": "subscribe",
        "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10, "snapshot": True},
    }
    assert feed.wants_resync == []
    assert say(feed.on_frame(4, new("snapshot", BIDS, ASKS, GUIDE)))[0].startswith("SNAPSHOT 3-3<0 ")
    assert feed.books["BTC/USD"].live


def test_a_removal_of_what_is_not_there_says_that_an_update_is_missing(old_feed, say):
    """The checksum covers ten levels; here the book has more, and an eleventh was lost."""
    deep = old_feed.books["XBT/USD"]
    for n in range(2):
        out = old_feed.on_frame(3 + n, old({"b": at([("0.04000", "0.00000000")]), "c": "974947235"}, channel="book-25"))
        assert say(out)[0] == ("STALE GAP" if n == 0 else "DIFF 3-3<2 0@4000 | ")
    old_feed.on_frame(5, OLD_SNAPSHOT)
    out = old_feed.on_frame(6, old({"b": at([("0.04000", "0.00000000")]), "c": "974947235"}))
    assert say(out) == ["DIFF 5-5<4 0@4000 | "]  # beyond the ten that are kept
    assert deep.live


def test_a_snapshot_with_a_wrong_checksum_is_refused(feed, say):
    out = feed.on_frame(3, new("snapshot", BIDS, ASKS, GUIDE + 1))
    assert say(out) == ["STALE CHECKSUM", "QUARANTINE BAD_CHECKSUM"]
    assert feed.wants_resync == ["BTC/USD"]


def test_v1_update_of_both_sides_in_order_with_a_level_sent_again(old_feed, say):
    """The last of several changes of one price holds; `r` marks a level that the venue publishes again."""
    asks = at([("0.05005", "0.00000900"), ("0.05005", "0.00000500")]) + at([("0.05050", "0.00000500")], "r")
    bids = at([("0.05000", "0.00000500")])
    out = old_feed.on_frame(3, old({"a": asks}, {"b": bids, "c": "974947235"}))
    assert say(out) == ["DIFF 2-2<1 500@5000 | 900@5005 500@5005 500@5050"]
    assert (old_feed.counts.checksums, old_feed.counts.checksums_matched) == (1, 1)
    assert int(header_of(out[0])["exch_ns"]) == 1_582_905_487_684_110_000


def test_v1_update_without_a_checksum_is_refused(old_feed, say):
    out = old_feed.on_frame(3, old({"a": at([("0.05005", "0.00000500")])}))
    assert say(out) == ["STALE GAP", "QUARANTINE MISSING_FIELD"]


def test_trades_carry_the_takers_side_and_do_not_come_twice(feed, old_feed, say):
    trade = (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45284.1,"qty":0.005,'
        b'"ord_type":"market","trade_id":77,"timestamp":"2023-09-25T07:49:37.708706Z"}]}'
    )
    assert say(feed.on_frame(3, trade)) == ["TRADE 77 sell 500000@452841"]
    assert feed.on_frame(4, trade) == []
    assert feed.counts.duplicates == 1
    assert feed.on_frame(5, trade.replace(b"update", b"snapshot")) == []
    trade = (
        b'[0,[["0.05010","0.50000000","1534614057.321597","s","l",""],'
        b'["0.05020","1.0","1534614057.324998","b","l",""]],"trade","XBT/USD"]'
    )
    assert say(old_feed.on_frame(3, trade)) == ["TRADE 0 sell 50000000@5010", "TRADE 0 buy 100000000@5020"]
    bad = trade.replace(b'"s"', b'"?"')
    assert say(old_feed.on_frame(4, bad)) == ["QUARANTINE WRONG_TYPE"]
    assert old_feed.books["XBT/USD"].live


def test_tickers_and_spreads(feed, old_feed, say):
    ticker = (
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":45283.5,"bid_qty":0.1,"ask":45285.2,'
        b'"ask_qty":0.001,"last":45284.15,"volume":1997.123456789,"vwap":1.0,"low":45000.0,"high":46000.0,"change":1}]}'
    )
    (record,) = feed.on_frame(3, ticker)
    values = {Field(f): str(v) for f, v in (slot_value(*slot) for slot in slots_of(record).tolist())}
    assert values[Field.LAST_PRICE] == "45284.15"
    assert values[Field.VOLUME] == "1997.123456789"
    assert values[Field.ASK_QTY] == "0.001"
    assert len(values) == 8
    old_ticker = (
        b'[0,{"a":["0.05525",1,"1.000"],"b":["0.05513",1,"2.000"],"c":["0.05520","0.3"],"v":["2634","3591"],'
        b'"p":["1","2"],"t":[11493,16346],"l":["0.05505","0.05405"],"h":["0.05783","0.05883"],"o":["1","2"]},'
        b'"ticker","XBT/USD"]'
    )
    (record,) = old_feed.on_frame(3, old_ticker)
    values = {Field(f): str(v) for f, v in (slot_value(*slot) for slot in slots_of(record).tolist())}
    assert values[Field.BID_QTY] == "2.000"
    assert values[Field.LOW_PRICE] == "0.05405"
    old_feed.limits = UNLIMITED  # the guide's examples are of different pairs
    spread = b'[0,["0.05698","0.05700","1542057299.545897","1.01234567","0.98765432"],"spread","XBT/USD"]'
    assert say(old_feed.on_frame(4, spread)) == ["QUOTE 0 101234567@5698 98765432@5700"]


def test_control_frames_are_counted_and_a_refused_subscription_is_said(feed, say):
    frames = [
        b'{"channel":"heartbeat"}',
        b'{"channel":"status","type":"update","data":[{"api_version":"v2","system":"online"}]}',
        b'{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true}',
        b'{"event":"heartbeat"}',
        b'{"connectionID":1,"event":"systemStatus","status":"online","version":"1.9.0"}',
    ]
    for frame in frames:
        assert feed.on_frame(3, frame) == []
    assert feed.counts.control == 5
    assert feed.books["BTC/USD"].depth == 25
    refused = b'{"error":"Currency pair not supported FOO/BAR","method":"subscribe","success":false,"symbol":"FOO/BAR"}'
    assert say(feed.on_frame(4, refused)) == ["QUARANTINE UNKNOWN_STREAM"]
    assert "Currency pair not supported" in feed.last_refused[1]
    assert feed.books["BTC/USD"].live


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="depths"):
        KrakenFeed(Instruments("kraken"), depth=11)


@pytest.mark.capture
def test_every_checksum_of_the_capture_and_the_engines_book(shared_data, engine_books, same_book):
    frames = list(read_venue_capture(shared_data / "captures" / "kraken" / "ws_v1_book1000.txt"))
    instruments = Instruments("kraken")
    instruments.infer(KrakenFeed.measure(raw for _, raw in frames))
    feed = KrakenFeed(instruments)
    assert len(feed.books) == 10
    for n, (recv_ns, raw) in enumerate(frames):
        for record in feed.on_frame(recv_ns, raw):
            engine_books.apply(record)
        if n % 100 == 0:
            for book in feed.books.values():
                same_book(engine_books, book, 1000)
    assert (feed.counts.checksums, feed.counts.checksums_matched) == (4269, 4269)
    assert not feed.counts.quarantined
    assert all(book.live for book in feed.books.values())
    for book in feed.books.values():
        same_book(engine_books, book, 1000)
        assert len(book.bids) <= 1000
        assert engine_books.best(book.instrument.id) == book.best()


def test_levels_of_a_cut_book_leave_the_engines_book_too(feed, engine_books, same_book):
    feed = KrakenFeed(feed.instruments, depth=10)
    for record in feed.on_frame(2, new("snapshot", BIDS, ASKS, GUIDE)):
        engine_books.apply(record)
    rng = np.random.default_rng(3)
    book = feed.books["BTC/USD"]
    for n in range(200):
        price = int(rng.integers(452_700, 452_830))
        there = book.bids.qty(price) > 0
        level = (f"{price / 10:.1f}", f"{rng.integers(0 if there else 1, 3) / 10:.8f}")
        probe = KrakenFeed(feed.instruments, depth=10)
        probe.books["BTC/USD"].bids.replace(book.bids.top(10))
        probe.books["BTC/USD"].asks.replace(book.asks.top(10))
        probe.books["BTC/USD"].live = True
        probe.on_frame(3, new("update", [level], [], 0))
        for record in feed.on_frame(3 + n, new("update", [level], [], probe._computed)):
            engine_books.apply(record)
        same_book(engine_books, book, 20)
    assert book.live
    assert feed.counts.checksums_matched == 201
