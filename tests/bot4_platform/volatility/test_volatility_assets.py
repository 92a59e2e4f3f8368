"""The volatility assets over a lake: values where there is enough, nulls where not, and checks that notice damage."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.defs import volatility
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.resources import Bot4Resource

PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
ALL = ["mids_250ms", "garch", "fill_intensity", "slow_features"]


def fill(lake: Lake, part: MarketDay, seconds: int, seed: int = 1) -> None:
    """Write quotes 20 times a second with clustered volatility, and trades that reach exponentially far."""
    rng = np.random.default_rng(seed)
    n = seconds * 20
    start = part.start_ns + 3600 * 10**9
    recv = start + np.sort(rng.integers(0, seconds * 10**9, n))
    calm = np.exp(0.6 * np.sin(np.arange(n) / 700))
    mid = 600_000 + np.cumsum(rng.normal(0, 1.2, n) * calm).round().astype(np.int64)
    base = {"seq": np.arange(n), "recv_ns": recv, "exch_ns": recv}
    quotes = pl.DataFrame(
        {**base, "update_id": np.arange(n), "bid_px": mid, "bid_qty": np.ones(n, np.int64), "ask_px": mid + 1,
         "ask_qty": np.ones(n, np.int64)}
    )  # fmt: skip
    lake.write("quotes", *part, quotes)
    m = seconds * 3
    when = start + np.sort(rng.integers(0, seconds * 10**9, m))
    at = mid[np.maximum(np.searchsorted(recv, when) - 1, 0)]
    sell = rng.random(m) < 0.5
    past = rng.exponential(600_000 / 20_000, m).round().astype(np.int64)
    trades = pl.DataFrame(
        {"seq": np.arange(m), "recv_ns": when, "exch_ns": when, "trade_id": np.arange(m),
         "price": np.where(sell, at - past, at + 1 + past), "qty": np.ones(m, np.int64), "sell": sell}
    )  # fmt: skip
    lake.write("trades", *part, trades)


def materialize(settings: Settings, part: MarketDay = PART, only: list[str] | None = None) -> dg.ExecuteInProcessResult:
    found = volatility.definitions()
    return dg.materialize(
        [*(found.assets or []), *(found.asset_checks or [])],
        selection=dg.AssetSelection.assets(*(only or ALL)),
        partition_key=part.key,
        resources={"bot4": Bot4Resource.of(settings)},
        raise_on_error=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path)


def test_slow_features_are_fitted_and_checked(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    fill(lake, PART, 200)
    result = materialize(settings)
    assert result.success
    assert len(result.get_asset_check_evaluations()) == 4
    assert all(check.passed for check in result.get_asset_check_evaluations())
    row = lake.read("slow_features").row(-1, named=True)
    assert row["garch_status"] == row["intensity_status"] == "ok"
    assert 1e-6 < row["garch_sigma"] < 1e-4  # 1.2 ticks of 600,000 at 20 Hz is 9e-6 a root second
    assert row["intensity_k"] == pytest.approx(20_000, rel=0.4)
    assert 0.4 < row["intensity_a"] < 6
    assert row["created_ns"] > row["event_ns"] >= lake.read("quotes")["recv_ns"].max()  # type: ignore[operator]


def test_too_little_market_is_insufficient_and_green(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    fill(lake, PART, 8)
    result = materialize(settings)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    row = lake.read("slow_features").row(-1, named=True)
    assert (row["garch_sigma"], row["intensity_a"], row["intensity_k"]) == (None, None, None)
    assert row["garch_status"] == row["intensity_status"] == "insufficient"
    assert "300 are needed" in lake.read("garch")["reason"][0]


def test_a_day_looks_back_over_midnight(settings: Settings) -> None:
    """A day of a few seconds after a long evening is fitted on the evening too."""
    lake = Lake(settings.lake_dir)
    eve = PART
    fill(lake, eve, 200)
    shift = eve.end_ns - lake.read("quotes")["recv_ns"].max() - 10**9  # type: ignore[operator]
    for table in ("quotes", "trades"):
        frame = lake.read(table, *eve).with_columns(pl.col("recv_ns") + shift)
        lake.write(table, *eve, frame)
        after = frame.tail(40).with_columns(pl.col("recv_ns") + 10 * 10**9, pl.col("seq") + 10**6)
        lake.write(table, *eve.shifted(1), after)
    assert materialize(settings, eve).success
    assert materialize(settings, eve.shifted(1)).success
    row = lake.read("slow_features", *eve.shifted(1)).row(-1, named=True)
    assert row["garch_status"] == row["intensity_status"] == "ok"


def test_checks_notice_a_number_without_a_fit(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    fill(lake, PART, 200)
    assert materialize(settings).success
    damaged = lake.read("garch").with_columns(status=pl.lit("insufficient"), reason=pl.lit("damaged"))
    lake.write("garch", *PART, damaged)
    result = materialize(settings, only=["slow_features"])
    assert [check.passed for check in result.get_asset_check_evaluations()] == [False]
    assert not result.success  # the check is blocking
    lake.write("garch", *PART, damaged.with_columns(status=pl.lit("ok"), sigma=pl.lit(5.0)))
    found = volatility.definitions()
    job = dg.Definitions(
        assets=found.assets,
        asset_checks=found.asset_checks,
        jobs=[
            dg.define_asset_job(
                "again",
                selection=dg.AssetSelection.assets("mids_250ms") | dg.AssetSelection.checks_for_assets("garch"),
            )
        ],
        resources={"bot4": Bot4Resource.of(settings)},
    ).resolve_job_def("again")
    verdicts = {
        check.check_name: check.passed
        for check in job.execute_in_process(
            partition_key=str(PART.key), raise_on_error=False
        ).get_asset_check_evaluations()
    }
    assert verdicts["garch_is_honest"] is False
