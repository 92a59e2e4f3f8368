"""Pass rates, drift and agreement: known answers, and two venues' real recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_live.events import Reason
from bot4_live.instrument import E8, Instrument
from bot4_live.market.import_capture import import_capture
from bot4_live.settings import Settings
from bot4_platform.feature_days import compute_day
from bot4_platform.journal_source import seals
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quality.agreement import agreement, asset_of, disagreeing
from bot4_platform.quality.drift import DRIFTED, EARLIER, HALVES, compare, drift, ks
from bot4_platform.quality.pass_rates import count, share
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
START = 1_723_161_600 * 10**9 - 200 * 10**9


def test_pass_rates_count_every_frame_once(settings: Settings, maker: Any) -> None:
    bad = ((Reason.NOT_JSON, b"<html>"), (Reason.OUTLIER, b"{}"), (Reason.NOT_JSON, b"x"))
    counts = maker.session(START, 20, bad=bad)
    materialize(["raw_segments", "trades", "pass_rates"], [TODAY], settings).raise_for_failure()
    found = Lake(settings.lake_dir).read("pass_rates", *TODAY)
    assert found.equals(count(Lake(settings.lake_dir), TODAY))
    by_key = {(table, rule): n for table, rule, n in found.iter_rows()}
    for table in ("trades", "quotes", "depth"):
        assert by_key[table, ""] == counts[table]
    refused = {key: n for key, n in by_key.items() if key[1]}
    assert sum(refused.values()) == 3
    assert {rule for _, rule in refused} == {"NOT_JSON", "OUTLIER"}
    passed = counts["trades"] + counts["quotes"] + counts["depth"]
    assert share(found) == pytest.approx(passed / (passed + 3))
    assert share(found.clear()) is None


def test_a_day_below_the_target_is_told_when_it_has_frames_enough(settings: Settings, run_check: Any) -> None:
    lake, schema = Lake(settings.lake_dir), TABLES["pass_rates"].schema()
    for passed, refused, good in ((999_500, 500, True), (998_500, 1_500, False), (985, 15, True)):
        rows = {"table": ["trades", "trades"], "rule": ["", "OUTLIER"], "frames": [passed, refused]}
        lake.write("pass_rates", *TODAY, pl.DataFrame(rows, schema=schema))
        assert run_check(settings, TODAY, "pass_rates", "pass_rate_meets_the_target") is good


def test_psi_and_ks_of_known_distributions() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=5_000), random.normal(size=5_000)
    assert compare(a, b).verdict == "stable"
    assert compare(a, b).psi < 0.02
    moved = compare(a, b + 2.0)
    assert moved.verdict == "drifted"
    assert moved.psi > DRIFTED
    assert moved.ks == pytest.approx(0.683, abs=0.03), "2 * Phi(1) - 1"
    assert compare(a, b[:10]).verdict == "few"
    # Equal deciles of a value that is mostly 0 leave fewer bins, and no division by nothing.
    walls = (random.random(2_000) < 0.05).astype(float)
    assert compare(walls, walls).psi == 0.0
    assert compare(walls, 1.0 - walls).verdict == "drifted"
    assert ks(np.arange(10.0), np.arange(10.0) + 100) == 1.0


def test_small_samples_of_one_distribution_are_not_called_drift() -> None:
    random = np.random.default_rng(2)
    verdicts = [compare(*random.normal(size=(2, 70))).verdict for _ in range(200)]
    assert verdicts.count("drifted") <= 12, "PSI of 70 rows is noisy: about (2/70) chi2 of 9"
    assert verdicts.count("stable") >= 180


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=60, max_size=120),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=60, max_size=120),
)
def test_drift_is_finite_and_of_itself_none(a: list[float], b: list[float]) -> None:
    found = compare(np.array(a), np.array(b))
    assert np.isfinite(found.psi)
    assert found.psi >= 0
    assert 0 <= found.ks <= 1
    assert sum(found.reference) == pytest.approx(1)
    assert compare(np.array(a), np.array(a)).psi == 0.0


def features(start_ns: int, seconds: int, mid: float, shift: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Return feature rows, one a second, normal around `shift`."""
    random = np.random.default_rng(seed)
    schema = TABLES["features"].schema()
    at = start_ns + np.arange(seconds) * 10**9
    plain: dict[str, Any] = {"seq": np.arange(seconds) + 1, "recv_ns": at, "exch_ns": at, "valid": [True] * seconds}
    plain |= {"mid2": np.full(seconds, 2), "mid": np.full(seconds, mid)}
    values = {name: random.normal(size=seconds) + shift for name in schema if name not in plain}
    return pl.DataFrame(plain | values, schema=schema)


def test_drift_is_against_earlier_days_and_within_the_first(settings: Settings, run_check: Any) -> None:
    lake = Lake(settings.lake_dir)
    days = [TODAY.shifted(n) for n in range(3)]
    for n, (day, shift) in enumerate(zip(days, (0.0, 0.0, 3.0), strict=True)):
        lake.write("features", *day, features(day.start_ns, 400, 60_000.0, shift, n))
        lake.write("feature_drift", *day, drift(lake, day))
    first, second, third = (lake.read("feature_drift", *day) for day in days)
    assert set(first["reference"]) == {HALVES}
    assert set(second["reference"]) == set(third["reference"]) == {EARLIER}
    assert "drifted" not in set(second["verdict"])
    assert set(third["verdict"]) == {"drifted"}
    assert [run_check(settings, day, "feature_drift", "drift_is_small") for day in days] == [True, True, False]


def test_assets_are_known_by_any_venues_name() -> None:
    names = {"binance_usdm:BTCUSDT": "BTC", "kraken:XBTUSD": "BTC", "coinbase:BTC-USD": "BTC", "okx:ETHUSDTSWAP": "ETH",
             "binance_spot:ETHBTC": None}  # fmt: skip
    assert {name: asset_of(name) for name in names} == names


def test_a_venue_that_is_off_is_named(settings: Settings, run_check: Any) -> None:
    lake = Lake(settings.lake_dir)
    other = MarketDay(TODAY.day, "kraken:XBTUSD")
    lake.write("features", *TODAY, features(TODAY.start_ns, 100, 60_000.0))
    for mid, agrees in ((60_030.0, True), (61_000.0, False), (6_000.0, False)):
        lake.write("features", *other, features(TODAY.start_ns + 50 * 10**9, 100, mid))
        found = agreement(lake, TODAY)
        assert found["seconds"].to_list() == [50]
        assert (disagreeing(found) == []) is agrees
        lake.write("venue_agreement", *TODAY, found)
        assert run_check(settings, TODAY, "venue_agreement", "venues_agree") is agrees


@pytest.mark.slow
@pytest.mark.capture
def test_the_recordings_of_spot_and_futures_agree(settings: Settings, shared_data: Path) -> None:
    """BTCUSDT on Binance spot and USD-M, recorded in the same minutes; three spot frames have digits beyond its lot."""
    spot = Instrument(id=1, version=1, venue="binance_spot", symbol="BTCUSDT", tick_e8=E8 // 100, lot_e8=100,
                      price_digits=2, qty_digits=6)  # fmt: skip
    lake = Lake(settings.lake_dir)
    parts = {}
    for venue, instrument in (("binance_usdm", None), ("binance_spot", spot)):
        account = Settings(var=settings.var, account=venue.replace("_", "-"))
        more = {} if instrument is None else {"instrument": instrument}
        capture = shared_data / "captures" / venue / "btcusdt_20240808.gz"
        import_capture(capture, account.journal_dir, account=account.account, **more)
        part = parts[venue] = MarketDay("2024-08-08", f"{venue}:BTCUSDT")
        lake.write("features", *part, compute_day(seals(account.journal_dir, part.market), part, None).rows)
    found = agreement(lake, parts["binance_usdm"])
    assert found["other"].to_list() == ["binance_spot:BTCUSDT"]
    assert found["seconds"][0] > 300
    assert found["within"][0] == 1.0
    assert 0 < abs(found["bp_median"][0]) < 10, "a perpetual trades a few bp beside spot"
