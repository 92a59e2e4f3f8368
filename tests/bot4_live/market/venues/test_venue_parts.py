"""The parts that all venues share: ladder, symbols, instruments, captures, and the feed's own bookkeeping."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.events import StaleCause
from bot4_live.market.capture import CaptureError
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.known import FEEDS, feed_of
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.kraken_orders import KrakenOrdersFeed
from bot4_live.market.venues.ladder import Level, Side
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Digits, Instruments
from bot4_live.market.venues.symbols import canonical


def level(price: int, qty: int) -> Level:
    return Level(price, qty, str(price), str(qty))


@given(
    sign=st.sampled_from([1, -1]),
    changes=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=60),
    depth=st.integers(1, 12),
)
def test_a_side_is_a_sorted_dictionary_cut_to_its_depth(sign, changes, depth):
    side, model = Side(sign), {}
    for price, qty in changes:
        assert side.reaches(price, 3) == (price in sorted({*model, price}, key=lambda p: -sign * p)[:3])
        assert side.set(level(price, qty)) == (qty > 0 or price in model)
        model.pop(price, None)
        if qty:
            model[price] = qty
        gone = side.cut(depth)
        best_first = sorted(model.items(), key=lambda item: -sign * item[0])
        assert [(one.price, one.qty) for one in gone] == best_first[depth:]
        model = dict(best_first[:depth])
        assert [(one.price, one.qty) for one in side.top(99)] == best_first[:depth]
        assert side.best() == (best_first[0] if best_first else (0, 0))
        assert all(side.qty(p) == model.get(p, 0) for p in range(14))


@pytest.mark.parametrize(
    ("venue", "name", "common"),
    [
        ("kraken", "XBT/USD", "BTC-USD"), ("kraken", "ETH/XBT", "ETH-BTC"), ("kraken", "XDG/EUR", "DOGE-EUR"),
        ("kraken", "BTC/USD", "BTC-USD"), ("okx", "BTC-USDT", "BTC-USDT"), ("okx", "UNI-USD-SWAP", "UNI-USD-PERP"),
        ("okx", "BTC-USD-220527", "BTC-USD-20220527"), ("okx", "BTC-USD-220527-30000-C", "BTC-USD-20220527-30000-C"),
        ("coinbase", "BTC-USD", "BTC-USD"), ("deribit", "BTC-PERPETUAL", "BTC-USD-PERP"),
        ("deribit", "BTC-24SEP21-8000-P", "BTC-USD-20210924-8000-P"), ("deribit", "ETH-5JAN24", "ETH-USD-20240105"),
        ("deribit", "SOL_USDC-PERPETUAL", "SOL-USDC-PERP"), ("deribit", "BTC_USDC", "BTC-USDC"),
        ("deribit", "XRP_USDC-30JUN23-0d5-C", "XRP-USDC-20230630-0.5-C"), ("deribit", "BTC-31FEB22", "BTC-31FEB22"),
        ("elsewhere", "a/b", "a/b"),
        ("binance_spot", "BTCUSDT", "BTC-USDT"), ("binance_spot", "WBTCETH", "WBTC-ETH"),
        ("binance_spot", "BTCFDUSD", "BTC-FDUSD"), ("binance_spot", "USDTTRY", "USDT-TRY"),
        ("binance_spot", "TUSDT", "T-USDT"), ("binance_spot", "BTCX", "BTCX"), ("binance_spot", "USDT", "USDT"),
        ("binance_usdm", "BTCUSDT", "BTC-USDT-PERP"), ("binance_usdm", "1000SHIBUSDC", "1000SHIB-USDC-PERP"),
        ("binance_usdm", "BTCUSDT_240927", "BTC-USDT-20240927"), ("binance_usdm", "BTCUSDT_X", "BTCUSDT_X"),
        ("binance_coinm", "BTCUSD_PERP", "BTC-USD-PERP"), ("binance_coinm", "ETHUSD_240927", "ETH-USD-20240927"),
    ],
)  # fmt: skip
def test_names(venue, name, common):
    assert canonical(venue, name) == common
    assert canonical(venue, common) == common, "a common name stays"


def test_instruments_are_declared_once_with_digits_that_can_be_kept():
    instruments = Instruments("kraken", first_id=5)
    instruments.declare("XBT/USD", 1, 8)
    eth = instruments.declare("ETH/USD", 2, 8, tick_e8=5_000_000)
    assert [(name, i.id, i.market) for name, i in instruments] == [
        ("XBT/USD", 5, "kraken:BTC-USD"),
        ("ETH/USD", 6, "kraken:ETH-USD"),
    ]
    assert eth.tick_e8 == 5_000_000
    assert instruments.scales("ETH/USD")[1].units("22000000.00000001") == 2_200_000_000_000_001
    with pytest.raises(ValueError, match="twice"):
        instruments.declare("XBT/USD", 1, 8)
    with pytest.raises(ValueError, match="at most 8"):
        instruments.declare("SHIB/USD", 10, 8)
    digits = Digits()
    digits.see_levels([("1.500", "2.25"), ("1.25", "1")])
    assert (digits.price, digits.qty) == (2, 2)


def test_lines_of_a_capture(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(
        b"wss://ws.kraken.com <-> 1618678132.3858151\n"
        b'wss://ws.kraken.com <- 1618678132.8253062: {"event":"subscribe"}\n'
        b'1618678132.92772: {"a":1}\r\n\n1618678133: pong\n'
    )
    assert list(read_venue_capture(path)) == [
        (1_618_678_132_927_720_000, b'{"a":1}'),
        (1_618_678_133_000_000_000, b"pong"),
    ]
    plain = list(read_venue_capture(path))
    zipped = tmp_path / "c.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_venue_capture(zipped)) == plain
    zipped.write_bytes(zipped.read_bytes()[:-20])
    with pytest.raises(CaptureError, match="the gzip data is cut"):
        list(read_venue_capture(zipped))
    path.write_bytes(path.read_bytes() + b"garbage\n")
    with pytest.raises(CaptureError, match="line 6"):
        list(read_venue_capture(path))
    path.write_bytes(b"wss://ws.kraken.com <-> 1618678132.3858151\n\n")
    with pytest.raises(CaptureError, match="no frame"):
        list(read_venue_capture(path))
    path.write_bytes(gzip.compress(b'17 {"a":2}\n'))
    assert list(read_venue_capture(path)) == [(17, b'{"a":2}')]


def test_a_disconnect_makes_live_books_stale_and_a_connection_asks_anew(make_feed, say):
    snapshot = (
        b'{"arg":{"channel":"books","instId":"A-B"},"action":"snapshot","data":[{"asks":[["2","1"]],'
        b'"bids":[["1","1"]],"ts":"1652459225393","seqId":4,"prevSeqId":-1}]}'
    )
    feed = make_feed(OkxFeed, {"A-B": (0, 0), "C-D": (0, 0)})
    assert feed.wants_resync == []  # the first subscription asks
    feed.on_frame(2, snapshot)
    assert say(feed.on_disconnect(3, StaleCause.SILENCE)) == ["STALE SILENCE"]
    assert feed.wants_resync == []
    assert feed.on_connect(4) == []  # what was stale is stale
    assert say(feed.on_frame(5, snapshot)) == ["SNAPSHOT 4-4<0 1@1 | 1@2"]
    assert feed.counts.as_dict()["stale"] == {"start": 2, "silence": 1}
    assert feed.counts.connects == 2


def test_a_snapshot_that_is_crossed_or_lossy_leaves_no_book(make_feed, say):
    feed = make_feed(OkxFeed, {"A-B": (0, 0)})
    frame = (
        b'{"arg":{"channel":"books","instId":"A-B"},"action":"snapshot","data":[{"asks":[["%s","1"]],'
        b'"bids":[["3","1"]],"ts":"1652459225393","seqId":4,"prevSeqId":-1}]}'
    )
    assert say(feed.on_frame(2, frame % b"3")) == ["QUARANTINE CROSSED_QUOTE"]
    assert feed.wants_resync == ["A-B"]
    assert say(feed.on_frame(3, frame % b"4.5")) == ["QUARANTINE LOST_DIGITS"]
    assert say(feed.on_frame(4, frame % b"0")) == ["QUARANTINE ZERO_PRICE"]
    assert say(feed.on_frame(5, frame % b"4")) == ["SNAPSHOT 4-4<0 1@3 | 1@4"]
    assert say(feed.on_frame(6, frame.replace(b"snapshot", b"update") % b"3")) == ["STALE GAP", "DIFF 0-4<-1 1@3 | 1@3"]


def test_an_update_that_crosses_the_book_is_told_first(make_feed, say):
    feed = make_feed(OkxFeed, {"A-B": (0, 0)})
    frame = (
        b'{"arg":{"channel":"books","instId":"A-B"},"action":"%s","data":[{"asks":[["%s","1"]],'
        b'"bids":[["3","1"]],"ts":"1652459225393","seqId":%d,"prevSeqId":%d}]}'
    )
    feed.on_frame(2, frame % (b"snapshot", b"5", 4, -1))
    assert say(feed.on_frame(3, frame % (b"update", b"3", 5, 4))) == ["STALE CROSSED", "DIFF 5-5<4 1@3 | 1@3"]
    assert feed.wants_resync == ["A-B"]


def test_venues_are_told_apart_by_what_they_say():
    kraken = b'[0,{"a":[["1","1","1.1"]],"c":"1"},"book-10","XBT/USD"]'
    okx = b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}'
    binance = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1}}'
    others = [b"{}", b"[]", b"[1", b"\xff", b'{"event":"heartbeat"}', b'{"arg":3}', b"[" * 5000, binance]
    assert feed_of([b'{"event":"systemStatus"}', kraken]) is KrakenFeed
    assert feed_of([okx]) is OkxFeed
    assert feed_of(others) is None
    spaced = b'[0, {"a": [["1", "1", "1.1"]], "c": "1"}, "book-10", "XBT/USD"]'
    turned = b'{ "type": "update", "data": [{"symbol": "XBT/USD", "checksum": 1}], "channel": "%s" }'
    for orders in (turned % b"level3", b'{"channel": "level3", "data": [{"checksum":1}]}'):
        assert feed_of([orders]) is KrakenOrdersFeed
    assert feed_of([spaced]) is feed_of([turned % b"book"]) is KrakenFeed
    assert feed_of([b'{"channel":"book","data":[]}', b'[0,{},"book-10"]', b'[0,{},"ohlc-5","XBT/USD"]']) is None
    for feed in FEEDS:
        assert [feed.recognises(raw) for raw in (kraken, okx)] == [feed is KrakenFeed, feed is OkxFeed]
