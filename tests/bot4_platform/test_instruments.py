"""Instruments: versions from the journal, intervals that neither overlap nor leave a gap, lookups as of a time."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.settings import Settings
from bot4_platform import instruments
from bot4_platform.instruments import Instruments, UnknownInstrument
from bot4_platform.lake import Lake
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

DAY_START = 1_723_075_200 * 10**9
HOUR = 3_600 * 10**9
MARKET = BTCUSDT_USDM.market


def test_the_journal_says_it_and_a_listing_says_it_changed(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + HOUR, 2)
    maker.session(DAY_START + 2 * HOUR, 2, name="again")
    lake = Lake(settings.lake_dir)
    materialize(["instruments"], [], settings).raise_for_failure()
    (row,) = lake.read("instruments").rows(named=True)
    assert (row["version"], row["valid_from_ns"], row["valid_to_ns"]) == (1, 0, None)
    assert abs(row["seen_ns"] - (DAY_START + HOUR)) < 10**8
    known = Instruments.of(lake).at(MARKET, DAY_START)
    assert known == BTCUSDT_USDM

    finer = dataclasses.replace(BTCUSDT_USDM, tick_e8=E8 // 100, taker_fee_e8=40_000)
    changed = DAY_START + 5 * HOUR
    assert instruments.observe(lake, [finer], changed, "exchange_info") == 1
    assert instruments.observe(lake, [finer], changed, "exchange_info") == 0
    for seal in settings.journal_dir.glob("seg-*"):
        seal.unlink()  # what was seen outlives the journal
    summary = materialize(["instruments"], [], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    table = lake.read("instruments")
    assert table["valid_from_ns"].to_list() == [0, changed]
    assert table["valid_to_ns"].to_list() == [changed, None]
    both = Instruments.of(lake)
    assert [both.at(MARKET, ns).tick_e8 for ns in (0, changed - 1, changed)] == [E8 // 10, E8 // 10, E8 // 100]
    assert both.at(MARKET, changed).version == 2
    with pytest.raises(UnknownInstrument, match=r"kraken:XBTUSD \(known: binance_usdm:BTCUSDT\)"):
        both.at("kraken:XBTUSD", changed)


def sighting(market: str, at: int, tick: int) -> dict[str, Any]:
    rules = {name: getattr(BTCUSDT_USDM, name) for name in TABLES["instrument_sightings"].columns if name[:3] != "sou"
             and name not in ("market", "seen_ns")}  # fmt: skip
    return {"market": market, "seen_ns": at, "source": "x"} | rules | {"tick_e8": tick}


def table_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return instruments.intervals(pl.DataFrame(rows, schema=TABLES["instrument_sightings"].schema()))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(1, 3)), min_size=1, max_size=30))
def test_at_every_time_exactly_one_version_holds_and_it_is_the_last_seen(seen: list[tuple[str, int, int]]) -> None:
    last = {(market, at): tick for market, at, tick in seen}
    table = table_of([sighting(market, at, tick) for (market, at), tick in last.items()])
    assert instruments.problems(table, set("abc") & {market for market, _, _ in seen}) == []
    for market in {market for market, _, _ in seen}:
        rows = table.filter(market=market).rows(named=True)
        assert all(a["tick_e8"] != b["tick_e8"] for a, b in itertools.pairwise(rows)), "equal ones are one"
        for ns in range(52):
            held = [r for r in rows if r["valid_from_ns"] <= ns and (r["valid_to_ns"] is None or ns < r["valid_to_ns"])]
            times = [at for name, at in last if name == market]
            when = max((at for at in times if at <= ns), default=min(times))
            assert [row["tick_e8"] for row in held] == [last[market, when]]


def test_an_instrument_has_one_name_at_all_venues(tmp_path: Path) -> None:
    markets = {
        "binance_spot:BTCUSDT": "BTC-USDT", "okx:BTC-USDT": "BTC-USDT", "binance_usdm:BTCUSDT": "BTC-USDT-PERP",
        "okx:BTC-USDT-PERP": "BTC-USDT-PERP", "binance_coinm:BTCUSD_PERP": "BTC-USD-PERP",
        "deribit:BTC-USD-PERP": "BTC-USD-PERP", "elsewhere:XY": "XY",
    }  # fmt: skip
    table = table_of([sighting(market, 5, 1) for market in markets])
    assert dict(table.select("market", "instrument").rows()) == markets
    assert table_of([]).is_empty()


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    table = table_of([sighting("a", 5, 1), sighting("a", 9, 2), sighting("b", 7, 1)])
    broken = table.with_columns(
        valid_to_ns=pl.when(pl.col("market") == "a").then(8).otherwise(pl.col("valid_to_ns")),
        lot_e8=pl.when(pl.col("market") == "b").then(0).otherwise(pl.col("lot_e8")),
    )
    found = instruments.problems(broken, ["a", "b", "c"])
    assert len(found) == 4
    assert "a version 1 holds until 8, the next one from 9" in found
    assert any("b version 1 has a tick, lot" in line for line in found)
    assert found[-1] == "c has ticks and no instrument"


def test_two_contracts_of_one_venue(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    inverse = dataclasses.replace(BTCUSDT_USDM, symbol="BTCUSDPERP", contract_e8=100 * E8, inverse=True)
    instruments.observe(lake, [BTCUSDT_USDM, inverse], 5, "exchange_info")
    lake.write("instruments", "", "", instruments.intervals(lake.read("instrument_sightings")))
    known = Instruments.of(lake)
    assert known.at(inverse.market, 10) == inverse
    assert known.at(MARKET, 10) == BTCUSDT_USDM
