"""Candles by dbt: order by exchange time and trade id, whole or not at all, the postgres dialect."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform import dbt_runner
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

pytestmark = pytest.mark.usefixtures("quick_dbt")
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
CANDLES = ["stg_trades", "candles_1m"]
MINUTE = 60 * 10**9


def write_trades(settings: Settings, rows: list[tuple[int, int, int, int]]) -> None:
    """Write (exchange time after the day's start, trade id, price, qty) in order of arrival."""
    frame = pl.DataFrame(
        {
            "seq": range(1, len(rows) + 1),
            "recv_ns": range(1, len(rows) + 1),
            "exch_ns": [TODAY.start_ns + row[0] for row in rows],
            "trade_id": [row[1] for row in rows],
            "price": [row[2] for row in rows],
            "qty": [row[3] for row in rows],
            "sell": [False] * len(rows),
        },
        schema=TABLES["trades"].schema(),
    )
    Lake(settings.lake_dir).write("trades", *TODAY, frame)


def test_open_and_close_are_not_by_arrival(settings: Settings) -> None:
    same = 5 * 10**9
    write_trades(
        settings,
        [
            (9 * 10**9, 14, 1005, 2),
            (same, 12, 1001, 1),
            (same, 11, 1000, 3),
            (9 * 10**9, 13, 990, 4),
            (MINUTE, 15, 997, 1),
        ],
    )
    summary = materialize(CANDLES, [TODAY], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    assert Lake(settings.lake_dir).read("candles_1m", *TODAY).rows() == [
        (TODAY.start_ns, 1000, 1005, 990, 1005, 10, 2010 + 1001 + 3000 + 3960, 10, 4),
        (TODAY.start_ns + MINUTE, 997, 997, 997, 997, 1, 997, 1, 1),
    ]


def test_a_day_without_trades_has_no_candles(settings: Settings) -> None:
    write_trades(settings, [])
    materialize(CANDLES, [TODAY], settings).raise_for_failure()
    assert Lake(settings.lake_dir).read("candles_1m", *TODAY).rows() == []


def test_a_failing_dbt_test_keeps_the_old_candles(settings: Settings) -> None:
    write_trades(settings, [(1, 1, 100, 1)])
    materialize(CANDLES, [TODAY], settings).raise_for_failure()
    before = Lake(settings.lake_dir).read("candles_1m", *TODAY)
    write_trades(settings, [(1, 1, 100, 1), (2, 1, 200, 1)])
    summary = materialize(CANDLES, [TODAY], settings)
    assert "stg_trades_is_whole" in " ".join(summary.failed_checks)
    assert "dbt_candles" in summary.failed_steps
    assert Lake(settings.lake_dir).read("candles_1m", *TODAY).equals(before)
    assert list((settings.lake_dir / ".staging").iterdir()) == []


def test_the_check_sees_candles_that_are_not_the_trades(settings: Settings, run_check: Any) -> None:
    write_trades(settings, [(1, 1, 100, 1), (2, 2, 101, 1)])
    materialize(CANDLES, [TODAY], settings).raise_for_failure()
    assert run_check(settings, TODAY, "candles_1m", "candles_agree_with_trades")
    lake = Lake(settings.lake_dir)
    frame = lake.read("candles_1m", *TODAY)
    lake.write("candles_1m", *TODAY, frame.with_columns(close=pl.lit(100, pl.Int64)))
    assert not run_check(settings, TODAY, "candles_1m", "candles_agree_with_trades")


def test_both_dialects_come_from_one_model() -> None:
    """What differs between the targets is in macros alone; that both do the same is in test_candle_engines.py."""
    text = "".join(path.read_text() for path in (dbt_runner.DBT_DIR / "macros").glob("*.sql"))
    for name in ("int_div", "first_by", "last_by", "wide", "lake", "lake_of_markets", "part", "at_ns"):
        assert f"duckdb__{name}(" in text
        assert f"postgres__{name}(" in text
    for model in dbt_runner.DBT_DIR.rglob("models/**/*.sql"):
        sql = model.read_text()
        assert not any(word in sql for word in ("read_parquet", "arg_min", "array_agg", "hugeint", "target."))
        assert "//" not in sql.replace("{{", "").replace("}}", "")
