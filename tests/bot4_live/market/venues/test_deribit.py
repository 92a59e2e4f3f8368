"""Deribit: frames as the venue documents them, and the capture."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Field, Flag, Kind, Reason, StaleCause, header_of, slot_value, slots_of
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.registry import Instruments

MS = 1_554_373_911_330
NOW = MS * 1_000_000 + 5_000_000
NAME, PERP = "BTC-24SEP21-8000-P", "BTC-PERPETUAL"


def raw(channel, data):
    params = {"channel": channel, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params}, separators=(",", ":")).encode()


def book(what, change_id, previous=None, bids=(), asks=(), *, name=NAME, interval="raw", **changes):
    data = {"type": what, "timestamp": MS, "instrument_name": name, "change_id": change_id,
            "bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}  # fmt: skip
    if previous is not None:
        data["prev_change_id"] = previous
    return raw(f"book.{name}.{interval}", data | changes)


def trade(trade_id="48079254", **changes):
    return {"trade_seq": 30289442, "trade_id": trade_id, "timestamp": MS, "tick_direction": 2, "price": 8950.5,
            "mark_price": 8948.9, "instrument_name": PERP, "index_price": 8955.88, "direction": "sell",
            "amount": 10.0} | changes  # fmt: skip


def kinds(records):
    return [Kind(int(header_of(record)["kind"])) for record in records]


def values(record, first=0):
    return {Field(f): v for f, v in (slot_value(int(x), int(y)) for x, y in slots_of(record)[first:])}


@pytest.fixture
def feed():
    return make_feed()


def make_feed():
    known = Instruments("deribit")
    known.declare(NAME, 4, 1)
    known.declare(PERP, 1, 0)
    made = DeribitFeed(known, interval="raw")
    made.on_connect(NOW)
    made.on_frame(NOW, book("snapshot", 100, bids=[("new", 0.0005, 153.1)], asks=[("new", 0.0015, 94.7)]))
    made.on_frame(NOW, book("snapshot", 7, name=PERP, bids=[("new", 8950.5, 10)], asks=[("new", 8951, 20.0)]))
    return made


def test_a_chain_of_changes(feed):
    (record,) = feed.on_frame(NOW, book("change", 105, 100, asks=[("new", 0.001, 2.6), ("change", 0.0015, 94.0)]))
    head = header_of(record)
    assert (head["kind"], head["a"], head["b"], head["exch_ns"]) == (Kind.DEPTH_DIFF, 105, 105, MS * 10**6)
    assert slots_of(record).tolist() == [[100, 0], [10, 26], [15, 940]]
    (record,) = feed.on_frame(NOW, book("change", 106, 105, asks=[["delete", 0.001, 0.0]]))
    assert slots_of(record).tolist() == [[105, 0], [10, 0]]
    assert feed.books[NAME].best() == (5, 1531, 15, 940)
    assert (feed.counts.links, feed.counts.links_unbroken) == (2, 2)


def test_a_broken_chain_is_stale_at_once_and_heals_with_a_snapshot(feed):
    records = feed.on_frame(NOW, book("change", 110, 105, asks=[("new", 0.001, 2.6)]))
    assert kinds(records) == [Kind.BOOK_STALE, Kind.DEPTH_DIFF]
    head = header_of(records[0])
    assert (head["a"], head["b"], head["c"]) == (StaleCause.GAP, 100, 105)
    assert feed.books[PERP].live
    assert feed.wants_resync == [NAME]
    leave, enter = (json.loads(frame) for frame in feed.resync(NAME))
    assert (leave["method"], enter["method"]) == ("public/unsubscribe", "public/subscribe")
    assert leave["params"] == enter["params"] == {"channels": [f"book.{NAME}.raw"]}
    assert leave["id"] != enter["id"]
    feed.on_frame(NOW, book("change", 111, 110, asks=[("new", 0.0011, 2.6)]))
    assert not feed.books[NAME].live
    feed.on_frame(NOW, book("snapshot", 120, bids=[("new", 0.0005, 1)], asks=[("new", 0.0015, 2)]))
    assert kinds(feed.on_frame(NOW, book("change", 121, 120, bids=[("new", 0.0006, 1)]))) == [Kind.DEPTH_DIFF]
    assert feed.books[NAME].best() == (6, 10, 15, 20)
    assert (feed.counts.links, feed.counts.links_unbroken, feed.counts.ignored) == (2, 1, 2)


def test_a_change_that_came_before_is_left_out(feed):
    change = book("change", 105, 100, bids=[("new", 0.0006, 1)])
    feed.on_frame(NOW, change)
    feed.on_frame(NOW, book("change", 106, 105, bids=[("delete", 0.0006, 0)]))
    assert kinds(feed.on_frame(NOW, change)) == [Kind.QUARANTINE]
    assert feed.counts.quarantined == {Reason.DUPLICATE: 1}
    assert feed.books[NAME].live
    assert feed.books[NAME].best()[0] == 5


@pytest.mark.parametrize("interval", ["100ms", "agg2"])
def test_aggregated_channels_have_the_same_form(feed, interval):
    assert kinds(feed.on_frame(NOW, book("change", 105, 100, bids=[("new", 0.0006, 1)], interval=interval))) == [
        Kind.DEPTH_DIFF
    ]


def test_grouped_books_are_not_taken(feed):
    data = {"timestamp": MS, "instrument_name": PERP, "change_id": 47, "bids": [[161, 6]], "asks": [[163, 3]]}
    assert kinds(feed.on_frame(NOW, raw(f"book.{PERP}.none.10.100ms", data))) == [Kind.QUARANTINE]
    assert feed.counts.quarantined == {Reason.UNKNOWN_STREAM: 1}
    assert feed.books[PERP].live


def test_numbers_are_read_as_text(feed):
    text = book("change", 105, 100, bids=[("new", 12345, 1)]).replace(b"12345", b"5.0e-4")
    (record,) = feed.on_frame(NOW, text)
    assert slots_of(record)[1].tolist() == [5, 10]
    text = book("change", 106, 105, bids=[("new", 12345, 1)]).replace(b"12345", b"0.00050000000000000001")
    assert kinds(feed.on_frame(NOW, text)) == [Kind.BOOK_STALE, Kind.QUARANTINE]
    assert feed.counts.quarantined == {Reason.LOST_DIGITS: 1}


def test_trades(feed):
    records = feed.on_frame(NOW, raw(f"trades.{PERP}.raw", [trade(), trade("48079255", direction="buy", price=8951)]))
    assert [(int(header_of(r)["a"]), int(header_of(r)["flags"])) for r in records] == [
        (48079254, Flag.SELL),
        (48079255, 0),
    ]
    assert [slots_of(r).tolist() for r in records] == [[[89505, 10]], [[89510, 10]]]
    assert feed.on_frame(NOW, raw(f"trades.{PERP}.raw", [trade()])) == []
    assert feed.counts.duplicates == 1
    (record,) = feed.on_frame(NOW, raw("trades.future.BTC.100ms", [trade("ETH-34066025")]))
    assert header_of(record)["a"] == 34066025


@pytest.mark.parametrize(("said", "sells"), [("T", [True]), ("M", [False]), ("MT", [True, False])])
def test_liquidations_of_either_side(feed, said, sells):
    records = feed.on_frame(NOW, raw(f"trades.{PERP}.raw", [trade(liquidation=said)]))
    assert kinds(records) == [Kind.TRADE] + [Kind.LIQUIDATION] * len(sells)
    assert [bool(header_of(r)["flags"] & Flag.SELL) for r in records[1:]] == sells
    assert all(slots_of(r).tolist() == [[89505, 10]] for r in records)
    assert feed.on_frame(NOW, raw(f"trades.{PERP}.raw", [trade(liquidation=said)])) == []


def test_a_list_of_trades_is_taken_whole_or_not_at_all(feed):
    records = feed.on_frame(NOW, raw(f"trades.{PERP}.raw", [trade(), trade("48079255", amount=0.5)]))
    assert kinds(records) == [Kind.QUARANTINE]
    assert feed.counts.quarantined == {Reason.LOST_DIGITS: 1}


def test_the_ticker_of_a_perpetual_tells_the_funding(feed):
    data = {"timestamp": MS, "stats": {"volume": 7871.02139035, "low": 35213.5, "high": None, "volume_usd": 284061480},
            "state": "open", "settlement_price": 36169.49, "open_interest": 502097590, "min_price": 35898.37,
            "max_price": 36991.72, "mark_price": 36446.51, "last_price": 36457.5, "instrument_name": PERP,
            "index_price": 36441.64, "funding_8h": 0.0000211, "estimated_delivery_price": 36441.64,
            "current_funding": -1.5e-06, "best_bid_price": 36442.5, "best_bid_amount": 5000,
            "best_ask_price": 36443, "best_ask_amount": 100}  # fmt: skip
    ticker, funding = feed.on_frame(NOW, raw(f"ticker.{PERP}.raw", data))
    assert kinds([ticker, funding]) == [Kind.TICKER, Kind.FUNDING]
    found = values(ticker)
    assert found[Field.OPEN_INTEREST] == 502097590
    assert found[Field.VOLUME] == Decimal("7871.02139035")
    assert Field.HIGH_PRICE not in found
    assert values(funding) == {
        Field.FUNDING_RATE: Decimal("-0.0000015"), Field.FUNDING_RATE_8H: Decimal("0.0000211"),
        Field.MARK_PRICE: Decimal("36446.51"), Field.INDEX_PRICE: Decimal("36441.64"),
    }  # fmt: skip
    assert (header_of(funding)["a"], header_of(funding)["exch_ns"]) == (0, MS * 10**6)


def test_interest_and_quotes(feed):
    data = {"interest": 0.004999511380756577, "timestamp": MS, "index_price": 7872.88}
    (record,) = feed.on_frame(NOW, raw(f"perpetual.{PERP}.100ms", data))
    assert header_of(record)["kind"] == Kind.FUNDING
    assert values(record) == {
        Field.INTEREST_RATE: Decimal("0.004999511380756577"),
        Field.INDEX_PRICE: Decimal("7872.88"),
    }
    data = {"timestamp": MS, "instrument_name": PERP, "best_bid_price": 3914.97, "best_bid_amount": 40,
            "best_ask_price": 3996.61, "best_ask_amount": 50}  # fmt: skip
    (record,) = feed.on_frame(NOW, raw(f"quote.{PERP}", data))
    assert values(record)[Field.ASK_PRICE] == Decimal("3996.61")


def test_answers_are_control_and_errors_are_said(feed):
    assert feed.on_frame(NOW, b'{"jsonrpc":"2.0","id":1,"result":["book.X.raw"],"testnet":false}') == []
    assert feed.on_frame(NOW, b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}') == []
    assert feed.counts.control == 2
    error = b'{"jsonrpc":"2.0","id":2,"error":{"code":13778,"message":"raw_subscriptions_not_available"}}'
    assert kinds(feed.on_frame(NOW, error)) == [Kind.QUARANTINE]
    assert feed.last_refused == (
        Reason.UNKNOWN_STREAM,
        "the venue says: raw_subscriptions_not_available (13778)",
    )
    assert all(book.live for book in feed.books.values())


@pytest.mark.parametrize(
    ("frame", "reason", "stale"),
    [
        (book("change", 105, bids=[("new", 1, 1)]), Reason.MISSING_FIELD, 1),
        (book("change", 100, 100), Reason.BAD_SEQUENCE, 1),
        (book("change", -5, -9), Reason.MISSING_FIELD, 1),
        (book("change", 105, 100, bids=[("add", 1, 1)]), Reason.WRONG_TYPE, 1),
        (book("change", 105, 100, bids=[("new", "1", True)]), Reason.WRONG_TYPE, 1),
        (book("change", 105, 100, bids=[("new", -1, 1)]), Reason.NEGATIVE, 1),
        (book("change", 105, 100, bids=[("new", 0, 1)]), Reason.ZERO_PRICE, 1),
        (book("change", 105, 100, bids=[("new", 0.00051, 1)]), Reason.LOST_DIGITS, 1),
        (book("change", 105, 100, timestamp=-1), Reason.TIME_OUT_OF_RANGE, 1),
        (book("change", 105, 100, instrument_name=PERP), Reason.UNKNOWN_SYMBOL, 1),
        (book("change", 105, 100, name="BTC-1"), Reason.UNKNOWN_SYMBOL, 0),
        (book("snapshot", 105, bids=[("new", 2, 1)], asks=[("new", 1, 1)]), Reason.CROSSED_QUOTE, 1),
        (raw(f"ticker.{PERP}.raw", {"instrument_name": PERP}), Reason.MISSING_FIELD, 0),
        (raw(f"trades.{PERP}.raw", [trade("x")]), Reason.BAD_NUMBER, 0),
        (raw(f"trades.{PERP}.raw", [trade(liquidation="X")]), Reason.WRONG_TYPE, 0),
        (raw("trades.option.BTC.raw", [trade(instrument_name="other")]), Reason.UNKNOWN_SYMBOL, 0),
        (raw("deribit_price_index.btc_usd", {}), Reason.UNKNOWN_STREAM, 0),
        (b'{"jsonrpc":"2.0","method":"subscri', Reason.NOT_JSON, 2),
        (b"\xff\xfe", Reason.NOT_UTF8, 2),
    ],
)
def test_broken_frames_are_quarantined(feed, frame, reason, stale):
    records = feed.on_frame(NOW, frame)
    assert kinds(records) == [Kind.BOOK_STALE] * stale + [Kind.QUARANTINE]
    assert feed.counts.quarantined == {reason: 1}


def test_a_change_that_crosses_is_stale(feed):
    records = feed.on_frame(NOW, book("change", 105, 100, bids=[("new", 0.0015, 1)]))
    assert kinds(records) == [Kind.BOOK_STALE, Kind.DEPTH_DIFF]
    assert header_of(records[0])["a"] == StaleCause.CROSSED


def test_subscription_and_intervals():
    feed = make_feed()
    (asked,) = (json.loads(frame) for frame in feed.subscribe([NAME, PERP]))
    assert asked["method"] == "public/subscribe"
    assert asked["params"]["channels"] == [
        f"{kind}.{name}.raw" for kind in ("book", "trades", "ticker") for name in (NAME, PERP)
    ]
    with pytest.raises(ValueError, match="intervals are raw, 100ms, agg2"):
        DeribitFeed(Instruments("deribit"), interval="10ms")


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_frames_never_raise_and_never_cross_a_live_book(data):
    feed = make_feed()
    frames = [book("change", 105, 100, bids=[("new", 0.0006, 1.5)], asks=[("delete", 0.0015, 0.0)]),
              book("change", 106, 105, asks=[("new", 0.0016, 1.5)]), raw(f"trades.{PERP}.raw", [trade()]),
              book("snapshot", 110, bids=[("new", 0.0005, 153.1)])]  # fmt: skip
    for frame in frames:
        broken = bytearray(frame)
        for _ in range(data.draw(st.integers(0, 3))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        broken = broken[: data.draw(st.one_of(st.just(len(broken)), st.integers(0, len(broken))))]
        records = feed.on_frame(NOW, bytes(broken))
        assert all(int(header_of(record)["length"]) == record.size for record in records)
        assert not any(book.live and book.crossed for book in feed.books.values())


@pytest.fixture(scope="module")
def capture(shared_data):
    return list(read_venue_capture(shared_data / "captures" / "deribit" / "ws_options.txt"))


def follow(frames):
    kind = feed_of(frame for _, frame in frames)
    assert kind is DeribitFeed
    known = Instruments("deribit")
    known.infer(kind.measure(frame for _, frame in frames))
    feed = kind(known)
    feed.on_connect(frames[0][0])
    records = [record for recv_ns, frame in frames for record in feed.on_frame(recv_ns, frame)]
    return feed, records


@pytest.mark.capture
def test_the_capture(capture):
    feed, records = follow(capture)
    assert (feed.counts.links, feed.counts.links_unbroken) == (36, 36)
    assert feed.counts.events == {Kind.DEPTH_SNAPSHOT: 10, Kind.DEPTH_DIFF: 36, Kind.TICKER: 89, Kind.BOOK_STALE: 10}
    assert feed.counts.stale == {StaleCause.START: 10}
    assert feed.counts.control == 1
    assert all(book.live for book in feed.books.values())
    assert feed.books["BTC-24SEP21-8000-P"].instrument.symbol == "BTC-USD-20210924-8000-P"
    said = [values(record) for record in records if header_of(record)["kind"] == Kind.TICKER]
    greeks = {Field.DELTA, Field.GAMMA, Field.VEGA, Field.THETA, Field.RHO, Field.OPEN_INTEREST, Field.MARK_IV}
    assert all(greeks <= found.keys() for found in said)
    assert said[0][Field.THETA] == Decimal("-1.64029")


@pytest.mark.capture
def test_every_change_that_is_dropped_is_reported(capture):
    """All but the last change of an instrument, which nothing follows."""
    changes = [i for i, (_, frame) in enumerate(capture) if b'"type":"change"' in frame]
    name = {i: json.loads(capture[i][1])["params"]["data"]["instrument_name"] for i in changes}
    reported = 0
    for at in changes:
        feed, _ = follow(capture[:at] + capture[at + 1 :])
        followed = any(name[i] == name[at] for i in changes if i > at)
        assert feed.counts.stale[StaleCause.GAP] == followed
        assert feed.books[name[at]].live != followed
        reported += followed
    assert reported == len(changes) - len(set(name.values()))
