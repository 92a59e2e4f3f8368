"""A lake with three weeks of quality behind it: good days, bad days, a drifted market, a failing expectation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quality.drift import drift
from bot4_platform.quality.suites.derived import bounded
from bot4_platform.tables import TABLES

FIRST = MarketDay("2024-07-20", "binance_usdm:BTCUSDT")
DAYS = 20
SECOND = 10**9
PAGE_NOW = FIRST.shifted(DAYS).start_ns + 600 * SECOND  # ten minutes after the last day
WORST = 13  # the day on which 1.2 % was refused


def frame(name: str, rows: dict[str, Any]) -> pl.DataFrame:
    """Return rows as a table's frame."""
    return pl.DataFrame(rows, schema=TABLES[name].schema())


def write_days(lake: Lake) -> None:
    """Write pass rates, quarantine, profiles, features and agreement of two markets."""
    random = np.random.default_rng(7)
    for venue, symbol in (("binance_usdm", "BTCUSDT"), ("kraken", "XBTUSD")):
        for n in range(DAYS):
            part = MarketDay(FIRST.shifted(n).day, f"{venue}:{symbol}")
            passed = random.integers(400_000, 900_000, 3)
            refused = 25_000 if n == WORST and venue == "kraken" else int(random.integers(20, 400))
            lake.write("pass_rates", *part, frame("pass_rates", {
                "table": ["trades", "quotes", "depth", "trades", "depth", "unknown"],
                "rule": ["", "", "", "OUTLIER", "BAD_SEQUENCE", "NOT_JSON"],
                "frames": [*passed.tolist(), refused // 2, refused // 3, refused - refused // 2 - refused // 3],
            }))  # fmt: skip
        newest = MarketDay(FIRST.shifted(DAYS - 1).day, f"{venue}:{symbol}")
        lake.write("quarantine", *newest, frame("quarantine", {
            "seq": [11, 12], "recv_ns": [newest.start_ns + SECOND] * 2, "rule": ["NOT_JSON", "OUTLIER"],
            "stream": ["0", "19"], "raw": [b"<html>502 Bad Gateway</html>", b'{"e":"trade","p":"1.00","q":"<b>"}'],
            "first_seen": [newest.start_ns + SECOND] * 2,
        }))  # fmt: skip
        minutes = newest.start_ns + np.arange(1440) * 60 * SECOND
        ones = np.ones(1440)
        lake.write("minute_profiles", *newest, frame("minute_profiles", {
            "minute_ns": minutes, "trades": ones * 50, "quotes": ones * 600, "diffs": ones * 600, "sells": ones * 20,
            "lots": ones * 90, "spread_bp_median": ones * (40.0 if venue == "kraken" else 0.2), "spread_bp_max": ones,
            "range_bp": ones * 5, "quote_gap_ms_max": ones * 300, "latency_ms_median": ones * 8,
            "diff_levels_max": ones * 30,
        }))  # fmt: skip
    for n in (DAYS - 2, DAYS - 1):
        part = FIRST.shifted(n)
        at = part.start_ns + np.arange(1200) * SECOND
        plain: dict[str, Any] = {"seq": np.arange(1200) + 1, "recv_ns": at, "exch_ns": at, "valid": [True] * 1200}
        plain |= {"mid2": np.full(1200, 2), "mid": np.full(1200, 60_000.0)}
        names = [name for name in TABLES["features"].columns if name not in plain]
        moved = {"volatility": 2.0} if n == DAYS - 1 else {}
        values = {name: np.abs(random.normal(size=1200)) + moved.get(name, 0.0) for name in names}
        values |= {name: random.uniform(*ends, 1200) for name, ends in bounded().items()}
        lake.write("features", *part, frame("features", plain | values))
    lake.write("feature_drift", *part, drift(lake, part))
    lake.write("venue_agreement", *part, frame("venue_agreement", {
        "other": ["kraken:XBTUSD"], "seconds": [1200], "bp_median": [3.1], "bp_p99": [8.4], "within": [1.0],
        "bound_bp": [100.0],
    }))  # fmt: skip


@pytest.fixture(scope="session")
def judged_account(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The account with its Data Docs and its page made."""
    from bot4_platform.quality.data_docs import build as build_docs
    from bot4_platform.quality.page.build import build
    from bot4_platform.settings import docs_dir

    settings = Settings(var=tmp_path_factory.mktemp("judged") / "var", account="paper")
    lake = Lake(settings.lake_dir)
    write_days(lake)
    build_docs(lake, docs_dir(settings))
    build(settings, PAGE_NOW)
    return settings


@pytest.fixture(scope="session")
def screens() -> Path:
    """Where screenshots are kept."""
    from bot4_live.settings import PROJECT_ROOT

    folder = PROJECT_ROOT / "var" / "screens" / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
