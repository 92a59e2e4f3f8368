"""The real USD-M capture through the journal into the lake: every event once, in its exchange day."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize

pytestmark = [pytest.mark.capture, pytest.mark.usefixtures("quick_dbt")]

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
TOMORROW = TODAY.shifted(1)


def test_counts_candles_and_the_events_past_midnight(settings: Settings, usdm_journal: Path) -> None:
    shutil.copytree(usdm_journal, settings.journal_dir)
    assets = ["raw_segments", "trades", "quotes", "depth", "quarantine", "stg_trades", "candles_1m", "minute_profiles"]
    summary = materialize(assets, [TODAY, TOMORROW], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    assert summary.asset_checks_passed >= summary.assets_materialized
    lake = Lake(settings.lake_dir)
    rows = {name: lake.read(name).height for name in ("trades", "quotes", "depth", "quarantine", "candles_1m")}
    assert rows == {"trades": 21_313, "quotes": 66_089, "depth": 6_551, "quarantine": 0, "candles_1m": 6}
    assert sum(lake.read(name, *TOMORROW).height for name in ("trades", "quotes", "depth")) == 5
    candles = lake.read("candles_1m", *TODAY)
    assert candles["trades"].sum() == 21_313
    assert candles["open"][0] == lake.read("trades", *TODAY).sort("exch_ns", "trade_id")["price"][0]
    assert lake.read("minute_profiles", *TODAY)["latency_ms_median"].is_between(-1300, -1200).all()
