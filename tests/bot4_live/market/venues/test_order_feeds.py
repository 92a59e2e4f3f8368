"""The level-3 feeds on a generated market: queues, levels, engine, and what a lost or wrong message does."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bot4_live.commands.verify_book import command
from bot4_live.events import Kind, StaleCause, header_of
from bot4_live.market.venues.coinbase_exchange import CoinbaseExchangeFeed
from bot4_live.market.venues.coinbase_orders import CoinbaseOrdersFeed
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.kraken_orders import KrakenOrdersFeed
from bot4_live.market.venues.orders_feed import OrdersFeed

DIALECTS = ["full", "level3", "kraken"]


class Live:
    """A market, the frames of one dialect, and a feed that follows them."""

    def __init__(self, order_flow, make_feed, dialect: str, seed: int, raw_log=None) -> None:
        self.flow = order_flow.Flow(seed)
        if dialect == "kraken":
            self.venue, kind, name = order_flow.Kraken(self.flow), KrakenOrdersFeed, order_flow.PAIR
            options = {"depth": 10}
        else:
            self.venue, kind = order_flow.Coinbase(self.flow, compact=dialect == "level3"), CoinbaseOrdersFeed
            name, options = order_flow.NAME, {"channel": dialect}
        self.name, self.kraken = name, dialect == "kraken"
        self.feed: OrdersFeed = make_feed(kind, {name: (1, 1)}, raw_log=raw_log, **options)

    @property
    def book(self):
        return self.feed.books[self.name]

    @property
    def orders(self):
        return self.feed.orders[self.name]

    def begin(self):
        """The first messages, and the snapshot as it comes."""
        if self.kraken:
            return self.feed.on_frame(2, self.venue.snapshot())
        out = []
        for frame in self.venue.frames(self.flow.step()):
            out += self.feed.on_frame(2, frame)
        return out + self.snapshot()

    def snapshot(self):
        if self.kraken:
            return self.feed.on_frame(2, self.venue.snapshot())
        if self.name not in self.feed.wants_snapshot:
            assert self.feed.on_frame(2, b'{"type":"subscriptions","channels":[]}') == []
        assert self.feed.wants_snapshot == [self.name]
        return self.feed.on_snapshot(2, self.name, self.venue.snapshot())

    def frames(self):
        return self.venue.frames(self.flow.step())

    def is_right(self) -> bool:
        depth = 10 if self.kraken else None
        for sign, side in ((1, self.book.bids), (-1, self.book.asks)):
            levels = self.flow.levels(sign)[:depth]
            found = [(price, lots, orders) for price, lots, orders in self.orders.levels(sign)]
            if found != levels or [(level.price, level.qty) for level in side.top(99)] != [
                (p, q) for p, q, _ in levels
            ]:
                return False
            prices = [price for price, *_ in levels]
            line = [order.id for order in self.flow.by_priority(sign) if order.price in prices]
            if [order.id for order in self.orders.orders(sign)] != line:
                return False
        return True


@pytest.fixture
def live(order_flow, make_feed):
    return lambda dialect, seed=1, **options: Live(order_flow, make_feed, dialect, seed, **options)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_queues_levels_and_the_engines_book_are_the_markets(live, dialect, engine_books, same_book):
    for seed in range(6):
        market = live(dialect, seed)
        engine_books.books.clear()
        out = market.begin()
        for _ in range(120):
            for record in out:
                engine_books.apply(record)
            assert market.book.live
            assert market.is_right()
            same_book(engine_books, market.book, 50)
            out = [record for frame in market.frames() for record in market.feed.on_frame(3, frame)]
        counts = market.feed.counts
        assert not counts.quarantined
        assert {*counts.stale} <= {StaleCause.START}
        assert counts.checksums == counts.checksums_matched
        assert counts.links == counts.links_unbroken
        assert counts.heads == counts.heads_matched
        assert (counts.checksums > 90) if dialect == "kraken" else (counts.links > 90 and counts.heads > 10)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_lost_message_makes_the_book_stale_and_empty_until_the_next_snapshot(live, dialect):
    """Kraken's checksum covers all of a book of ten prices a side; one loss of its is healed by the next message."""
    found = lost = 0
    for seed in range(25):
        market = live(dialect, seed)
        market.begin()
        for _ in range(4):
            for frame in market.frames():
                market.feed.on_frame(3, frame)
        while not (frames := market.frames()):
            pass
        lost += 1
        for frame in frames[1:]:
            market.feed.on_frame(4, frame)
        for _ in range(30):
            for frame in market.frames():
                market.feed.on_frame(5, frame)
            if market.book.live:
                continue
            found += 1
            assert market.book.stale_cause in (StaleCause.GAP, StaleCause.CHECKSUM)
            assert len(market.orders) == len(market.book.bids) == len(market.book.asks) == 0
            market.snapshot()
            assert market.book.live
            assert market.is_right()
            break
        else:
            assert market.is_right()
    assert found >= lost - market.kraken


@pytest.mark.parametrize("dialect", ["full", "level3"])
def test_messages_wait_for_the_snapshot_and_old_ones_are_in_it(live, dialect, say):
    market = live(dialect)
    early = [frame for _ in range(5) for frame in market.frames()]
    body, truth = market.venue.snapshot(), market.venue.sequence
    late = [frame for _ in range(5) for frame in market.frames()]
    for frame in early + late:
        out = market.feed.on_frame(2, frame)
        assert {header_of(record)["kind"] for record in out} <= {Kind.TRADE, Kind.TICKER}
    out = market.feed.on_snapshot(3, market.name, body)
    assert say(out)[0].startswith(f"SNAPSHOT {truth}-{truth}<0 ")
    assert market.is_right()
    # One that is ahead of the stream: its messages come later and change nothing.
    market = live(dialect)
    first = market.frames()
    ahead = [frame for _ in range(5) for frame in market.frames()]
    body = market.venue.snapshot()
    market.feed.on_frame(2, first[0])
    market.feed.on_snapshot(3, market.name, body)
    for frame in first[1:] + ahead:
        assert {header_of(record)["kind"] for record in market.feed.on_frame(4, frame)} <= {Kind.TRADE, Kind.TICKER}
    assert market.is_right()
    for frame in [frame for _ in range(9) for frame in market.frames()]:
        market.feed.on_frame(5, frame)
    assert market.book.live
    assert market.is_right()


def test_a_snapshot_older_than_what_waits_is_fetched_again(live):
    market = live("full")
    old = market.venue.snapshot()
    market.frames()  # before the subscription: nobody has these
    for frame in market.frames():
        market.feed.on_frame(2, frame)
    assert market.feed.on_snapshot(3, market.name, old) == []
    assert market.feed.counts.snapshots_too_old == 1
    assert market.feed.wants_snapshot == [market.name]
    market.snapshot()
    assert market.is_right()
    assert market.feed.wants_snapshot == []
    assert market.feed.on_snapshot(4, market.name, old) == []
    assert market.is_right()


def test_a_message_that_cannot_be_read_is_a_hole_in_what_waits(live, say):
    market = live("full")
    body = market.venue.snapshot()
    frames = [frame for _ in range(5) for frame in market.frames()]
    assert say(market.feed.on_frame(2, frames[0].replace(b'"price": "', b'"price": "x')))[-1] == "QUARANTINE BAD_NUMBER"
    for frame in frames[1:]:
        market.feed.on_frame(2, frame)
    assert market.feed.on_snapshot(3, market.name, body) == []
    assert not market.book.live
    market.snapshot()
    assert market.is_right()


def test_messages_that_came_before_are_refused_and_an_auction_is_waited_out(live, say):
    market = live("full")
    frames = [frame for _ in range(3) for frame in market.frames()]
    for frame in frames:
        market.feed.on_frame(2, frame)
    body = json.loads(market.venue.snapshot())
    auction = json.dumps(body | {"auction_mode": True}).encode()
    assert say(market.feed.on_snapshot(2, market.name, auction)) == ["QUARANTINE CROSSED_QUOTE"]
    market.snapshot()
    assert say(market.feed.on_frame(3, frames[-1])) == ["QUARANTINE DUPLICATE"]
    assert market.book.live
    assert market.is_right()


def change(market, **changes):
    """A message of the next sequence about the best bid."""
    order = market.flow.by_priority(1)[0]
    side = {"price": f"{order.price / 10}", "side": "buy", "order_id": order.id, "maker_order_id": order.id}
    return market.venue.frame(changes.pop("kind"), side | changes)


@pytest.mark.parametrize(
    "contradiction",
    [
        {"kind": "open", "remaining_size": "1.0"},  # it is here
        {"kind": "match", "maker_order_id": "nobody", "size": "0.1", "trade_id": 7},
        {"kind": "match", "size": "999.0", "trade_id": 7},
        {"kind": "match", "size": "0.1", "price": "1.0", "trade_id": 7},
        {"kind": "done", "remaining_size": "999.0"},
        {"kind": "change", "old_size": "999.0", "new_size": "0.1"},
        {"kind": "open", "order_id": "new", "remaining_size": "1.0", "price": "150.0"},  # crosses
    ],
    ids=["open", "stranger", "overfill", "price", "done", "change", "cross"],
)
def test_what_contradicts_the_book_makes_it_stale(live, contradiction):
    market = live("full")
    market.begin()
    out = market.feed.on_frame(3, change(market, **contradiction))
    kinds = [header_of(record)["kind"] for record in out]
    assert Kind.BOOK_STALE in kinds
    assert not market.book.live
    assert len(market.orders) == 0
    assert market.feed.wants_snapshot == [market.name]


def test_a_maker_who_was_not_first_in_line_is_counted(live):
    market = live("full")
    market.begin()
    second = market.flow.by_priority(1)[1]
    price = f"{second.price / 10}"
    market.feed.on_frame(3, change(market, kind="match", maker_order_id=second.id, price=price, size="0.1", trade_id=7))
    assert market.book.live
    assert (market.feed.counts.heads - market.feed.counts.heads_matched) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_raw_log_makes_the_same_orders_again(live, dialect, order_flow):
    kept: list[bytes] = []

    class RawLog:
        def append_raw(self, recv_ns, raw, reason, stream):
            kept.append(raw)
            return len(kept) - 1

    market = live(dialect, 3, raw_log=RawLog())
    market.begin()
    for _ in range(60):
        for frame in market.frames():
            market.feed.on_frame(3, frame)
    again = live(dialect, 3)
    for frame in kept:
        again.feed.on_frame(3, frame)
    for sign in (1, -1):
        assert list(again.orders.orders(sign)) == list(market.orders.orders(sign)) != []


def test_levels_are_those_of_the_level_2_feed(live, make_feed, order_flow):
    """The same market told by Coinbase's level2 channel."""
    market = live("full", 5)
    market.begin()
    plain = make_feed(CoinbaseExchangeFeed, {order_flow.NAME: (1, 1)})
    number = order_flow.number
    before = {sign: {p: q for p, q, _ in market.flow.levels(sign)} for sign in (1, -1)}
    sides = {
        key: [[number(p), number(q)] for p, q in before[sign].items()] for key, sign in (("bids", 1), ("asks", -1))
    }
    plain.on_frame(2, json.dumps({"type": "snapshot", "product_id": order_flow.NAME} | sides).encode())
    for _ in range(150):
        for frame in market.frames():
            market.feed.on_frame(3, frame)
        changes = []
        for sign, word in ((1, "buy"), (-1, "sell")):
            now = {p: q for p, q, _ in market.flow.levels(sign)}
            changed = {p for p in now.keys() | before[sign].keys() if now.get(p) != before[sign].get(p)}
            changes += [[word, number(p), number(now.get(p, 0))] for p in changed]
            before[sign] = now
        if changes:
            update = {"type": "l2update", "product_id": order_flow.NAME, "changes": changes, "time": order_flow.STAMP}
            plain.on_frame(3, json.dumps(update).encode())
        for mine, theirs in zip(
            (market.book.bids, market.book.asks),
            (plain.books[order_flow.NAME].bids, plain.books[order_flow.NAME].asks),
            strict=True,
        ):
            assert [(o.price, o.qty) for o in mine.top(99)] == [(o.price, o.qty) for o in theirs.top(99)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_verify_book_proves_a_capture_and_reports_a_message_that_is_missing(live, dialect, tmp_path):
    market = live(dialect, 2)
    lines: list[bytes] = []
    if market.kraken:
        answer = {"channel": "level3", "symbol": market.name, "depth": 10, "snapshot": True}
        lines.append(json.dumps({"method": "subscribe", "result": answer, "success": True}).encode())
        lines.append(market.venue.snapshot())
    else:
        lines += market.frames()
        lines.append(b'{"type":"book","product_id":"BTC-USD","book":' + market.venue.snapshot() + b"}")
    for _ in range(80):
        lines += market.frames()
    assert feed_of(lines) is type(market.feed)

    def verify(frames):
        path = tmp_path / "capture"
        path.write_bytes(b"".join(b"%d: %s\n" % (n + 1, frame) for n, frame in enumerate(frames)))
        result = CliRunner().invoke(command, [str(path), "--json"])
        return result.exit_code, json.loads(result.stdout)

    code, said = verify(lines)
    assert (code, said["ok"], said["orders"]) == (
        0,
        True,
        len(market.venue.visible() if market.kraken else market.flow.rests),
    )
    if market.kraken:
        assert said["checksums"] == said["checksums_matched"] > 60
        assert said["heads"] is None
    else:
        assert said["links"] == said["links_unbroken"] > 60
        assert said["heads"] == said["heads_matched"] > 5
    code, said = verify(lines[:30] + lines[31:])
    assert (code, said["ok"]) == (1, False)
    assert said["gaps"] + said["checksums_matched"] != said["checksums"] if market.kraken else said["gaps"] == 1
