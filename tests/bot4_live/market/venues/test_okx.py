"""OKX: the chain of seqId, checksums and their absence, trades, tickers; every checksum of the recorded capture."""

from __future__ import annotations

import json
from zlib import crc32

import pytest

from bot4_live.events import Field, Flag, Kind, header_of, slot_value, slots_of
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Instruments

NAME = "BTC-USDT"
BIDS, ASKS = [("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]


def message(action: str, bids, asks, *, channel: str = "books", **more) -> bytes:
    """A message of a book channel."""
    data = {"asks": [[p, q, "0", "1"] for p, q in asks], "bids": [[p, q, "0", "1"] for p, q in bids]}
    data |= {"ts": "1597026383085"} | more
    return json.dumps({"arg": {"channel": channel, "instId": NAME}, "action": action, "data": [data]}).encode()


def signed(text: str) -> int:
    value = crc32(text.encode())
    return value - 2**32 if value >= 2**31 else value


@pytest.fixture
def feed(make_feed):
    made = make_feed(OkxFeed, {NAME: (1, 8)})
    made.on_frame(2, message("snapshot", BIDS, ASKS, prevSeqId=-1, seqId=100, checksum=0))
    return made


def test_the_checksum_interleaves_both_sides_as_the_guide_shows(make_feed, say):
    """The guide's string of a book whose sides differ in length."""
    feed = make_feed(OkxFeed, {NAME: (1, 0)})
    expected = signed("3366.1:7:3366.8:9:3366:6:3368:8:3372:8")
    out = feed.on_frame(2, message("snapshot", BIDS, ASKS, checksum=expected))
    assert say(out) == ["SNAPSHOT 1-1<0 7@33661 6@33660 | 9@33668 8@33680 8@33720"]
    assert (feed.counts.checksums, feed.counts.checksums_matched) == (1, 1)
    after = signed("3366.1:7:3368:8:3366:6:3372:8")
    out = feed.on_frame(3, message("update", [], [("3366.8", "0")], checksum=after))
    assert say(out) == ["DIFF 2-2<1  | 0@33668"]
    out = feed.on_frame(4, message("update", [], [("3372", "0")], checksum=after))
    assert say(out) == ["STALE CHECKSUM", "DIFF 3-3<2  | 0@33720"]
    assert feed.wants_resync == [NAME]


def test_updates_follow_the_one_they_name(feed, say):
    book = feed.books[NAME]
    assert book.chained
    out = feed.on_frame(3, message("update", [("3366.1", "8")], [], prevSeqId=100, seqId=115, checksum=0))
    assert say(out) == ["DIFF 101-115<100 800000000@33661 | "]
    assert feed.counts.checksums == 0  # 0 says that there is none
    out = feed.on_frame(4, message("update", [("3366.1", "9")], [], prevSeqId=117, seqId=120))
    assert say(out) == ["STALE GAP", "DIFF 118-120<117 900000000@33661 | "]
    head = header_of(feed.on_frame(5, message("snapshot", BIDS, ASKS, prevSeqId=-1, seqId=130))[0])
    assert (int(head["b"]), book.live, feed.counts.ignored) == (130, True, 1)
    assert (feed.counts.links, feed.counts.links_unbroken) == (2, 1)


def test_the_gap_names_what_was_expected(feed):
    head = header_of(feed.on_frame(3, message("update", [], [], prevSeqId=117, seqId=120))[0])
    assert (int(head["b"]), int(head["c"])) == (100, 117)


def test_an_update_that_changes_nothing_repeats_its_id(feed, say):
    assert feed.on_frame(3, message("update", [], [], prevSeqId=100, seqId=100)) == []
    out = feed.on_frame(4, message("update", [("3366", "0")], [], prevSeqId=100, seqId=101))
    assert say(out) == ["DIFF 101-101<100 0@33660 | "]
    out = feed.on_frame(5, message("update", [("3366", "1")], [], prevSeqId=101, seqId=101))
    assert say(out) == ["STALE GAP", "QUARANTINE BAD_SEQUENCE"]


def test_a_reset_of_the_ids_keeps_the_book(feed, say, engine_books, same_book):
    for record in feed.on_frame(3, message("snapshot", BIDS, ASKS, prevSeqId=-1, seqId=200)):
        engine_books.apply(record)
    out = feed.on_frame(4, message("update", [("3366.2", "1")], [], prevSeqId=200, seqId=3))
    out += feed.on_frame(5, message("update", [("3366.3", "1")], [], prevSeqId=3, seqId=5))
    for record in out:
        engine_books.apply(record)
    assert [line.split()[:2] for line in say(out)] == [
        ["DIFF", "201-201<200"],
        ["SNAPSHOT", "3-3<0"],
        ["DIFF", "4-5<3"],
    ]
    same_book(engine_books, feed.books[NAME], 10)
    assert engine_books.best(0)[0] == 33663
    assert feed.counts.stale.total() == 1  # the start


def test_an_update_of_a_chain_without_ids_is_refused(feed, say):
    out = feed.on_frame(3, message("update", [("3366", "1")], []))
    assert say(out) == ["STALE GAP", "QUARANTINE MISSING_FIELD"]


def test_trades_tickers_quotes_and_control(feed, say):
    trade = {
        "instId": NAME,
        "tradeId": "130639474",
        "px": "3367.9",
        "sz": "0.12060306",
        "side": "sell",
        "ts": "1630048897897",
    }
    raw = json.dumps({"arg": {"channel": "trades", "instId": NAME}, "data": [trade]}).encode()
    assert say(feed.on_frame(3, raw)) == ["TRADE 130639474 sell 12060306@33679"]
    assert feed.on_frame(4, raw) == []
    quote = message("", BIDS[:1], ASKS[:1], channel="bbo-tbt", seqId=104).replace(b'"action": "", ', b"")
    assert say(feed.on_frame(5, quote)) == ["QUOTE 104 700000000@33661 900000000@33668"]
    ticker = {"instType": "SPOT", "instId": NAME, "last": "9999.99", "lastSz": "0.1", "askPx": "", "askSz": "",
              "bidPx": "8888.88", "bidSz": "5", "open24h": "9000", "high24h": "10000", "low24h": "8888.88",
              "volCcy24h": "2222", "vol24h": "2222", "ts": "1597026383085"}  # fmt: skip
    raw = json.dumps({"arg": {"channel": "tickers", "instId": NAME}, "data": [ticker]}).encode()
    (record,) = feed.on_frame(6, raw)
    values = {Field(f): str(v) for f, v in (slot_value(*slot) for slot in slots_of(record).tolist())}
    assert values[Field.BID_PRICE] == "8888.88"
    assert Field.ASK_PRICE not in values
    assert int(header_of(record)["exch_ns"]) == 1_597_026_383_085_000_000
    for raw in (b"pong", b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}'):
        assert feed.on_frame(7, raw) == []
    assert feed.counts.control == 2
    assert say(feed.on_frame(8, b'{"event":"error","code":"60012","msg":"Invalid request"}')) == [
        "QUARANTINE UNKNOWN_STREAM"
    ]
    assert feed.books[NAME].live


def test_funding_marks_and_liquidations(make_feed):
    """On frames as the venue's guide shows them; instruments that are not followed are passed over."""
    swap = "BTC-USD-SWAP"
    feed = make_feed(OkxFeed, {swap: (1, 0)})

    def send(channel: str, data: dict[str, object], **arg: str) -> list:
        return feed.on_frame(9, json.dumps({"arg": {"channel": channel} | arg, "data": [data]}).encode())

    funding = {"fundingRate": "0.0001875391284828", "fundingTime": "1700726400000", "instId": swap, "instType": "SWAP"}
    (record,) = send("funding-rate", funding | {"ts": "1700724675402", "nextFundingRate": ""}, instId=swap)
    assert int(header_of(record)["a"]) == 1_700_726_400_000_000_000
    (value,) = [slot_value(*slot) for slot in slots_of(record).tolist()]
    assert (Field(value[0]), str(value[1])) == (Field.FUNDING_RATE, "0.0001875391284828")
    (record,) = send("mark-price", {"instId": swap, "markPx": "42310.6", "ts": "1630049139746"}, instId=swap)
    (value,) = [slot_value(*slot) for slot in slots_of(record).tolist()]
    assert (Kind(int(header_of(record)["kind"])), Field(value[0]), str(value[1])) == (
        Kind.TICKER,
        Field.MARK_PRICE,
        "42310.6",
    )
    detail = {"bkLoss": "0", "bkPx": "42310.6", "ccy": "", "posSide": "long", "side": "sell", "sz": "13"}
    data = {"instId": swap, "instType": "SWAP", "details": [detail | {"ts": "1692266434010"}]}
    (record,) = send("liquidation-orders", data, instType="SWAP")
    head = header_of(record)
    # What a contract is worth is not declared here: 13 of them count as 13 coins, which is a large liquidation.
    assert (Kind(int(head["kind"])), int(head["flags"])) == (Kind.LIQUIDATION, Flag.SELL | Flag.LARGE)
    assert slots_of(record).tolist() == [[423106, 13]]
    assert send("liquidation-orders", data | {"instId": "IOST-USDT-SWAP"}, instType="SWAP") == []
    (request,) = feed.subscribe([swap])
    args = json.loads(request)["args"]
    assert {"channel": "liquidation-orders", "instType": "SWAP"} in args
    assert {"channel": "funding-rate", "instId": swap} in args


def test_requests(feed):
    (request,) = feed.subscribe([NAME])
    assert json.loads(request)["args"] == [
        {"channel": channel, "instId": NAME} for channel in ("books", "trades", "tickers")
    ]
    assert [json.loads(raw)["op"] for raw in feed.resync(NAME)] == ["unsubscribe", "subscribe"]


@pytest.mark.capture
def test_every_checksum_of_the_capture_and_the_engines_book(shared_data, engine_books, same_book):
    frames = list(read_venue_capture(shared_data / "captures" / "okx" / "ws_v5_books.txt"))
    instruments = Instruments("okx")
    instruments.infer(OkxFeed.measure(raw for _, raw in frames))
    assert [i.symbol for _, i in instruments] == ["BTC-USD-20220527", "UNI-USD-PERP", "BTC-USDT"]
    feed = OkxFeed(instruments)
    for recv_ns, raw in frames:
        for record in feed.on_frame(recv_ns, raw):
            engine_books.apply(record)
        for book in feed.books.values():
            same_book(engine_books, book, 25)
    assert (feed.counts.checksums, feed.counts.checksums_matched) == (290, 290)
    assert not feed.counts.quarantined
    assert feed.counts.as_dict()["events"] == {
        "depth_snapshot": 3, "depth_diff": 287, "trade": 74, "ticker": 28,
    }  # fmt: skip
    for book in feed.books.values():
        same_book(engine_books, book, 400)
