"""Coinbase and Deribit under faults: a book is the venue's or it is stale, for the feed and for the engine alike."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Kind, header_of
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.coinbase import CoinbaseFeed
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.deribit import DeribitFeed
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.registry import Instruments

NAMES = ("A-USD", "B-USD")
STAMP = "2023-02-09T20:32:50.714964855Z"
DIALECTS = {"advanced": CoinbaseFeed, "exchange": CoinbaseExchangeFeed, "deribit": DeribitFeed}
NUMBERED = ("advanced", "deribit")


class Market:
    """Two books and the frames that tell of them, with the true books after each frame."""

    def __init__(self, dialect: str, seed: int, steps: int = 40) -> None:
        self.dialect = dialect
        self.rng = random.Random(seed)
        self.number = -1
        self.ids = dict.fromkeys(NAMES, 0)
        self.sides = {name: ({}, {}) for name in NAMES}
        self.frames: list[bytes] = []
        self.truths = []
        for name in NAMES:
            for i in range(1, 9):
                self.sides[name][0][1000 - i] = self.rng.randrange(1, 90)
                self.sides[name][1][1000 + i] = self.rng.randrange(1, 90)
            self.tell(name, *map(dict, self.sides[name]), snapshot=True)
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        name = self.rng.choice(NAMES)
        changes: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for _ in range(self.rng.randrange(1, 4)):
            row = self.rng.randrange(2)
            price = 1000 + (1 if row else -1) * self.rng.randrange(1, 12)
            changes[row][price] = self.rng.choice([0, self.rng.randrange(1, 90)])
        for side, changed in zip(self.sides[name], changes, strict=True):
            for price, qty in changed.items():
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
        self.tell(name, *changes, snapshot=False)

    def tell(self, name: str, bids: dict[int, int], asks: dict[int, int], *, snapshot: bool) -> None:
        levels = [("buy", p, q) for p, q in bids.items()] + [("sell", p, q) for p, q in asks.items()]
        self.frames.append(json.dumps(getattr(self, self.dialect)(name, levels, snapshot)).encode())
        self.truths.append({n: tuple(dict(side) for side in self.sides[n]) for n in NAMES})

    def advanced(self, name, levels, snapshot):
        self.number += 1
        updates = [
            {"side": "bid" if side == "buy" else "offer", "event_time": STAMP, "price_level": f"{p / 10}",
             "new_quantity": f"{q / 10}"} for side, p, q in levels
        ]  # fmt: skip
        event = {"type": "snapshot" if snapshot else "update", "product_id": name, "updates": updates}
        return {"channel": "l2_data", "timestamp": STAMP, "sequence_num": self.number, "events": [event]}

    def exchange(self, name, levels, snapshot):
        if snapshot:
            sides = {"bids": "buy", "asks": "sell"}
            books = {key: [[f"{p / 10}", f"{q / 10}"] for s, p, q in levels if s == sides[key]] for key in sides}
            return {"type": "snapshot", "product_id": name} | books
        changes = [[side, f"{p / 10}", f"{q / 10}"] for side, p, q in levels]
        return {"type": "l2update", "product_id": name, "changes": changes, "time": "2019-08-14T20:42:27.265Z"}

    def deribit(self, name, levels, snapshot):
        previous = self.ids[name]
        self.ids[name] = previous + self.rng.randrange(1, 30)
        sides = {"bids": "buy", "asks": "sell"}
        books = {
            key: [["delete" if q == 0 else "new", p / 10, q / 10] for s, p, q in levels if s == sides[key]]
            for key in sides
        }
        data = {"type": "snapshot" if snapshot else "change", "timestamp": 1_626_993_723_000, "instrument_name": name,
                "change_id": self.ids[name]} | books  # fmt: skip
        data |= {} if snapshot else {"prev_change_id": previous}
        return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": f"book.{name}.raw", "data": data}}


def make(dialect):
    kind = DIALECTS[dialect]
    instruments = Instruments(kind.venue)
    for name in NAMES:
        instruments.declare(name, 1, 1)
    return kind(instruments)


def levels(side):
    return {level.price: level.qty for level in side.top(100)}


def right_or_stale(feed, truth):
    for name, book in feed.books.items():
        if book.live:
            assert (levels(book.bids), levels(book.asks)) == truth[name]
        else:
            assert len(book.bids) == len(book.asks) == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_true_market_is_followed_by_feed_and_engine(dialect, engine_books, same_book):
    for seed in range(5):
        market = Market(dialect, seed, steps=80)
        feed = make(dialect)
        feed.on_connect(1)
        for frame, truth in zip(market.frames, market.truths, strict=True):
            for record in feed.on_frame(2, frame):
                engine_books.apply(record)
            right_or_stale(feed, truth)
            for book in feed.books.values():
                if book.live:
                    same_book(engine_books, book, 100)
        assert all(book.live for book in feed.books.values())
        assert feed.counts.links_unbroken == feed.counts.links


@pytest.mark.parametrize("dialect", NUMBERED)
@settings(max_examples=120)
@given(
    seed=st.integers(0, 500),
    faults=st.lists(st.tuples(st.integers(2, 38), st.sampled_from(["drop", "again", "swap", "cut"])), max_size=3),
)
def test_frames_lost_repeated_swapped_or_cut(dialect, seed, faults):
    market = Market(dialect, seed)
    sent = list(zip(market.frames, market.truths, strict=True))
    for at, how in faults:
        if how == "drop":
            del sent[at]
        elif how == "again":
            sent.insert(at, sent[at])
        elif how == "swap":
            sent[at], sent[at + 1] = (sent[at + 1][0], sent[at][1]), (sent[at][0], sent[at + 1][1])
        else:
            sent[at] = sent[at][0][: len(sent[at][0]) // 2], sent[at][1]
    feed = make(dialect)
    feed.on_connect(1)
    for frame, _ in sent:
        feed.on_frame(2, frame)
    # One true frame of each book more shows whatever was lost before.
    for _ in range(60):
        market.step()
        feed.on_frame(2, market.frames[-1])
    right_or_stale(feed, market.truths[-1])
    if {how for _, how in faults} == {"drop"}:
        assert feed.wants_resync
        assert feed.counts.links_unbroken < feed.counts.links
    for name in feed.wants_resync:
        assert feed.resync(name)
        market.tell(name, *map(dict, market.sides[name]), snapshot=True)
        feed.on_frame(3, market.frames[-1])
    assert all(book.live for book in feed.books.values())
    right_or_stale(feed, market.truths[-1])


@pytest.mark.capture
@pytest.mark.parametrize("path", ["coinbase/ws_pro_level2.txt", "deribit/ws_options.txt"])
def test_the_engine_has_the_feeds_books_of_the_captures(shared_data, path, engine_books, same_book):
    frames = list(read_venue_capture(shared_data / "captures" / path))
    kind = feed_of(raw for _, raw in frames)
    instruments = Instruments(kind.venue)
    instruments.infer(kind.measure(raw for _, raw in frames))
    feed = kind(instruments)
    feed.on_connect(frames[0][0])
    by_id = {book.instrument.id: book for book in feed.books.values()}
    compared = 0
    for n, (recv_ns, raw) in enumerate(frames):
        for record in feed.on_frame(recv_ns, raw):
            engine_books.apply(record)
            if header_of(record)["kind"] in (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF):
                book = by_id[int(header_of(record)["instrument"])]
                same_book(engine_books, book, 5 if n % 200 else 2000)
                compared += 1
    assert compared == feed.counts.events[Kind.DEPTH_SNAPSHOT] + feed.counts.events[Kind.DEPTH_DIFF]
    for book in by_id.values():
        same_book(engine_books, book, 4000)
