"""Late, duplicate and out-of-order ticks give the candles of in-order ones, by the models' own SQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bot4_live.events import Flag, Kind, header_of, new_record, slots_of
from bot4_platform import dbt_runner, journal_ticks
from bot4_platform.candle_reference import INTERVALS, differences, reference_candles, table_of
from bot4_platform.journal_source import seals_of, segments
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tables import TABLES
from tests.journals import write_session

DAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
DAY_NS, MINUTE = 86_400 * 10**9, 60 * 10**9
Sql = Callable[[Lake], dict[str, pl.DataFrame]]


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory, parse_dbt: Callable[[Path], None]) -> Sql:
    """Return what makes the candles of all intervals of a lake's day, by the SQL that dbt compiled of its models."""
    folder = tmp_path_factory.mktemp("compiled")
    lake = Lake(folder / "lake")
    lake.write("trades", *DAY, TABLES["trades"].empty())
    names = [table_of(interval) for interval in INTERVALS]
    parse_dbt(folder / "dbt")
    outcomes = dbt_runner.build(lake.root, folder, *DAY, target_path=folder / "dbt", select=names)
    assert all(outcome.ok for outcome in outcomes)
    models = folder / "dbt" / "compiled" / "bot4" / "models"
    sql = {path.stem: path.read_text() for path in models.rglob("*.sql")}

    def run(of: Lake) -> dict[str, pl.DataFrame]:
        with duckdb.connect() as db:
            for name in ("stg_trades", *names):
                text = sql[name].replace(str(lake.root), str(of.root)).replace('"memory"."main".', "")
                db.execute(f"create table {name} as {text}")
            return {name: db.sql(f"from {name}").pl() for name in names}

    return run


def trade(at: int, number: int, price: int, qty: int, *, sell: bool) -> np.ndarray:
    record = new_record(Kind.TRADE, 1)
    head = header_of(record)
    head["recv_ns"] = head["exch_ns"] = DAY.start_ns + at
    head["a"], head["flags"] = number, Flag.SELL if sell else 0
    slots_of(record)[0] = (price, qty)
    return record


def read(journal: Path) -> pl.DataFrame:
    return journal_ticks.ticks(segments(seals_of(journal, DAY)), DAY, journal)["trades"]


def check(candles: Sql, folder: Path, sessions: list[list[np.ndarray]], ordered: list[np.ndarray]) -> None:
    """Journal the sessions and, beside, the trades in order once; compare the candles of both with the reference."""
    shutil.rmtree(folder, ignore_errors=True)
    seq = 1
    for number, records in enumerate(sessions):
        seq = write_session(folder / "late", records, DAY.start_ns, first_seq=seq, shift=number * 10**12)
    write_session(folder / "ordered", ordered, DAY.start_ns)
    late, right = Lake(folder / "lake"), Lake(folder / "right")
    late.write("trades", *DAY, read(folder / "late"))
    right.write("trades", *DAY, read(folder / "ordered"))
    wanted = right.read("trades", *DAY)
    assert late.read("trades", *DAY).height == wanted.height == len(ordered)
    found, same = candles(late), candles(right)
    for interval in INTERVALS:
        name = table_of(interval)
        assert differences(found[name], same[name]) == []
        assert differences(found[name], reference_candles(wanted, interval)) == []


TIMES = st.one_of(
    st.integers(0, DAY_NS - 1),
    st.integers(0, 1439).map(lambda minute: minute * MINUTE),
    st.integers(1, 1440).map(lambda minute: minute * MINUTE - 1),
    st.sampled_from([5 * 10**9, 5 * 10**9 + 1]),
)
TRADES = st.lists(
    st.tuples(TIMES, st.integers(1, 10**6), st.integers(1, 10**5), st.booleans()), min_size=1, max_size=25
)


@examples(max_examples=20, deadline=None)
@given(TRADES, st.randoms(use_true_random=False), st.integers(1, 3))
def test_any_order_any_duplicates(
    candles: Sql, tmp_path_factory: pytest.TempPathFactory, made: list, random: object, several: int
) -> None:
    ordered = [
        trade(at, number, price, qty, sell=sell) for number, (at, price, qty, sell) in enumerate(sorted(made), 1)
    ]
    mixed = [*ordered, *random.choices(ordered, k=len(ordered) // 2)]  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    sessions = [mixed[i::several] for i in range(several)]
    check(candles, tmp_path_factory.getbasetemp() / "example", [one for one in sessions if one], ordered)


@pytest.mark.capture
@pytest.mark.slow
def test_the_capture_out_of_order(candles: Sql, tmp_path: Path, usdm_capture: Path) -> None:
    from bot4_live.market.import_capture import import_capture

    import_capture(usdm_capture, tmp_path / "capture")
    rows = read(tmp_path / "capture").sort("exch_ns", "trade_id")
    ordered = [
        trade(at - DAY.start_ns, number, price, qty, sell=sell)
        for at, number, price, qty, sell in rows.select("exch_ns", "trade_id", "price", "qty", "sell").iter_rows()
    ]
    assert len(ordered) == 21_313
    random = np.random.default_rng(1)
    late = list(ordered)
    for i in range(0, len(late), 500):  # within half a thousand trades, a few seconds of them, in any order
        late[i : i + 500] = [late[i + j] for j in random.permutation(len(late[i : i + 500]))]
    again = [ordered[i] for i in random.integers(0, len(ordered), 5_000)]
    check(candles, tmp_path / "check", [late[:15_000], again, [*late[14_000:], *again]], ordered)
