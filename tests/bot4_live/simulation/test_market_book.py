"""The exchange's book: snapshot and diffs exactly, with newer best quotes laid over."""

from __future__ import annotations

import gzip

import pytest

from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.verify import verify_capture
from bot4_live.simulation.frames import DEPTH, TICKER, FrameReader, Update, shift_times
from bot4_live.simulation.generator import generate, write_capture
from bot4_live.simulation.market_book import MarketBook
from bot4_live.simulation.source import capture_source, generated_source


def test_follows_the_quotes_of_its_market(market) -> None:
    reader = FrameReader(BTCUSDT_USDM)
    book = MarketBook(reader.read(market.snapshot))
    quotes: dict[int, tuple[int, ...]] = {}
    compared = 0
    for _, raw in market.frames():
        update = reader.read(raw)
        book.apply(update)
        if update.kind == TICKER:
            quotes[update.last] = (*update.bids[0], *update.asks[0])
            assert (*book.best(bids=True), *book.best(bids=False)) == book.quote or update.last <= book.last_id
        elif update.kind == DEPTH and book.bridged:
            in_force = quotes[max(u for u in quotes if u <= update.last)]
            bid, ask = book.bids.best, book.asks.best
            assert (bid, book.bids.at(bid), ask, book.asks.at(ask)) == in_force
            compared += 1
    assert compared > 500


def test_newer_quote_hides_what_is_better_than_it() -> None:
    book = MarketBook(Update("snapshot", 0, last=5, bids=[(99, 1), (98, 2)], asks=[(101, 3), (102, 4)]))
    assert list(book.levels(bids=True)) == [(99, 1), (98, 2)]
    book.apply(Update(TICKER, 0, last=6, bids=[(98, 7)], asks=[(100, 8)]))
    assert list(book.levels(bids=True)) == [(98, 7)]
    assert list(book.levels(bids=False)) == [(100, 8), (101, 3), (102, 4)]
    assert [book.displayed(price, bids=True) for price in (99, 98, 97)] == [0, 7, 0]
    assert book.mid2 == 198
    book.apply(Update(DEPTH, 0, first=6, last=9, previous=5, bids=[(99, 5)]))
    assert book.best(bids=True) == (99, 5), "the diffs have caught up"


def test_generated_market_is_proven_by_verify_book(tmp_path) -> None:
    path = tmp_path / "market.gz"
    write_capture(path, generate(17, duration_s=10))
    result = verify_capture(path)
    assert result.ok
    assert result.compared == result.matched > 150
    assert (result.gaps, result.crossed, result.quarantined) == (0, 0, 0)


def test_a_capture_of_a_generated_market_is_the_same_source(tmp_path) -> None:
    path = tmp_path / "market.gz"
    write_capture(path, generate(5, duration_s=3))
    recorded, generated = capture_source(path), generated_source(5, 3.0)
    assert list(recorded.frames()) == list(generated.frames())
    assert recorded.snapshot == generated.snapshot
    assert recorded.skew_ns <= 0, "nothing is received before it was sent"


def test_captures_that_cannot_be_served(tmp_path) -> None:
    path = tmp_path / "market.gz"
    frames = [(ns, raw) for ns, raw in generate(5, duration_s=2) if b"lastUpdateId" not in raw]
    write_capture(path, frames)
    with pytest.raises(ValueError, match="no depth snapshot"):
        capture_source(path)
    path.write_bytes(gzip.compress(b'1 {"stream":"btcusdt@trade","data":{"e":"trade"}}\n'))
    with pytest.raises(ValueError, match="no event time"):
        capture_source(path)
    path.write_bytes(gzip.compress(b'1 {"stream":"ethusdt@trade","data":{"e":"trade","E":1723161256299}}\n'))
    with pytest.raises(ValueError, match="ETHUSDT has no instrument"):
        capture_source(path)


def test_only_the_two_times_are_shifted() -> None:
    raw = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"t":1723161256322}}'
    assert shift_times(raw, 1000) == raw.replace(b'"E":1723161256322', b'"E":1723161257322').replace(
        b'"T":1723161256321', b'"T":1723161257321'
    )
    assert shift_times(raw, 0) is raw
