"""Coinbase's two feeds: frames as the venue documents them, and the capture."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Field, Flag, Kind, Reason, StaleCause, header_of, slot_value, slots_of
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.coinbase import CoinbaseFeed
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.registry import Instruments
from bot4_live.market.venues.times import rfc3339_ns

AT = "2023-02-09T20:32:50.714964855Z"
AT_NS = 1_675_974_770_714_964_855
NOW = AT_NS + 5_000_000


def instruments():
    known = Instruments("coinbase")
    known.declare("BTC-USD", 2, 8)
    known.declare("ETH-USD", 2, 8)
    return known


def raw(message):
    return json.dumps(message, separators=(",", ":")).encode()


class Connection:
    """An Advanced Trade connection that numbers its frames."""

    def __init__(self):
        self.feed = CoinbaseFeed(instruments())
        self.number = -1
        self.feed.on_connect(NOW)

    def frame(self, channel, events, **changes):
        self.number += 1
        message = {"channel": channel, "client_id": "", "timestamp": AT, "sequence_num": self.number, "events": events}
        return raw(message | changes)

    def send(self, channel, events, **changes):
        return self.feed.on_frame(NOW, self.frame(channel, events, **changes))

    def book(self, what, product, bids=(), offers=()):
        return self.send("l2_data", [book_event(what, product, bids, offers)])

    def start(self):
        self.send("subscriptions", [{"subscriptions": {"level2": ["BTC-USD", "ETH-USD"]}}])
        self.book("snapshot", "BTC-USD", [("21921.73", "0.06317902"), ("21921.3", "0.02")], [("21921.74", "1.5")])
        self.book("snapshot", "ETH-USD", [("1540.1", "3")], [("1540.2", "4")])
        return self


def book_event(what, product, bids=(), offers=()):
    levels = [("bid", *level) for level in bids] + [("offer", *level) for level in offers]
    return {
        "type": what,
        "product_id": product,
        "updates": [
            {"side": side, "event_time": AT, "price_level": price, "new_quantity": qty} for side, price, qty in levels
        ],
    }


def trade(trade_id, side="BUY", price="21921.73", size="0.00099853", product="BTC-USD", time=AT):
    return {"trade_id": trade_id, "product_id": product, "price": price, "size": size, "side": side, "time": time}


def kinds(records):
    return [Kind(int(header_of(record)["kind"])) for record in records]


def values(record):
    return {Field(f): v for f, v in (slot_value(int(x), int(y)) for x, y in slots_of(record))}


def test_times_keep_their_ns():
    assert rfc3339_ns(AT) == AT_NS
    assert rfc3339_ns("2021-04-17T16:43:37Z") == 1_618_677_817 * 10**9


@pytest.mark.parametrize("text", ["", "Z", "2021-04-17T16:43:37", "2021-04-17T16:43:37.Z", "2021-02-30T16:43:37Z",
                                  "2021-04-17T16:43:37.1234567890Z", "2021-04-17T16:43:37.-1Z", "1969-12-31T23:59:59Z",
                                  "2021-04-17T16:43:37+00:00"])  # fmt: skip
def test_other_times_are_refused(text):
    with pytest.raises(Exception, match="time"):
        rfc3339_ns(text)


def test_advanced_books_by_sequence():
    connection = Connection().start()
    feed = connection.feed
    assert [book.live for book in feed.books.values()] == [True, True]
    assert feed.books["BTC-USD"].best() == (2192173, 6317902, 2192174, 150000000)
    (record,) = connection.book("update", "BTC-USD", [("21921.73", "0")], [("21921.75", "2")])
    head = header_of(record)
    assert (head["kind"], head["a"], head["b"], head["exch_ns"]) == (Kind.DEPTH_DIFF, 3, 3, AT_NS)
    assert slots_of(record).tolist() == [[1, 1], [2192173, 0], [2192175, 200000000]]
    assert feed.books["BTC-USD"].best() == (2192130, 2000000, 2192174, 150000000)
    (record,) = connection.book("update", "BTC-USD", [("21921.73", "1")])
    assert slots_of(record)[0, 0] == 3  # the frame that changed this book before, not the one before this frame
    assert (feed.counts.links, feed.counts.links_unbroken) == (4, 4)
    assert feed.counts.control == 1


def test_a_lost_frame_of_any_channel_makes_all_books_stale():
    connection = Connection().start()
    connection.number += 1
    records = connection.send("heartbeats", [{"current_time": "x", "heartbeat_counter": 3}])
    assert kinds(records) == [Kind.BOOK_STALE, Kind.BOOK_STALE]
    assert [(int(header_of(r)["a"]), int(header_of(r)["b"]), int(header_of(r)["c"])) for r in records] == [
        (StaleCause.GAP, 3, 4)
    ] * 2
    feed = connection.feed
    assert feed.wants_resync == ["BTC-USD", "ETH-USD"]
    leave, enter = (json.loads(frame) for frame in feed.resync("BTC-USD"))
    assert leave == {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channel": "level2"}
    assert enter["type"] == "subscribe"
    assert feed.wants_resync == ["ETH-USD"]
    assert kinds(connection.book("update", "BTC-USD", [("1", "1")])) == [Kind.DEPTH_DIFF]
    assert not feed.books["BTC-USD"].live
    connection.book("snapshot", "BTC-USD", [("21921.73", "1")], [("21921.74", "1")])
    assert feed.books["BTC-USD"].live
    assert (feed.counts.links, feed.counts.links_unbroken) == (5, 4)


def test_a_frame_that_came_before_changes_nothing():
    connection = Connection().start()
    again = raw({"channel": "l2_data", "timestamp": AT, "sequence_num": 2,
                 "events": [book_event("update", "ETH-USD", [("1540.15", "1")])]})  # fmt: skip
    assert kinds(connection.feed.on_frame(NOW, again)) == [Kind.QUARANTINE]
    assert connection.feed.counts.quarantined == {Reason.DUPLICATE: 1}
    assert connection.feed.books["ETH-USD"].best()[0] == 154010
    assert connection.feed.books["ETH-USD"].live


def test_a_new_connection_counts_from_zero():
    connection = Connection().start()
    stale = connection.feed.on_disconnect(NOW)
    assert kinds(stale) == [Kind.BOOK_STALE, Kind.BOOK_STALE]
    connection.feed.on_connect(NOW)
    connection.number = -1
    connection.start()
    assert [book.live for book in connection.feed.books.values()] == [True, True]
    assert connection.feed.counts.stale == {StaleCause.START: 2, StaleCause.DISCONNECT: 2}


def test_several_events_in_a_frame_are_one_update_a_book():
    connection = Connection().start()
    events = [
        book_event("update", "BTC-USD", [("21921.5", "1")]),
        book_event("update", "ETH-USD", [], [("1540.3", "1")]),
        book_event("update", "BTC-USD", [("21921.5", "2")]),
    ]
    records = connection.send("l2_data", events)
    assert [(int(header_of(r)["instrument"]), slots_of(r)[1:].tolist()) for r in records] == [
        (0, [[2192150, 100000000], [2192150, 200000000]]),
        (1, [[154030, 100000000]]),
    ]
    assert connection.feed.books["BTC-USD"].bids.qty(2192150) == 200000000


def test_a_frame_is_taken_whole_or_not_at_all():
    connection = Connection().start()
    before = connection.feed.books["BTC-USD"].update_id
    events = [book_event("update", "BTC-USD", [("21921.5", "1")]), book_event("update", "ETH-USD", [("1.001", "1")])]
    records = connection.send("l2_data", events)
    assert kinds(records) == [Kind.BOOK_STALE, Kind.BOOK_STALE, Kind.QUARANTINE]
    assert connection.feed.books["BTC-USD"].update_id == before
    connection = Connection().start()
    records = connection.send("market_trades", [{"type": "update", "trades": [trade("1"), trade("2", size="0")]}])
    assert kinds(records)[-1] == Kind.QUARANTINE
    assert all(book.live for book in connection.feed.books.values())


def test_trades_oldest_first_with_the_aggressor():
    connection = Connection().start()
    older = "2023-02-09T20:32:50.7Z"
    records = connection.send(
        "market_trades", [{"type": "update", "trades": [trade("13", "SELL"), trade("12", "BUY", time=older)]}]
    )
    assert [(int(header_of(r)["a"]), int(header_of(r)["flags"])) for r in records] == [(12, Flag.SELL), (13, 0)]
    assert slots_of(records[0]).tolist() == [[2192173, 99853]]
    assert kinds(connection.send("market_trades", [{"type": "update", "trades": [trade("13", "SELL")]}])) == []
    assert connection.feed.counts.duplicates == 1


def test_trades_of_the_past_are_a_ticker():
    connection = Connection().start()
    old = [trade("12"), trade("11", price="21000"), trade("7", product="ETH-USD", price="1540")]
    records = connection.send("market_trades", [{"type": "snapshot", "trades": old}])
    assert kinds(records) == [Kind.TICKER, Kind.TICKER]
    newest = next(r for r in records if header_of(r)["instrument"] == 0)
    assert header_of(newest)["a"] == 12
    assert values(newest) == {Field.LAST_PRICE: Decimal("21921.73"), Field.LAST_QTY: Decimal("0.00099853")}


def test_tickers():
    connection = Connection().start()
    said = {"type": "ticker", "product_id": "BTC-USD", "price": "21932.98", "volume_24_h": "16038.28770938",
            "low_24_h": "21835.29", "high_24_h": "23011.18", "low_52_w": "15460", "high_52_w": "48240",
            "price_percent_chg_24_h": "-4.15775596190603", "best_bid": "21931.98", "best_bid_quantity": "8000.21",
            "best_ask": "21933.98", "best_ask_quantity": ""}  # fmt: skip
    (record,) = connection.send("ticker", [{"type": "snapshot", "tickers": [said]}])
    found = values(record)
    assert found[Field.VOLUME] == Decimal("16038.28770938")
    assert found[Field.BID_QTY] == Decimal("8000.21")
    assert Field.ASK_QTY not in found


@pytest.mark.parametrize(
    ("channel", "events", "changes", "reason", "stale"),
    [
        ("candles", [], {}, Reason.UNKNOWN_STREAM, 0),
        ("l2_data", [], {"sequence_num": None}, Reason.WRONG_TYPE, 0),
        ("l2_data", [book_event("update", "XRP-USD", [("1", "1")])], {}, Reason.UNKNOWN_SYMBOL, 0),
        (
            "l2_data",
            [book_event("update", "ETH-USD", [("1", "1")]), book_event("update", "XRP-USD", [("1", "1")])],
            {},
            Reason.UNKNOWN_SYMBOL,
            1,
        ),
        ("l2_data", [book_event("change", "BTC-USD", [("1", "1")])], {}, Reason.WRONG_TYPE, 2),
        ("l2_data", [book_event("update", "BTC-USD", [("1", "-1")])], {}, Reason.NEGATIVE, 1),
        ("l2_data", [book_event("update", "BTC-USD", [("0", "1")])], {}, Reason.ZERO_PRICE, 1),
        ("l2_data", [book_event("update", "BTC-USD", [("1", "1")])], {"timestamp": "x"}, Reason.BAD_NUMBER, 2),
        ("market_trades", [{"type": "update", "trades": [trade("x1")]}], {}, Reason.BAD_NUMBER, 0),
        ("market_trades", [{"type": "update", "trades": [trade("1", side="buy")]}], {}, Reason.WRONG_TYPE, 0),
        ("ticker", [{"tickers": [{"product_id": "BTC-USD"}]}], {}, Reason.MISSING_FIELD, 0),
        ("", [], {"type": "error", "message": "authentication failure"}, Reason.UNKNOWN_STREAM, 0),
    ],
)
def test_broken_frames_are_quarantined(channel, events, changes, reason, stale):
    connection = Connection().start()
    records = connection.send(channel, events, **changes)
    assert kinds(records) == [Kind.BOOK_STALE] * stale + [Kind.QUARANTINE]
    assert connection.feed.counts.quarantined == {reason: 1}


def test_a_frame_that_cannot_be_read_shows_with_the_next():
    connection = Connection().start()
    broken = connection.frame("l2_data", [book_event("update", "BTC-USD", [("21921.5", "1")])])[:-9]
    assert kinds(connection.feed.on_frame(NOW, broken)) == [Kind.QUARANTINE]
    records = connection.book("update", "ETH-USD", [("1540", "1")])
    assert kinds(records) == [Kind.BOOK_STALE, Kind.BOOK_STALE, Kind.DEPTH_DIFF]


def test_subscriptions_name_every_channel():
    feed = CoinbaseFeed(instruments())
    asked = [json.loads(frame) for frame in feed.subscribe(["BTC-USD"])]
    assert [frame["channel"] for frame in asked] == ["level2", "market_trades", "ticker", "heartbeats"]
    (asked,) = (json.loads(frame) for frame in CoinbaseExchangeFeed(instruments()).subscribe(["BTC-USD"]))
    assert asked == {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2", "matches", "ticker"]}


SNAPSHOT = {
    "type": "snapshot",
    "product_id": "BTC-USD",
    "bids": [["10101.10", "0.45054140"]],
    "asks": [["10102.55", "0.57753524"]],
}
UPDATE = {"type": "l2update", "product_id": "BTC-USD", "time": "2019-08-14T20:42:27.265Z",
          "changes": [["buy", "10101.80000000", "0.162567"], ["sell", "10102.55", "0"]]}  # fmt: skip
MATCH = {"type": "match", "trade_id": 10, "sequence": 50, "maker_order_id": "ac928c66", "taker_order_id": "132fb6ae",
         "time": "2014-11-07T08:19:27.028459Z", "product_id": "BTC-USD", "size": "5.23512", "price": "400.23",
         "side": "sell"}  # fmt: skip


def test_exchange_frames():
    feed = CoinbaseExchangeFeed(instruments())
    feed.on_connect(NOW)
    (snapshot,) = feed.on_frame(NOW, raw(SNAPSHOT))
    (update,) = feed.on_frame(NOW, raw(UPDATE))
    assert slots_of(snapshot).tolist() == [[0, 1], [1010110, 45054140], [1010255, 57753524]]
    head = header_of(update)
    assert (head["a"], head["b"], slots_of(update)[0, 0]) == (2, 2, 1)  # counted here: the venue sends no number
    assert slots_of(update)[1:].tolist() == [[1010180, 16256700], [1010255, 0]]
    (match,) = feed.on_frame(NOW, raw(MATCH))
    assert (header_of(match)["kind"], header_of(match)["flags"]) == (Kind.TRADE, 0)  # the maker sold
    (match,) = feed.on_frame(NOW, raw(MATCH | {"trade_id": 11, "side": "buy"}))
    assert header_of(match)["flags"] == Flag.SELL
    (old,) = feed.on_frame(NOW, raw(MATCH | {"type": "last_match"}))
    assert (header_of(old)["kind"], header_of(old)["a"]) == (Kind.TICKER, 10)
    assert feed.on_frame(NOW, raw({"type": "heartbeat", "sequence": 90, "last_trade_id": 20})) == []
    assert kinds(feed.on_frame(NOW, raw({"type": "error", "message": "no"}))) == [Kind.QUARANTINE]
    assert feed.books["BTC-USD"].live
    assert feed.last_refused == (Reason.UNKNOWN_STREAM, "the venue says: no")


def test_a_broken_exchange_update_makes_its_book_stale():
    feed = CoinbaseExchangeFeed(instruments())
    feed.on_connect(NOW)
    feed.on_frame(NOW, raw(SNAPSHOT))
    feed.on_frame(NOW, raw(SNAPSHOT | {"product_id": "ETH-USD"}))
    assert kinds(feed.on_frame(NOW, raw(UPDATE | {"changes": [["hold", "1", "1"]]}))) == [
        Kind.BOOK_STALE,
        Kind.QUARANTINE,
    ]
    assert [book.live for book in feed.books.values()] == [False, True]
    assert feed.wants_resync == ["BTC-USD"]
    assert [json.loads(f)["type"] for f in feed.resync("BTC-USD")] == ["unsubscribe", "subscribe"]
    assert kinds(feed.on_frame(NOW, b'{"type":"l2upd')) == [Kind.BOOK_STALE, Kind.QUARANTINE]  # it may have been any


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_frames_never_raise_and_never_cross_a_live_book(data):
    connection = Connection().start()
    exchange = CoinbaseExchangeFeed(instruments())
    exchange.on_connect(NOW)
    exchange.on_frame(NOW, raw(SNAPSHOT))
    frames = [connection.frame("l2_data", [book_event("update", "BTC-USD", [("21921.5", "1")], [("21921.74", "0")])]),
              connection.frame("market_trades", [{"type": "update", "trades": [trade("9")]}]),
              raw(UPDATE), raw(MATCH)]  # fmt: skip
    for frame in frames:
        broken = bytearray(frame)
        for _ in range(data.draw(st.integers(0, 3))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        broken = broken[: data.draw(st.one_of(st.just(len(broken)), st.integers(0, len(broken))))]
        for feed in (connection.feed, exchange):
            records = feed.on_frame(NOW, bytes(broken))
            assert all(int(header_of(record)["length"]) == record.size for record in records)
    for feed in (connection.feed, exchange):
        assert not any(book.live and book.crossed for book in feed.books.values())


@pytest.mark.capture
def test_the_capture(shared_data):
    frames = list(read_venue_capture(shared_data / "captures" / "coinbase" / "ws_pro_level2.txt"))
    kind = feed_of(frame for _, frame in frames)
    assert kind is CoinbaseExchangeFeed
    known = Instruments("coinbase")
    known.infer(kind.measure(frame for _, frame in frames))
    feed = kind(known)
    feed.on_connect(frames[0][0])
    seen = Counter()
    touched = {}
    for recv_ns, frame in frames:
        for record in feed.on_frame(recv_ns, frame):
            head = header_of(record)
            seen[Kind(int(head["kind"]))] += 1
            key = int(head["instrument"]), int(head["exch_ns"])
            if head["kind"] == Kind.DEPTH_DIFF:
                touched[key] = slots_of(record).copy()
            elif head["kind"] == Kind.TRADE:
                # The level that the trade took from is the maker's: the aggressor was on the other side.
                levels = touched[key]
                price = int(slots_of(record)[0, 0])
                bids = levels[1 : 1 + levels[0, 1], 0]
                assert (price in bids) == bool(head["flags"] & Flag.SELL)
                assert price in levels[1:, 0]
                seen["proven side"] += 1
    assert seen == {Kind.DEPTH_SNAPSHOT: 10, Kind.DEPTH_DIFF: 9719, Kind.TRADE: 97, Kind.TICKER: 117, "proven side": 97}
    assert not feed.counts.quarantined
    assert feed.counts.stale == {StaleCause.START: 10}
    assert feed.counts.control == 3
    assert all(np.array(book.best()).all() for book in feed.books.values())
