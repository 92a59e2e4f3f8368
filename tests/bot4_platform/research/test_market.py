"""A capture as rows and events: the engine's own features, the same book, nothing lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot4_live.benchmarks.inputs import event_log
from bot4_live.features.batch import compute
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.import_capture import import_capture
from bot4_live.market.venues.verify import venue_of
from bot4_live.simulation.generator import generate, write_capture
from bot4_platform.research.market import ASK, ASK_QTY, BID, BID_QTY, LOTS, NS, PRICE, Market, market_of, read_markets
from bot4_platform.research.study import study


@pytest.fixture(scope="module")
def frames() -> list[tuple[int, bytes]]:
    return list(generate(5, duration_s=20.0))


@pytest.fixture(scope="module")
def market(frames: list[tuple[int, bytes]]) -> Market:
    return market_of(frames, BTCUSDT_USDM, "generated")


def test_rows_are_the_batch_features(market: Market, frames: list[tuple[int, bytes]]) -> None:
    log = event_log(frames)
    table = compute(log.buffer, log.offsets, 100)
    np.testing.assert_array_equal(market.x, table.x)
    np.testing.assert_array_equal(market.column("imbalance_1"), table.column("imbalance_1"))
    assert market.seconds == pytest.approx(15, abs=1)
    with pytest.raises(ValueError, match="unknown feature 'nope'"):
        market.column("nope")


def test_quotes_and_events_are_those_of_the_rows(market: Market, frames: list[tuple[int, bytes]]) -> None:
    usable = market.mid2 > 0
    np.testing.assert_array_equal(market.quotes[usable, 0] + market.quotes[usable, 2], market.mid2[usable])
    sizes = market.quotes[usable][:, [1, 3]]
    imbalance = (sizes[:, 0] - sizes[:, 1]) / sizes.sum(axis=1)
    np.testing.assert_allclose(market.column("imbalance_1")[usable], imbalance)
    traded = market.events[:, LOTS] != 0
    assert traded.sum() == sum(b'"e":"trade"' in raw for _, raw in frames)
    assert (np.diff(market.events[:, NS]) >= 0).all()
    near = np.abs(market.events[traded, PRICE] - market.events[traded, BID])
    assert np.median(near[market.events[traded, BID] > 0]) <= 20
    assert {BID, BID_QTY, ASK, ASK_QTY} == {1, 2, 3, 4}


def test_a_capture_is_read_with_its_own_digits(tmp_path: Path, frames: list[tuple[int, bytes]], market: Market) -> None:
    path = tmp_path / "capture.gz"
    write_capture(path, frames)
    told: list[tuple[str, int]] = []
    (found,) = read_markets(path, lambda stage, n: told.append((stage, n)))
    np.testing.assert_array_equal(found.events, market.events)
    assert (found.name, found.symbol, found.venue) == ("capture.gz", "BTCUSDT", "binance_usdm")


def test_a_market_without_a_book_is_refused(frames: list[tuple[int, bytes]]) -> None:
    only_trades = [(ns, raw) for ns, raw in frames if b'"e":"trade"' in raw]
    with pytest.raises(ValueError, match=r"nothing: the book of BTCUSDT is never usable for 5 s on end.*verify-book"):
        market_of(only_trades, BTCUSDT_USDM, "nothing")


def test_a_market_that_the_engine_cannot_count_is_refused(frames: list[tuple[int, bytes]]) -> None:
    fine = replace(BTCUSDT_USDM, lot_e8=1, qty_digits=8)  # 0.1 x 1e-8
    with pytest.raises(ValueError, match=r"fine: a lot of BTCUSDT at one tick is worth less than 1e-8"):
        market_of(frames[:2000], fine, "fine")


def test_a_journal_holds_the_same_market(tmp_path: Path, frames: list[tuple[int, bytes]], market: Market) -> None:
    write_capture(tmp_path / "capture.gz", frames)
    import_capture(tmp_path / "capture.gz", tmp_path / "journal")
    told: list[tuple[str, int]] = []
    (found,) = read_markets(tmp_path / "journal", lambda stage, n: told.append((stage, n)))
    assert (found.name, found.symbol, found.venue) == ("journal", "BTCUSDT", "binance_usdm")
    np.testing.assert_array_equal(found.x[found.valid], market.x[market.valid])
    usable = found.events[:, BID] > 0
    np.testing.assert_array_equal(found.events[usable], market.events[market.events[:, BID] > 0])
    assert told


@pytest.mark.capture
def test_every_market_of_a_journal_that_has_a_book_is_read(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "captures" / "okx" / "ws_v5_books.txt"
    import_capture(path, tmp_path / "journal", venue=venue_of(path))
    found = read_markets(tmp_path / "journal")
    assert {m.venue for m in found} == {"okx"}
    assert len({m.symbol for m in found}) == len(found) >= 1
    with pytest.raises(ValueError, match=r"journal: \d+ s are too short for a horizon of 1 s"):
        study(found, 1.0)


def test_a_folder_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no segment of a journal"):
        read_markets(tmp_path)


@pytest.mark.capture
def test_another_venues_capture_is_refused_by_name(shared_data: Path) -> None:
    with pytest.raises(ValueError, match="a capture of kraken"):
        read_markets(shared_data / "captures" / "kraken" / "ws_v1_book1000.txt")
