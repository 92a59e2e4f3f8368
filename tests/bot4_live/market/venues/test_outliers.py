"""Prices that are far outside a live book are refused, at every venue that sends level 2."""

from __future__ import annotations

import json

import pytest

from bot4_live.events import Reason
from bot4_live.market.validation import UNLIMITED
from bot4_live.market.venues.okx import OkxFeed

NAME = "BTC-USDT"


class Log:
    """A raw log that keeps (frame, reason)."""

    def __init__(self):
        self.kept = []

    def append_raw(self, recv_ns, raw, reason, stream):
        self.kept.append((raw, reason))
        return len(self.kept) - 1


def frame(channel, data, name=NAME, **more):
    return json.dumps({"arg": {"channel": channel, "instId": name}, "data": [data]} | more).encode()


def book(bid, ask, name=NAME):
    levels = {"bids": [[bid, "1"]], "asks": [[ask, "1"]], "ts": "1652459225393", "seqId": 4, "prevSeqId": -1}
    return frame("books", levels, name, action="snapshot")


def trade(number, price, name=NAME):
    said = {"instId": name, "tradeId": str(number), "px": price, "sz": "1", "side": "buy", "ts": "1652459225393"}
    return frame("trades", said, name)


def quote(bid, ask):
    return frame("bbo-tbt", {"bids": [[bid, "1"]], "asks": [[ask, "1"]], "ts": "1652459225393", "seqId": 5})


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def feed(make_feed, log):
    made = make_feed(OkxFeed, {NAME: (1, 0), "BTC-USD-220527-30000-C": (4, 0)}, raw_log=log)
    made.on_frame(2, book("1000", "1010"))
    return made


def test_a_price_a_tenth_outside_the_book_is_refused_and_the_book_stays(feed, log, say):
    for number, price in enumerate(("900", "1110", "1000", "1005")):
        assert say(feed.on_frame(3, trade(number, price))) == [f"TRADE {number} buy 1@{price}0"]
    for number, price in ((7, "899"), (8, "1111"), (9, "0.1")):
        assert say(feed.on_frame(3, trade(number, price))) == ["QUARANTINE OUTLIER"]
        assert log.kept[-1] == (trade(number, price), Reason.OUTLIER)
    assert say(feed.on_frame(4, quote("800", "801"))) == ["QUARANTINE OUTLIER"]
    assert say(feed.on_frame(4, quote("995", "1001"))) == ["QUOTE 5 1@9950 1@10010"]
    assert feed.counts.quarantined == {Reason.OUTLIER: 4}
    assert feed.books[NAME].live
    assert say(feed.on_frame(5, trade(7, "905"))) == ["TRADE 7 buy 1@9050"], "a refused trade's id is not used up"


def test_twenty_in_a_row_are_believed(feed, say):
    said = [say(feed.on_frame(3, trade(number, "2000")))[0] for number in range(22)]
    assert said[:19] == ["QUARANTINE OUTLIER"] * 19
    assert said[19:] == [f"TRADE {number} buy 1@20000" for number in (19, 20, 21)]
    assert say(feed.on_frame(4, trade(30, "1000"))) == ["TRADE 30 buy 1@10000"]
    assert say(feed.on_frame(4, trade(31, "2000"))) == ["QUARANTINE OUTLIER"]


def test_a_few_ticks_options_and_stale_books_are_left_out(feed, say, make_feed):
    option = "BTC-USD-220527-30000-C"
    feed.on_frame(3, book("0.0100", "0.0120", option))
    assert say(feed.on_frame(3, trade(1, "0.0500", option))) == ["TRADE 1 buy 1@500"]
    cheap = make_feed(OkxFeed, {NAME: (1, 0)})
    assert say(cheap.on_frame(2, trade(1, "99"))) == ["TRADE 1 buy 1@990"], "there is no book"
    cheap.on_frame(2, book("0.3", "0.4"))
    assert say(cheap.on_frame(3, trade(2, "0.9"))) == ["TRADE 2 buy 1@9"]
    assert say(cheap.on_frame(3, trade(3, "1.0"))) == ["QUARANTINE OUTLIER"]
    cheap.limits = UNLIMITED
    assert say(cheap.on_frame(3, trade(4, "1.0"))) == ["TRADE 4 buy 1@10"]
