"""A journal of several markets: each one's tables and features are those of a journal of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bot4_live.events import Kind, Reason, header_of
from bot4_live.instrument import BTCUSDT_USDM, Instrument
from bot4_live.journal.layout import SEVERAL
from bot4_live.journal.local import LocalJournal
from bot4_live.journal.reader import Journal
from bot4_live.sequencer import Sequencer
from bot4_live.settings import Settings
from bot4_platform import journal_ticks, partitions
from bot4_platform.defs.ingestion import automation
from bot4_platform.feature_days import compute_day
from bot4_platform.journal_source import count, of_market, seals, seals_of, segments
from bot4_platform.partitions import DAYS, MarketDay
from bot4_platform.resources import Bot4Resource

MIDNIGHT = 1_723_161_600 * 10**9
OTHER = replace(BTCUSDT_USDM, id=1, symbol="ETHUSDT")  # the same tick, as the maker gives every market
BAD = ((Reason.NOT_JSON, b"{"),)


@pytest.fixture
def accounts(tmp_path: Path, journal_writer: Callable[[Settings], Any]) -> tuple[Settings, Settings, Settings]:
    """Return accounts with a journal of the one market, of the other, and of both in one."""
    one, two, both = (Settings(var=tmp_path, account=name) for name in ("one", "two", "both"))
    journal_writer(one).session(MIDNIGHT - 4 * 10**9, 8, seed=1, bad=BAD)
    journal_writer(two).session(MIDNIGHT - 4 * 10**9, 8, seed=2, bad=BAD * 2, lag_ns=7_000_000)
    merge([(one, BTCUSDT_USDM), (two, OTHER)], both)
    return one, two, both


def merge(sources: list[tuple[Settings, Instrument]], into: Settings) -> None:
    """Journal the records of several journals by receive time; TICKs and the session are told once."""
    header = next(Journal(sources[0][0].journal_dir).segments()).header
    header = replace(
        header, market=SEVERAL, account="both", instruments=[instrument.describe() for _, instrument in sources]
    )
    rows = []
    for settings, instrument in sources:
        journal = Journal(settings.journal_dir)
        for record in journal.events():
            head = header_of(record)
            if head["kind"] == Kind.TICK or (head["kind"] == Kind.SESSION and instrument.id):
                continue
            made = instrument.record(int(head["recv_ns"])) if head["kind"] == Kind.INSTRUMENT else record.copy()
            header_of(made)["instrument"] = instrument.id
            raw = journal.raw(int(head["c"])).raw if head["kind"] == Kind.QUARANTINE else None
            rows.append((int(head["recv_ns"]), len(rows), made, raw))
    with LocalJournal(into.journal_dir, header, segment_bytes=8 << 20) as journal_of_both:
        line = Sequencer(journal_of_both, None, rows[0][0])
        for recv_ns, _, record, raw in sorted(rows, key=lambda row: row[:2]):
            if raw is not None:
                header_of(record)["c"] = journal_of_both.append_raw(recv_ns, raw, 1, 1)
            line.push(record)


def tables(settings: Settings, part: MarketDay) -> dict[str, pl.DataFrame]:
    folder = settings.journal_dir
    found = journal_ticks.ticks(segments(seals_of(folder, part)), part, folder)
    return {name: frame.drop("seq") for name, frame in found.items()}


def test_ticks_and_features_are_those_of_a_journal_of_its_own(accounts: tuple[Settings, Settings, Settings]) -> None:
    *alone, both = accounts
    markets = (BTCUSDT_USDM.market, OTHER.market)
    assert {tuple(seal.markets.items()) for seal in seals(both.journal_dir)} == {((markets[0], 0), (markets[1], 1))}
    # The maker calls every market by the first one's name.
    for settings, market in zip(alone, markets, strict=True):
        for day in ("2024-08-08", "2024-08-09"):
            own, mixed = MarketDay(day, markets[0]), MarketDay(day, market)
            wanted, found = tables(settings, own), tables(both, mixed)
            for name, frame in wanted.items():
                assert frame.height or name in ("quarantine", "funding", "liquidations", "tickers")
                assert found[name].equals(frame), (market, day, name)
            expected = compute_day(seals(settings.journal_dir), own, None)
            got = compute_day(seals(both.journal_dir, market), mixed, None)
            assert got.rows.drop("seq").equals(expected.rows.drop("seq"))
            assert got.rows.height > 20


def test_a_day_goes_on_from_the_one_before(accounts: tuple[Settings, Settings, Settings]) -> None:
    folder = accounts[2].journal_dir
    today = MarketDay("2024-08-08", OTHER.market)
    found = seals(folder, OTHER.market)
    first = compute_day(found, today, None)
    resumed = compute_day(found, today.shifted(1), (first.last_seq, first.state))
    assert resumed.resumed
    assert resumed.rows.equals(compute_day(found, today.shifted(1), None).rows)


def test_what_is_counted_and_what_is_refused(accounts: tuple[Settings, Settings, Settings]) -> None:
    folder = accounts[2].journal_dir
    found = seals(folder)
    assert sum(count(seal, Kind.QUARANTINE, BTCUSDT_USDM.market) for seal in found) == 1
    assert sum(count(seal, Kind.QUARANTINE, OTHER.market) for seal in found) == 2
    segment = next(segments(found))
    mine, other = (of_market(segment, market) for market in (BTCUSDT_USDM.market, OTHER.market))
    assert (mine | other).all()
    assert set(segment.headers["kind"][mine & other]) == {Kind.TICK, Kind.SESSION}
    with pytest.raises(ValueError, match=r"holds binance_usdm:BTCUSDT, binance_usdm:ETHUSDT, not kraken:BTC-USD"):
        of_market(segment, "kraken:BTC-USD")
    with pytest.raises(FileNotFoundError, match="no sealed segment"):
        seals_of(folder, MarketDay("2024-08-08", "kraken:BTC-USD"))


def test_the_sensor_asks_for_each_market_that_has_partitions(accounts: tuple[Settings, Settings, Settings]) -> None:
    from bot4_platform.defs.ingestion.automation import sealed_segments
    from bot4_platform.resources import Bot4Resource

    both = accounts[2]
    resource = Bot4Resource(var=str(both.var), account=both.account)
    result = sealed_segments(dg.build_sensor_context(), bot4=resource)
    assert isinstance(result, dg.SensorResult)
    keys = {str(request.partition_key) for request in result.run_requests or []}
    assert keys == {"2024-08-08|binance_usdm:BTCUSDT", "2024-08-09|binance_usdm:BTCUSDT"}


def test_a_sealed_segment_asks_for_a_run_of_each_market(
    accounts: tuple[Settings, Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    markets = dg.StaticPartitionsDefinition([BTCUSDT_USDM.market, OTHER.market])
    monkeypatch.setattr(automation, "MARKETS", markets)
    monkeypatch.setattr(partitions, "MARKET_DAYS", dg.MultiPartitionsDefinition({"day": DAYS, "market": markets}))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        result = automation.sealed_segments(context, bot4=Bot4Resource.of(accounts[2]))
    assert isinstance(result, dg.SensorResult)
    asked = result.run_requests or []
    assert len({one.partition_key for one in asked}) == 4, "two days of two markets"
    assert len({one.run_key for one in asked}) == 4, "Dagster takes a second one with the key of another for the same"
