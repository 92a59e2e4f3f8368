"""Marts beside the candles, by hand; what fails holds up itself and no other; doubles and overflows are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from bot4_live.settings import Settings
from bot4_platform import dbt_runner
from bot4_platform.candle_reference import INTERVALS, differences, reference_candles, table_of
from bot4_platform.defs.candles import steps
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.quality import judge
from bot4_platform.run import materialize
from bot4_platform.settings import platform_settings
from bot4_platform.tables import TABLES
from bot4_platform.tables.marts import MARTS

pytestmark = pytest.mark.usefixtures("quick_dbt")
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3_600 * 10**9
TYPES = {"bigint": "Int64", "double": "Float64", "varchar": "String", "boolean": "Boolean"}


def frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows of a table; `at` is ns after the day's start, what is not given is 0, null or false."""
    spec = TABLES[table]
    blank = {"Int64": 0, "Float64": 0.0, "Boolean": False, "String": ""}
    made = []
    for seq, row in enumerate(rows, 1):
        at = row.pop("at", 0)
        base = {name: blank[kind] for name, kind in spec.columns.items()}
        made.append(base | {"seq": seq, "recv_ns": seq, "exch_ns": TODAY.start_ns + at} | row)
    return pl.DataFrame(made, schema=spec.schema())


@pytest.fixture(autouse=True)
def numbers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices that are easily added up are no market: the suites, tested elsewhere, would refuse them."""
    monkeypatch.setattr(judge, "judge", lambda suite, frame: judge.Judged(suite.name, suite.table, 0))


def write_day(settings: Settings) -> Lake:
    lake = Lake(settings.lake_dir)
    trades = [
        {"at": 0, "trade_id": 1, "price": 100, "qty": 2},
        {"at": MINUTE - 1, "trade_id": 2, "price": 110, "qty": 1, "sell": True},
        {"at": MINUTE, "trade_id": 3, "price": 90, "qty": 40, "sell": True},
    ]
    quotes = [
        {"at": 10 * SECOND, "bid_px": 99, "bid_qty": 5, "ask_px": 101, "ask_qty": 1},
        {"at": 20 * SECOND, "bid_px": 99, "bid_qty": 5, "ask_px": 100, "ask_qty": 3},
        {"at": MINUTE + SECOND, "bid_px": 80, "bid_qty": 1, "ask_px": 90, "ask_qty": 1},
    ]
    depth = [
        {"at": 0, "first_id": 1, "last_id": 4, "prev_id": 0, "n_bids": 2, "n_asks": 1},
        {"at": 1, "first_id": 5, "last_id": 5, "prev_id": 4, "n_bids": 0, "n_asks": 3},
        {"at": 2, "first_id": 9, "last_id": 9, "prev_id": 8, "n_bids": 1, "n_asks": 0},
    ]
    nothing = {f"{name}{end}": None for name in ("rate", "mark_price", "index_price") for end in ("", "_decimals")}
    funding = [
        {
            "at": 0,
            "next_ns": 8,
            **nothing,
            "rate": 12,
            "rate_decimals": 5,
            "mark_price": 1005,
            "mark_price_decimals": 1,
        },
        {"at": HOUR - 1, "next_ns": 9, **nothing, "rate": -1, "rate_decimals": 20},
    ]
    liquidations = [
        {"at": 0, "price": 100, "qty": 3, "sell": True, "large": True},
        {"at": 1, "price": 50, "qty": 4},
    ]
    features = [
        {"at": 0, "valid": True, "mid": 1.0, "mid2": 2, "spread_bp": 1.0, "depth_5": 30.0},
        {"at": SECOND, "valid": True, "mid": 1.0, "mid2": 2, "spread_bp": 2.0, "depth_5": 10.0},
        {"at": 2 * SECOND, "valid": False},
    ]
    day = {"trades": trades, "quotes": quotes, "depth": depth, "funding": funding, "liquidations": liquidations}
    for name, rows in (day | {"features": features}).items():
        lake.write(name, *TODAY, frame(name, rows))
    return lake


def names_of(step: Any) -> list[str]:
    return [spec.key.path[-1] for spec in step.models.values()]


def test_every_mart_by_hand(settings: Settings) -> None:
    lake = write_day(settings)
    summary = materialize([*names_of(steps.CANDLES), *names_of(steps.MARTS)], [TODAY], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_failed == 0
    start = TODAY.start_ns
    assert lake.read("trade_flow_1m", *TODAY).rows() == [
        (start, 2, 1, 1, 2, 1, 1, 3, 200, 110, 2, 40, 0, 0),
        (start + MINUTE, 1, 0, 1, 0, 40, -40, 40, 0, 3_600, 40, 40, 1, 40),
    ]
    assert lake.read("spread_1m", *TODAY).rows() == [
        (start, 2, 1, 1, 2, 3, 2 * 10 * SECOND + 40 * SECOND, 50 * SECOND, 200, 200, 199, 199, 10, 4),
        (start + MINUTE, 1, 10, 10, 10, 10, 0, 0, 170, 170, 170, 170, 1, 1),
    ]
    assert lake.read("depth_1m", *TODAY).rows() == [(start, 3, 6, 3, 4, 1)]
    assert lake.read("funding_1h", *TODAY).rows() == [(start, 2, 9, 12, 5, -1, 20, 1005, 1, None, None)]
    assert lake.read("liquidations_1m", *TODAY).rows() == [(start, 2, 1, 1, 3, 4, 500, 4, 1)]
    liquidity = lake.read("liquidity_1m", *TODAY)
    assert liquidity.select("samples", "spread_bp_mean", "spread_bp_max", "depth_5_min").rows() == [(2, 1.5, 2.0, 10.0)]
    trades = lake.read("trades", *TODAY)
    for interval in INTERVALS:
        assert differences(lake.read(table_of(interval), *TODAY), reference_candles(trades, interval)) == []


@pytest.mark.slow
def test_what_fails_holds_up_itself_and_no_other(settings: Settings) -> None:
    lake = write_day(settings)
    twice = [{"at": 0, "seq": 5, "price": 1, "qty": 1}, {"at": 1, "seq": 5, "price": 1, "qty": 1}]
    lake.write("liquidations", *TODAY, frame("liquidations", twice))
    summary = materialize(names_of(steps.MARTS), [TODAY], settings)
    assert summary.failed_checks == ["stg_liquidations:stg_liquidations_is_whole"]
    assert "dbt_marts" in summary.failed_steps
    assert lake.exists("spread_1m", *TODAY)
    assert lake.exists("funding_1h", *TODAY)
    assert not lake.exists("liquidations_1m", *TODAY)


TOO_MUCH = {
    "the product": [{"price": 2**62, "qty": 2}],
    "the sum": [{"price": 2**61, "qty": 3}, {"price": 2**61, "qty": 3}],
    "the sum of five minutes": [{"price": 2**61, "qty": 3}, {"at": MINUTE, "price": 2**61, "qty": 3}],
}


def test_a_sum_beyond_64_bits_is_an_error(settings: Settings, tmp_path: Path) -> None:
    lake, target = Lake(settings.lake_dir), settings.root / "dbt"
    for i, (what, rows) in enumerate(TOO_MUCH.items()):
        out = tmp_path / f"out{i}"
        out.mkdir()
        numbered = [row | {"trade_id": number} for number, row in enumerate(rows, 1)]
        lake.write("trades", *TODAY, frame("trades", numbered))
        outcomes = dbt_runner.build(lake.root, out, *TODAY, target_path=target, select=["candles_5m"])
        of = {outcome.unique_id.rpartition(".")[2]: outcome for outcome in outcomes}
        assert not of["candles_5m"].ok, what
        failed = next(outcome.message for outcome in outcomes if outcome.status == "error")
        assert (
            "Overflow in multiplication of INT64" in failed or "out of range for the destination type INT64" in failed
        )
        assert not (out / "candles_5m.parquet").exists()


@pytest.mark.slow
def test_extreme_but_possible_values(settings: Settings, tmp_path: Path) -> None:
    lake = Lake(settings.lake_dir)
    rows = [
        {"trade_id": 1, "price": 2**63 - 1, "qty": 1},
        {"at": MINUTE, "trade_id": 2, "price": -(2**62), "qty": 2},  # an option's or a spread's may be negative
        {"at": MINUTE, "trade_id": -1, "price": 3, "qty": 1},
        {"at": 24 * HOUR - 1, "trade_id": 2**63 - 1, "price": 1, "qty": 2**63 - 1},
    ]  # fmt: skip
    lake.write("trades", *TODAY, frame("trades", rows[1:3]))
    check_candles(settings, tmp_path)
    lake.write("trades", *TODAY, frame("trades", [rows[0]]))
    check_candles(settings, tmp_path)
    lake.write("trades", *TODAY, frame("trades", [rows[3]]))
    check_candles(settings, tmp_path)


def check_candles(settings: Settings, tmp_path: Path) -> None:
    lake, out = Lake(settings.lake_dir), tmp_path / "out"
    out.mkdir(exist_ok=True)
    names = [table_of(interval) for interval in INTERVALS]
    outcomes = dbt_runner.build(lake.root, out, *TODAY, target_path=settings.root / "dbt", select=names)
    assert [outcome for outcome in outcomes if not outcome.ok] == []
    trades = lake.read("trades", *TODAY)
    for interval in INTERVALS:
        found = pl.read_parquet(out / f"{table_of(interval)}.parquet")
        assert differences(found, reference_candles(trades, interval)) == []


def test_a_double_in_an_integer_column_is_refused(settings: Settings) -> None:
    lake = Lake(settings.lake_dir)
    for name, spec in MARTS.items():
        for column, kind in spec.columns.items():
            if kind == "Int64":
                with pytest.raises(ValueError, match=f"wrong columns or types: {column}"):
                    lake.write(name, *TODAY, spec.empty().with_columns(pl.col(column).cast(pl.Float64)))


def test_every_model_and_column_is_described_and_typed() -> None:
    models = dbt_runner.DBT_DIR / "models"
    said = {
        model["name"]: model
        for path in models.rglob("*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", ())
    }
    assert set(said) == {path.stem for path in models.rglob("*.sql")}
    for name, model in said.items():
        assert len(model["description"]) > 30, name
        for column in model["columns"]:
            assert len(column["description"]) > 3, (name, column)
        if name in MARTS:
            declared = {column["name"]: TYPES[column["data_type"]] for column in model["columns"]}
            assert declared == MARTS[name].columns, name
    exposures = yaml.safe_load((models / "exposures.yml").read_text())["exposures"]
    used = {ref for exposure in exposures for ref in exposure["depends_on"]}
    assert used == {f"ref('{path.stem}')" for path in (models / "marts").rglob("*.sql")}


@pytest.mark.slow
def test_basis_of_two_markets(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from bot4_live.instrument import BTCUSDT_USDM
    from bot4_platform import instruments

    lake = Lake(settings.lake_dir)
    spot = replace(BTCUSDT_USDM, venue="binance_spot", tick_e8=10**6)
    other = MarketDay(TODAY.day, spot.market)
    grid = [TODAY.start_ns + MINUTE - SECOND // 4, TODAY.start_ns + MINUTE, TODAY.start_ns + MINUTE + SECOND // 4]
    for part, rows in ((TODAY, [(0, 101, 102), (1, 103, 104)]), (other, [(0, 1_000, 1_010), (2, 1, 2)])):
        mids = [{"time_ns": grid[i], "seq": i, "bid_px": bid, "ask_px": ask, "age_ns": 0} for i, bid, ask in rows]
        lake.write("mids_250ms", *part, pl.DataFrame(mids, schema=TABLES["mids_250ms"].schema()))
    instruments.observe(lake, [BTCUSDT_USDM, spot], TODAY.start_ns, "listing")
    table = instruments.intervals(lake.read(instruments.SIGHTINGS))
    lake.write(instruments.TABLE, "", "", table)
    pair = (TODAY.market, spot.market)
    changed = platform_settings().model_copy(update={"basis": (pair, (spot.market, "kraken:BTC-USD"))})
    monkeypatch.setattr("bot4_platform.settings.platform_settings", lambda: changed)
    selection = ["basis_pairs", "stg_mids", "basis_1m"]
    materialize(selection, [TODAY], settings).raise_for_failure()
    assert lake.read("basis_pairs").rows() == [(*pair, 10**7, 10**6)]
    both = 203 * 10**7 - 2_010 * 10**6
    assert lake.read("basis_1m").rows() == [
        (*pair, TODAY.start_ns, 1, both, both, both, both, both, 2_010 * 10**6)
    ]  # fmt: skip
    monkeypatch.setattr("bot4_platform.settings.platform_settings", platform_settings)
    materialize(selection, [TODAY], settings).raise_for_failure()
    assert lake.read("basis_1m").height == 0
    assert dict(lake.read("basis_1m").schema) == dict(TABLES["basis_1m"].schema())
