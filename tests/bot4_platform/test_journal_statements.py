"""Funding, liquidations and tickers: every stated number with its digits, nothing twice, nothing lost to a twin."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bot4_live.events import Field, Flag, Kind, Source, header_of, new_record, slots_of, value_slot
from bot4_live.settings import Settings
from bot4_platform import journal_ticks
from bot4_platform.journal_source import seals, seals_of, segments
from bot4_platform.journal_statements import homeless_values
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize
from tests.journals import write_session

DAY_START = 1_723_075_200 * 10**9
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
TICKS = ["raw_segments", *journal_ticks.NAMES]
HOUR = 3_600 * 10**9


def statement(kind: Kind, at: int, a: int, values: list[tuple[int, str]], *, flags: int = 0) -> np.ndarray:
    """Return a record of `values` (field, text); of a LIQUIDATION the first is (price, quantity)."""
    record = new_record(kind, len(values))
    head, slots = header_of(record), slots_of(record)
    head["recv_ns"], head["exch_ns"], head["a"], head["flags"] = at + 5_000_000, at, a, flags
    head["source"], head["inst_version"] = Source.MARKET_STREAM, 1
    priced = kind == Kind.LIQUIDATION
    if priced:
        slots[0] = (values[0][0], int(values[0][1]))
    for i, (field, text) in enumerate(values[priced:], int(priced)):
        slots[i] = value_slot(field, text)
    return record


def write(folder: Path, records: list[np.ndarray], *, first_seq: int = 1, shift: int = 0) -> None:
    write_session(folder, records, DAY_START, first_seq=first_seq, shift=shift)


def read(folder: Path, part: MarketDay = TODAY) -> dict[str, pl.DataFrame]:
    return journal_ticks.ticks(segments(seals_of(folder, part)), part, folder)


def some_statements() -> list[np.ndarray]:
    at = DAY_START + HOUR
    marked = [(Field.FUNDING_RATE, "-0.00001230"), (Field.MARK_PRICE, "55712.30000000"), (Field.INDEX_PRICE, "55740.1")]
    sold = [(557_001, "14"), (Field.AVERAGE_PRICE, "55699.98"), (Field.FILLED_QTY, "0.014")]
    told = [(Field.LAST_PRICE, "55712.3"), (Field.OPEN_INTEREST, "9e3"), (Field.DELTA, "-0.00000000000000000001")]
    return [
        statement(Kind.FUNDING, at, DAY_START + 8 * HOUR, marked),
        statement(Kind.FUNDING, at + 1, 0, [(Field.MARK_PRICE, "55712")]),
        statement(Kind.LIQUIDATION, at + 2, 0, sold, flags=Flag.SELL | Flag.LARGE),
        statement(Kind.TICKER, at + 3, 77, told),
    ]


def test_numbers_are_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, some_statements())
    found = read(tmp_path)
    funding = found["funding"].rows(named=True)
    assert [(row["next_ns"], row["rate"], row["rate_decimals"]) for row in funding] == [
        (DAY_START + 8 * HOUR, -1230, 8), (0, None, None),
    ]  # fmt: skip
    assert [(row["mark_price"], row["mark_price_decimals"], row["index_price"]) for row in funding] == [
        (5_571_230_000_000, 8, 557_401), (55_712, 0, None),
    ]  # fmt: skip
    (liquidation,) = found["liquidations"].rows(named=True)
    assert {name: liquidation[name] for name in ("price", "qty", "sell", "large", "average_price", "filled_qty")} == {
        "price": 557_001, "qty": 14, "sell": True, "large": True, "average_price": 5_569_998, "filled_qty": 14,
    }  # fmt: skip
    tickers = found["tickers"]
    assert tickers.select("field", "digits", "decimals", "trade_id").rows() == [
        ("LAST_PRICE", 557_123, 1, 77), ("OPEN_INTEREST", 9_000, 0, 77), ("DELTA", -1, 20, 77),
    ]  # fmt: skip


def test_two_sessions_state_it_once_and_a_twin_stays(tmp_path: Path) -> None:
    once = some_statements()
    write(tmp_path / "one", once)
    twins = [*once, once[2]]  # the venue said the same liquidation twice in one session: that is two
    write(tmp_path / "both", once)
    write(tmp_path / "both", twins, first_seq=100, shift=10**15)
    alone, both = read(tmp_path / "one"), read(tmp_path / "both")
    assert both["liquidations"].height == 2
    for name in ("funding", "tickers"):
        assert both[name].equals(alone[name])


def test_trades_without_ids_are_numbered_by_time(tmp_path: Path) -> None:
    def trade(at: int, price: int) -> np.ndarray:
        record = new_record(Kind.TRADE, 1)
        header_of(record)["exch_ns"], header_of(record)["recv_ns"] = DAY_START + at, DAY_START + at
        slots_of(record)[0] = (price, 1)
        return record

    first = [trade(5, 100), trade(3, 101), trade(5, 100), trade(5, 102)]
    write(tmp_path, first)
    write(tmp_path, [*first, trade(9, 103)], first_seq=100, shift=10**12)
    frame = read(tmp_path)["trades"].sort("exch_ns", "trade_id")
    assert frame.select("trade_id", "price").rows() == [(-5, 101), (-4, 100), (-3, 100), (-2, 102), (-1, 103)]


def test_what_the_venue_gave_no_time_has_that_of_its_arrival(tmp_path: Path) -> None:
    quote = new_record(Kind.BOOK_TICKER, 2)
    header_of(quote)["recv_ns"], header_of(quote)["a"] = DAY_START + 7, 42
    slots_of(quote)[:] = [(10, 1), (11, 2)]
    write(tmp_path, [quote], shift=10**12)
    assert read(tmp_path)["quotes"].select("exch_ns", "update_id").rows() == [(DAY_START + 7, 42)]


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9), max_value=10**9)


@examples(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(list(Field)), NUMBERS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_any_values_come_back_exactly(tmp_path_factory: Any, said: list[dict[Field, Decimal]]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    for kind in (Kind.TICKER, Kind.FUNDING):
        write(
            folder / kind.name,
            [
                statement(kind, DAY_START + i, 0, [(field, str(value)) for field, value in one.items()])
                for i, one in enumerate(said)
            ],
        )
    rows = read(folder / "TICKER")["tickers"]
    back: list[dict[Field, Decimal]] = [{} for _ in said]
    for row in rows.iter_rows(named=True):
        back[row["exch_ns"] - DAY_START][Field[row["field"]]] = Decimal(row["digits"]).scaleb(-row["decimals"])
    assert back == said
    funding = read(folder / "FUNDING")["funding"]
    for row, one in zip(funding.iter_rows(named=True), said, strict=True):
        wanted = one.get(Field.MARK_PRICE)
        digits = row["mark_price"]
        assert (None if digits is None else Decimal(digits).scaleb(-row["mark_price_decimals"])) == wanted
    homeless = sum(homeless_values(part, TODAY)["funding"] for part in segments(seals(folder / "FUNDING")))
    named = {
        Field.FUNDING_RATE, Field.FUNDING_RATE_8H, Field.MARK_PRICE, Field.INDEX_PRICE, Field.SETTLEMENT_PRICE,
        Field.INTEREST_RATE,
    }  # fmt: skip
    assert homeless == sum(len(set(one) - named) for one in said)


@pytest.mark.slow
def test_assets_and_their_checks(settings: Settings, run_check: Any) -> None:
    write(settings.journal_dir, some_statements())
    summary = materialize(TICKS, [TODAY], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    lake = Lake(settings.lake_dir)
    assert [lake.read(name).height for name in ("funding", "liquidations", "tickers")] == [2, 1, 3]
    funding = lake.read("funding", *TODAY)
    lake.write("funding", *TODAY, funding.with_columns(rate_decimals=pl.lit(None, pl.Int64)))
    assert not run_check(settings, TODAY, "funding", "funding_is_whole")
    liquidations = lake.read("liquidations", *TODAY)
    lake.write("liquidations", *TODAY, liquidations.with_columns(qty=pl.lit(0, pl.Int64)))
    assert not run_check(settings, TODAY, "liquidations", "liquidations_are_sound")
    tickers = lake.read("tickers", *TODAY)
    lake.write("tickers", *TODAY, pl.concat([tickers, tickers]))
    assert not run_check(settings, TODAY, "tickers", "tickers_are_sound")


@pytest.mark.capture
@pytest.mark.parametrize(
    ("file", "market", "day"),
    [
        ("okx/ws_v5_books.txt", "okx:BTC-USDT", "2022-05-13"),
        pytest.param("coinbase/ws_pro_level2.txt", "coinbase:SKL-USD", "2021-04-17", marks=pytest.mark.slow),
        ("deribit/ws_options.txt", "deribit:BTC-USD-20211231-34000-P", "2021-07-22"),
        pytest.param("kraken/ws_v1_book1000.txt", "kraken:XMR-USD", "2021-04-17", marks=pytest.mark.slow),
    ],
)
def test_recordings_of_other_venues(shared_data: Path, tmp_path: Path, file: str, market: str, day: str) -> None:
    from bot4_live.market.import_capture import import_capture
    from bot4_live.market.venues.capture import read_venue_capture
    from bot4_live.market.venues.known import feed_of

    path = shared_data / "captures" / file
    venue = feed_of(raw for _, raw in read_venue_capture(path))
    counted = import_capture(path, tmp_path, venue=venue).counts["events"]
    markets = seals(tmp_path)[0].markets
    found = {name: read(tmp_path, MarketDay(day, name)) for name in markets}
    records = {"trades": "trade", "quotes": "book_ticker", "depth": "depth_diff"}
    for table, kind in records.items():
        assert sum(frames[table].height for frames in found.values()) == counted.get(kind, 0)
    tickers = [frames["tickers"]["seq"].n_unique() for frames in found.values()]
    assert sum(tickers) == counted.get("ticker", 0)
    import_capture(path, tmp_path, venue=venue)  # again, as a second session: nothing new
    again = read(tmp_path, MarketDay(day, market))
    for table, frame in found[market].items():
        assert again[table].equals(frame)
