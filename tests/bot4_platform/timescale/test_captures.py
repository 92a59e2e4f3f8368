"""The database's candles on real captures: every level of every market, in every integer, as plain Polars has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from bot4_platform import journal_ticks
from bot4_platform.candle_reference import INTERVALS, reference_candles
from bot4_platform.journal_source import seals, seals_of, segments
from bot4_platform.partitions import MarketDay
from bot4_platform.timescale.equality import compare
from bot4_platform.timescale.load import load_day
from bot4_platform.timescale.settings import PostgresSettings
from bot4_platform.timescale.ticks import of_trades
from tests.bot4_platform.timescale.days import instrument_of

Clock = Callable[[PostgresSettings, int], None]


def market_days(journal: Path) -> dict[MarketDay, pl.DataFrame]:
    """Return the trades of each market and exchange day of a journal that has any."""
    named = {MarketDay(day, market) for seal in seals(journal) for day in seal.days for market in seal.markets}
    found = {}
    for part in sorted(named):
        trades = journal_ticks.ticks(segments(seals_of(journal, part)), part, journal)["trades"]
        if trades.height:
            found[part] = trades
    return found


def loaded_equal(settings: PostgresSettings, clock: Clock, days: dict[MarketDay, pl.DataFrame]) -> int:
    """Load the later half of each day's trades first, then all; compare every level; return how many trades."""
    for part, trades in days.items():
        clock(settings, part.end_ns)
        for rows in (trades.tail(trades.height // 2), trades):
            load_day(settings, of_trades(rows, part.market), part)
        found = compare(settings, part, trades, reference_candles(trades, "1m"))
        assert found == {name: [] for name in INTERVALS}, part
    return sum(trades.height for trades in days.values())


@pytest.fixture(scope="module")
def btcusdt(usdm_journal: Path) -> dict[MarketDay, pl.DataFrame]:
    """Trades of the capture of USD-M, read once for all kinds of server."""
    return market_days(usdm_journal)


@pytest.mark.capture
def test_the_capture_of_btcusdt(
    database: PostgresSettings, clock: Clock, btcusdt: dict[MarketDay, pl.DataFrame]
) -> None:
    assert loaded_equal(database, clock, btcusdt) == 21_313


@pytest.mark.slow
@pytest.mark.capture
def test_the_captures_of_other_venues(
    database: PostgresSettings, clock: Clock, shared_data: Path, tmp_path: Path
) -> None:
    from bot4_live.market.import_capture import import_capture
    from bot4_live.market.venues.capture import read_venue_capture
    from bot4_live.market.venues.known import feed_of

    counts = {}
    for path in sorted((shared_data / "captures").glob("*/*.txt")):
        venue = feed_of(raw for _, raw in read_venue_capture(path))
        import_capture(path, tmp_path / path.parent.name, venue=venue)
        counts[path.parent.name] = loaded_equal(database, clock, market_days(tmp_path / path.parent.name))
    assert (counts["okx"], counts["coinbase"]) == (74, 97)


@pytest.mark.slow
@pytest.mark.capture
def test_the_other_captures_of_binance(
    database: PostgresSettings, clock: Clock, shared_data: Path, tmp_path: Path
) -> None:
    from bot4_live.market.import_capture import import_capture

    captures = shared_data / "captures"
    paths = [path for venue in ("coinm", "spot") for path in sorted((captures / f"binance_{venue}").glob("*.gz"))]
    assert len(paths) == 3
    for path in paths:
        journal = tmp_path / path.stem / path.parent.name
        import_capture(path, journal, instrument_of(path))
        assert loaded_equal(database, clock, market_days(journal)) > 2_000
