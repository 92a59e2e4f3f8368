"""Hostile frames: a true market's frames, one of them damaged; a book is right or stale, and nothing raises."""

from __future__ import annotations

import json
import random
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.market.venues.base import VenueFeed
from bot4_live.market.venues.kraken import KrakenFeed
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Instruments

Levels = list[tuple[str, str]]
Truth = tuple[dict[str, str], dict[str, str]]


class Market:
    """A book of at most ten levels a side, which every checksum covers whole, and its frames in one dialect."""

    def __init__(self, dialect: str, seed: int) -> None:
        self.dialect = dialect
        self.rng = random.Random(seed)
        self.bids = {f"{100 - i / 10:.1f}": "1.00000000" for i in range(1, 8)}
        self.asks = {f"{100 + i / 10:.1f}": "2.50000000" for i in range(1, 8)}
        self.seq = 50
        self.frames = [self.frame(list(self.bids.items()), list(self.asks.items()), snapshot=True)]
        self.truths = [self.truth()]
        for _ in range(6):
            self.step()

    def truth(self) -> Truth:
        return dict(self.bids), dict(self.asks)

    def step(self) -> None:
        bids = self.rng.random() < 0.5
        side = self.bids if bids else self.asks
        price = self.rng.choice(list(side))
        qty = f"{self.rng.randrange(0 if len(side) > 4 else 1, 9)}.{self.rng.randrange(1, 99):02}000000"
        qty = "0.00000000" if qty.startswith("0") else qty
        if qty == "0.00000000":
            del side[price]
        else:
            side[price] = qty
        change = [(price, qty if self.dialect.startswith("kraken") or float(qty) else "0")]
        self.frames.append(self.frame(change if bids else [], [] if bids else change, snapshot=False))
        self.truths.append(self.truth())

    def frame(self, bids: Levels, asks: Levels, *, snapshot: bool) -> bytes:
        return getattr(self, self.dialect)(bids, asks, snapshot)

    def sorted(self) -> tuple[Levels, Levels]:
        return (
            sorted(self.bids.items(), key=lambda level: -float(level[0])),
            sorted(self.asks.items(), key=lambda level: float(level[0])),
        )

    def kraken_checksum(self) -> int:
        bids, asks = self.sorted()
        digits = [number.replace(".", "").lstrip("0") for level in (*asks, *bids) for number in level]
        return crc32("".join(digits).encode())

    def kraken_v1(self, bids: Levels, asks: Levels, snapshot: bool) -> bytes:
        def at(levels):
            return [[p, q, "1582905487.684110"] for p, q in levels]

        if snapshot:
            parts = [{"as": at(asks), "bs": at(bids)}]
        else:
            key, levels = ("b", bids) if bids else ("a", asks)
            parts = [{key: at(levels), "c": str(self.kraken_checksum())}]
        return json.dumps([7, *parts, "book-10", "A/B"], separators=(",", ":")).encode()

    def kraken_v2(self, bids: Levels, asks: Levels, snapshot: bool) -> bytes:
        def side(levels):
            return "[" + ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in levels) + "]"

        kind = "snapshot" if snapshot else "update"
        data = f'"symbol":"A/B","bids":{side(bids)},"asks":{side(asks)},"checksum":{self.kraken_checksum()}'
        return f'{{"channel":"book","type":"{kind}","data":[{{{data}}}]}}'.encode()

    def okx_data(self, bids: Levels, asks: Levels) -> dict[str, object]:
        return {
            "asks": [[p, q, "0", "1"] for p, q in asks],
            "bids": [[p, q, "0", "1"] for p, q in bids],
            "ts": "1652459225393",
        }

    def okx_message(self, data: dict[str, object], snapshot: bool) -> bytes:
        action = "snapshot" if snapshot else "update"
        message = {"arg": {"channel": "books", "instId": "A/B"}, "action": action, "data": [data]}
        return json.dumps(message, separators=(",", ":")).encode()

    def okx_checksum(self, bids: Levels, asks: Levels, snapshot: bool) -> bytes:
        both = self.sorted()
        pairs = [f"{side[i][0]}:{side[i][1]}" for i in range(25) for side in both if i < len(side)]
        value = crc32(":".join(pairs).encode())
        data = self.okx_data(bids, asks) | {"checksum": value - 2**32 if value >= 2**31 else value}
        return self.okx_message(data, snapshot)

    def okx_chain(self, bids: Levels, asks: Levels, snapshot: bool) -> bytes:
        previous, self.seq = self.seq, self.seq + self.rng.randrange(1, 30)
        data = self.okx_data(bids, asks) | {"prevSeqId": -1 if snapshot else previous, "seqId": self.seq}
        return self.okx_message(data, snapshot)


def follow(market: Market) -> VenueFeed:
    """A connected feed of the market's one instrument."""
    kind = KrakenFeed if market.dialect.startswith("kraken") else OkxFeed
    instruments = Instruments(kind.venue)
    instruments.declare("A/B", 1, 8)
    feed = kind(instruments, depth=10) if kind is KrakenFeed else kind(instruments)
    feed.on_connect(1)
    return feed


def has(feed: VenueFeed, truth: Truth) -> bool:
    """Whether the live book is this one, to the digit."""
    book = feed.books["A/B"]
    scale = [10, 10**8]
    for side, levels in zip((book.bids, book.asks), truth, strict=True):
        found = {level.price: level.qty for level in side.top(50)}
        if found != {round(float(p) * scale[0]): round(float(q) * scale[1]) for p, q in levels.items()}:
            return False
    return True


def right_or_stale(feed: VenueFeed, truth: Truth) -> None:
    """Stale is also: told, empty, and a new snapshot is wanted."""
    book = feed.books["A/B"]
    if book.live:
        assert has(feed, truth)
    else:
        assert len(book.bids) == len(book.asks) == 0


DIALECTS = ["kraken_v1", "kraken_v2", "okx_checksum", "okx_chain"]
PROVEN = DIALECTS[:3]  # their checksum covers every digit of this book


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_true_market_is_followed(dialect):
    for seed in range(20):
        market = Market(dialect, seed)
        feed = follow(market)
        for frame, truth in zip(market.frames, market.truths, strict=True):
            feed.on_frame(2, frame)
            assert feed.books["A/B"].live, feed.last_refused
            assert has(feed, truth)


@pytest.mark.parametrize("dialect", PROVEN)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_one_damaged_frame(dialect, data):
    """Bytes replaced, put in or taken out, at any place of any frame, snapshots too."""
    market = Market(dialect, data.draw(st.integers(0, 50), label="seed"))
    victim = data.draw(st.integers(0, len(market.frames) - 2), label="victim")
    frame = market.frames[victim]
    start = data.draw(st.integers(0, len(frame)), label="start")
    length = data.draw(st.integers(0, 3), label="length")
    put = data.draw(st.binary(max_size=2) | st.sampled_from([b"0", b"9", b".", b"-", b'"', b"}", b"1e"]), label="put")
    damaged = frame[:start] + put + frame[start + length :]
    feed = follow(market)
    for n, truth in enumerate(market.truths):
        feed.on_frame(2, damaged if n == victim else market.frames[n])
        if n != victim:
            right_or_stale(feed, truth)
        elif feed.books["A/B"].live:
            # The frame did nothing, or what it should; in v1 a snapshot is proven by the update after it.
            unproven = dialect == "kraken_v1" and victim == 0
            assert unproven or has(feed, truth) or has(feed, market.truths[max(n - 1, 0)])


@pytest.mark.parametrize("dialect", PROVEN)
def test_each_point_lost_or_moved(dialect):
    """Kraken's checksum is over digits: without a point, or with it elsewhere, they are the same."""
    for seed in range(3):
        market = Market(dialect, seed)
        for victim in range(1, len(market.frames)):
            frame = market.frames[victim]
            for at in (i for i in range(len(frame)) if frame[i : i + 1] == b"."):
                before, after = frame[:at], frame[at + 1 :]
                for damaged in (before + after, before + after[:1] + b"." + after[1:], before + b".0" + after):
                    feed = follow(market)
                    for n in range(victim):
                        feed.on_frame(2, market.frames[n])
                    feed.on_frame(3, damaged)
                    right_or_stale(feed, market.truths[victim])


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1000), victim=st.integers(1, 5), how=st.sampled_from(["drop", "again", "swap", "cut"]))
def test_frames_lost_repeated_or_out_of_order(dialect, seed, victim, how):
    market = Market(dialect, seed)
    frames = list(market.frames)
    if how == "drop":
        del frames[victim]
    elif how == "again":
        frames.insert(victim, frames[victim])
    elif how == "swap" and victim < len(frames) - 2:
        frames[victim], frames[victim + 1] = frames[victim + 1], frames[victim]
    elif how == "cut":
        frames[victim] = frames[victim][: len(frames[victim]) // 2]
    feed = follow(market)
    for frame in frames:
        feed.on_frame(2, frame)
    right_or_stale(feed, market.truths[-1])
    if how == "cut":
        assert not feed.books["A/B"].live
    feed.on_frame(3, Market(dialect, seed).frames[0])
    assert feed.books["A/B"].live
    assert has(feed, market.truths[0])


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200) | st.text(max_size=80).map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
        st.sampled_from(["channel", "type", "data", "arg", "event", "action", "symbol", "instId", "a", "c"]), inner),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_else(dialect, raw):
    market = Market(dialect, 1)
    feed = follow(market)
    feed.on_frame(2, market.frames[0])
    feed.on_frame(3, raw)
    assert feed.counts.frames == 2
    right_or_stale(feed, market.truths[0])
    assert feed.counts.control + feed.counts.quarantined.total() == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_raw_log_has_the_hostile_frame(dialect):
    class Log:
        def __init__(self):
            self.kept = []

        def append_raw(self, recv_ns, raw, reason, stream):
            self.kept.append((raw, reason))
            return len(self.kept) - 1

    market = Market(dialect, 1)
    feed = follow(market)
    feed._raw_log = log = Log()
    hostile = market.frames[1].replace(b"00", b"0\xff")
    for frame in (market.frames[0], hostile):
        feed.on_frame(2, frame)
    assert log.kept[0] == (market.frames[0], 0)
    assert log.kept[1][0] == hostile
    assert log.kept[1][1] != 0
