"""Suites: every table has one, each rule can fail, and a failing one blocks what is downstream."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from bot4_live.features.registry import NAMES
from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quality.judge import judge
from bot4_platform.quality.suites import SUITES, Suite
from bot4_platform.quality.suites.derived import bounded
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
START = 1_723_161_600 * 10**9 - 200 * 10**9
BY_NAME = {suite.name: suite for suite in SUITES}
SECOND = 10**9


def test_every_table_that_an_asset_writes_has_a_suite_and_a_blocking_check() -> None:
    from bot4_platform.definitions import defs

    graph = defs.resolve_asset_graph()
    assets = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    judged = {suite.table for suite in SUITES}
    partitioned = {name for name, node in assets.items() if name in TABLES and node.is_partitioned}
    assert partitioned - judged == set()
    assert len(BY_NAME) == len(SUITES), "names are unique"
    for suite in SUITES:
        assert len(suite.expectations) >= 2
        checks = {key.name: graph.get_check_spec(key) for key in assets[suite.table].check_keys}
        assert checks[f"{suite.name}_suite"].blocking
        for one in suite.expectations:
            assert len(one.why) > 5


def test_bounded_features_are_those_whose_unit_says_so() -> None:
    ends = bounded()
    assert {"imbalance_1", "vpin", "pressure"} <= ends.keys()
    assert ends["imbalance_1"] == (-1.0, 1.0)
    assert ends["vpin"] == (0.0, 1.0)
    assert set(ends) <= set(NAMES)


TRADES = pl.DataFrame({
    "seq": range(1, 61), "recv_ns": [i * SECOND for i in range(60)], "exch_ns": [i * SECOND for i in range(60)],
    "trade_id": range(100, 160), "price": [1000 + i % 3 for i in range(60)], "qty": [5] * 60, "sell": [True] * 60,
})  # fmt: skip
QUOTES = pl.DataFrame({
    "seq": range(1, 101), "recv_ns": [i * SECOND for i in range(100)], "exch_ns": [i * SECOND for i in range(100)],
    "update_id": range(1, 101), "bid_px": [1000] * 100, "bid_qty": [5] * 100, "ask_px": [1001] * 100,
    "ask_qty": [5] * 100,
})  # fmt: skip
CANDLES = pl.DataFrame({
    "minute_ns": [i * 60 * SECOND for i in range(10)], "open": [1000] * 10, "high": [1002] * 10, "low": [999] * 10,
    "close": [1001] * 10, "volume": [50] * 10, "vwap_num": [50_000] * 10, "vwap_den": [50] * 10, "trades": [10] * 10,
})  # fmt: skip
QUARANTINE = pl.DataFrame({
    "seq": [1, 2], "recv_ns": [5, 6], "rule": ["NOT_JSON", "OUTLIER"], "stream": ["0", "4"],
    "raw": [b"<html>", b"{}"], "first_seen": [5, 6],
})  # fmt: skip
BREAKS: list[tuple[str, pl.DataFrame, dict[str, pl.Expr], str]] = [
    (
        "trade_minutes",
        TRADES,
        {"price": pl.when(pl.col("seq") == 30).then(1200).otherwise(pl.col("price"))},
        "range_bp",
    ),
    ("trade_minutes", TRADES, {"price": pl.when(pl.col("seq") > 30).then(1080).otherwise(pl.col("price"))}, "jump_bp"),
    ("trade_minutes", TRADES, {"trade_id": pl.col("trade_id") * 1000}, "ids_per_trade"),
    ("quote_sample", QUOTES, {"ask_px": pl.when(pl.col("seq") < 5).then(9000).otherwise(1001)}, "spread_ticks"),
    ("quote_sample", QUOTES, {"ask_qty": pl.lit(0)}, "skew"),
    ("candles_1m", CANDLES, {"high": pl.lit(1200)}, "range_bp"),
    ("candles_1m", CANDLES, {"open": pl.lit(1100), "high": pl.lit(1101)}, "jump_bp"),
    ("candles_1m", CANDLES, {"volume": pl.lit(9)}, "volume, trades"),
    ("quarantine", QUARANTINE, {"rule": pl.lit("BECAUSE")}, "rule"),
    ("quarantine", QUARANTINE, {"stream": pl.lit("trades")}, "stream"),
]


def frame_of(suite: Suite, rows: pl.DataFrame, lake: Lake) -> pl.DataFrame:
    """Write rows as a partition and return what the suite takes of it."""
    spec = TABLES[suite.table]
    lake.write(suite.table, *TODAY, rows.cast(dict(spec.schema())))  # type: ignore[arg-type]
    return suite.frame(lake, [TODAY])


@pytest.mark.parametrize(("name", "good", "broken", "expected"), BREAKS, ids=[f"{b[0]}-{b[3]}" for b in BREAKS])
def test_each_rule_can_fail_and_says_what_it_found(
    name: str, good: pl.DataFrame, broken: dict[str, pl.Expr], expected: str, settings: Settings
) -> None:
    suite, lake = BY_NAME[name], Lake(settings.lake_dir)
    assert judge(suite, frame_of(suite, good, lake)).failed == []
    found = judge(suite, frame_of(suite, good.with_columns(**broken), lake))
    assert not found.success
    assert any(expected in text and "found" in text for text in found.failed), found.failed


def test_a_column_that_is_gone_is_said_to_be_gone(settings: Settings) -> None:
    suite = BY_NAME["candles_1m"]
    frame = suite.frame(Lake(settings.lake_dir), [])
    assert judge(suite, frame).success, "nothing to judge"
    lake = Lake(settings.lake_dir)
    frame = frame_of(suite, CANDLES, lake).drop("range_bp")
    found = judge(suite, frame)
    assert any("could not be computed" in text and "range_bp" in text for text in found.failed)


@pytest.mark.usefixtures("quick_dbt")
def test_a_failing_suite_blocks_what_is_made_of_the_table(
    settings: Settings, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot4_platform.quality.suites import market

    maker.session(START, 70)
    lake = Lake(settings.lake_dir)
    good = materialize(["raw_segments", "trades", "quotes", "depth", "stg_trades", "candles_1m"], [TODAY], settings)
    good.raise_for_failure()
    assert lake.exists("candles_1m", *TODAY)
    lake.path("candles_1m", *TODAY).unlink()
    # The same journal under a rule that it cannot meet.
    suite = BY_NAME["trade_minutes"]
    impossible = market.between("range_bp", 5_000, 6_000, "Never met.")
    monkeypatch.setitem(vars(suite), "expectations", (impossible,))
    bad = materialize(["raw_segments", "trades", "quotes", "depth", "stg_trades", "candles_1m"], [TODAY], settings)
    assert bad.failed_checks == ["trades:trade_minutes_suite"]
    assert not lake.exists("candles_1m", *TODAY)
