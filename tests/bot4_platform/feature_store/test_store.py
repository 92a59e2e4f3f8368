"""Feast over the lake and the online store: what trains is what was known, what is served is the newest."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from bot4_live.features.registry import NAMES
from bot4_live.feeder import OnlineStore, decode_value, entity_key, stored_time_ns
from bot4_live.settings import SLOW_FEATURES, Settings, StrategyParams
from bot4_platform.feature_store.online import SlowRow, shift_at, stored, write
from bot4_platform.feature_store.store import open_store
from bot4_platform.journal_source import seals
from bot4_platform.lake import Lake
from bot4_platform.tables import TABLES

DAY, MARKET = "2024-08-08", "binance_usdm:BTCUSDT"
T0 = 1_723_075_200 * 10**9
S = 10**9


@pytest.fixture
def store(settings: Settings) -> Any:
    """Return the account's feature store."""
    found = open_store(settings)
    yield found
    provider = found._get_provider()
    if provider.online_store._conn:
        provider.online_store._conn.close()


def slow_row(event_ns: int, sigma: float | None = 1e-5, a: float | None = 2.0, k: float | None = 9e4) -> SlowRow:
    return SlowRow(MARKET, event_ns, event_ns + S, {"garch_sigma": sigma, "intensity_a": a, "intensity_k": k})


def write_slow(lake: Lake, rows: list[tuple[int, int, float | None]]) -> None:
    frame = pl.DataFrame(
        {
            "market": [MARKET] * len(rows),
            "event_ns": [row[0] for row in rows],
            "created_ns": [row[1] for row in rows],
            "garch_sigma": [row[2] for row in rows],
            "intensity_a": [1.0] * len(rows),
            "intensity_k": [2.0] * len(rows),
            "garch_status": ["ok"] * len(rows),
            "intensity_status": ["ok"] * len(rows),
        },
        schema=TABLES["slow_features"].schema(),
    )
    lake.write("slow_features", DAY, MARKET, frame)


def write_fast(lake: Lake, times: list[int]) -> None:
    columns: dict[str, Any] = {"seq": times, "recv_ns": times, "exch_ns": times, "valid": [True] * len(times)}
    columns |= {"mid2": [2] * len(times), "mid": [1.0] * len(times)}
    columns |= {name: [float(i * 100 + j) for j in range(len(times))] for i, name in enumerate(NAMES)}
    lake.write("features", DAY, MARKET, pl.DataFrame(columns, schema=TABLES["features"].schema()))


def test_training_rows_get_what_was_known(settings: Settings, store: Any) -> None:
    lake = Lake(settings.lake_dir)
    write_fast(lake, [T0, T0 + S // 10, T0 + S // 5])
    write_slow(lake, [(T0 - 60 * S, T0 - 59 * S, 1.0), (T0 - S, T0 + S // 10, 2.0), (T0 + S // 5, T0 + S, None)])
    times = [T0 + 1, T0 + S // 10, T0 + S // 5, T0 + 3 * S // 10, T0 + S, T0 + 3 * S, T0 - 120 * S]
    rows = pd.DataFrame(
        {"market": MARKET, "event_timestamp": pd.to_datetime(times, utc=True), "seq": range(len(times))}
    )
    wanted = [f"fast_features:{NAMES[0]}", f"fast_features:{NAMES[3]}", "slow_features:garch_sigma"]
    job = store.get_historical_features(rows, features=wanted, filter_by_created_timestamp=True)
    found = job.to_df()
    assert found["seq"].tolist() == list(range(len(times)))
    assert found["event_timestamp"].astype("int64").tolist() == times
    fast = [0.0, 1.0, 2.0, 2.0, 2.0, None, None]  # older than its TTL of 1 s, or before the first
    assert [None if math.isnan(v) else v for v in found[NAMES[0]]] == fast
    assert [None if math.isnan(v) else v for v in found[NAMES[3]]] == [v if v is None else v + 300 for v in fast]
    # The second is known only when created; the last is an insufficient fit: no number, not an older one.
    assert [None if math.isnan(v) else v for v in found["garch_sigma"]] == [1.0, 2.0, 2.0, 2.0, None, None, None]
    leaky = store.get_historical_features(rows, features=["slow_features:garch_sigma"]).to_df()
    assert leaky["garch_sigma"].tolist()[0] == 2.0
    full = store.get_historical_features(rows, features=wanted, full_feature_names=True).to_df()
    assert f"fast_features__{NAMES[0]}" in full
    assert job.metadata.features == wanted


def test_quarters_of_sources_join_beside_a_market_when_they_were_known(settings: Settings, store: Any) -> None:
    lake, quarter = Lake(settings.lake_dir), 900 * S

    def signal(table: str, scope: str, rows: list[dict[str, Any]]) -> None:
        spec = TABLES[table]
        empty = {
            name: 0.0 if kind == "Float64" else "" if kind == "String" else 0 for name, kind in spec.columns.items()
        }
        filled = [empty | {"id": str(i)} | row for i, row in enumerate(rows)]
        lake.write(table, DAY, scope, pl.DataFrame(filled, schema=spec.schema()))

    flows = [
        {"event_ns": T0 + i * quarter, "created_ns": T0 + i * quarter + 780 * S, "net_inflow_cents": i} for i in (1, 2)
    ]
    signal("onchain_signals", "ethereum:MAINNET", flows)
    posts = [{"event_ns": T0 + quarter, "created_ns": T0 + quarter + 60 * S, "coin": coin, "sentiment": value}
             for coin, value in (("ALL", 0.5), ("BTC", -0.25))]  # fmt: skip
    signal("social_signals", "social:ALL", posts)
    times = [T0 + quarter + 779 * S, T0 + quarter + 780 * S, T0 + 2 * quarter + 780 * S, T0 + 5 * quarter]
    rows = pd.DataFrame({"market": "ethereum:MAINNET", "event_timestamp": pd.to_datetime(times, utc=True)})
    wanted = ["onchain_signals:net_inflow_cents"]
    found = store.get_historical_features(rows, features=wanted, filter_by_created_timestamp=True).to_df()
    # Nothing before it was confirmed, and nothing after its TTL.
    assert [None if math.isnan(v) else v for v in found["net_inflow_cents"]] == [None, 1, 2, None]
    rows = pd.DataFrame({
        "market": "social:ALL", "coin": ["ALL", "BTC", "DOGE"],
        "event_timestamp": pd.to_datetime([T0 + quarter + 60 * S] * 3, utc=True),
    })  # fmt: skip
    found = store.get_historical_features(rows, features=["social_signals:sentiment"], filter_by_created_timestamp=True)
    assert [None if math.isnan(v) else v for v in found.to_df()["sentiment"]] == [0.5, -0.25, None]


def test_views_follow_the_registry(store: Any) -> None:
    fast, slow = store.get_feature_view("fast_features"), store.get_feature_view("slow_features")
    assert [field.name for field in fast.features] == list(NAMES)
    assert [field.name for field in slow.features] == list(SLOW_FEATURES.values())
    assert slow.ttl.total_seconds() == StrategyParams.model_fields["slow_ttl_s"].default
    assert (fast.online, slow.online) == (False, True)
    assert slow.batch_source.event_column == "event_ns"  # back from the registry's protobuf


def test_the_runner_reads_what_feast_wrote(settings: Settings, store: Any) -> None:
    """Our codec (entity key, value protobuf, timestamp) against Feast's own read of the same store."""
    event = T0 + 900 * S
    assert write(store, settings, slow_row(event, 1.25e-5, None, 91_234.5)) == "written"
    served = store.get_online_features(
        features=[f"slow_features:{name}" for name in SLOW_FEATURES.values()], entity_rows=[{"market": MARKET}]
    ).to_dict()
    ours = {value.name: value for value in OnlineStore(settings.online_store, MARKET).read()}
    assert {name: served[name][0] for name in SLOW_FEATURES.values()} == {
        name: ours[name].value if name in ours else None for name in SLOW_FEATURES.values()
    }
    assert {value.event_ns for value in ours.values()} == {event}
    assert {value.created_ns for value in ours.values()} == {event + S}

    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    key = EntityKey(join_keys=["market"], entity_values=[Value(string_val=MARKET)])
    assert serialize_entity_key(key, entity_key_serialization_version=3) == entity_key(MARKET)
    for value in (Value(double_val=-2.5), Value(float_val=0.5), Value(int64_val=-7), Value(int32_val=3)):
        kind = value.WhichOneof("val")
        assert decode_value(value.SerializeToString()) == getattr(value, str(kind))
    assert decode_value(Value().SerializeToString()) is None
    assert stored_time_ns(None) == 0


def test_an_older_row_never_wins_and_a_correction_does(settings: Settings, store: Any) -> None:
    at = T0 + 900 * S
    assert write(store, settings, slow_row(at, 1.0)) == "written"
    assert write(store, settings, slow_row(at, 1.0)) == "unchanged"
    assert write(store, settings, slow_row(at - 900 * S, 5.0)) == "older"
    assert stored(settings, MARKET)[1]["garch_sigma"] == 1.0
    assert write(store, settings, slow_row(at, 3.0)) == "corrected"
    assert stored(settings, MARKET) == (at, {"garch_sigma": 3.0, "intensity_a": 2.0, "intensity_k": 9e4})
    assert write(store, settings, slow_row(at, None)) == "corrected"
    assert stored(settings, MARKET)[1] == {"intensity_a": 2.0, "intensity_k": 9e4}
    assert write(store, settings, slow_row(at + 900 * S, 4.0)) == "written"
    assert stored(settings, MARKET)[0] == at + 900 * S


@pytest.mark.slow
def test_a_locked_or_lost_online_store(settings: Settings, store: Any) -> None:
    """A write fails while somebody holds the database, and what is served stays; then it goes on, also from nothing."""
    at = T0 + 900 * S
    write(store, settings, slow_row(at, 1.0))
    before = stored(settings, MARKET)
    with closing(sqlite3.connect(settings.online_store)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            write(store, settings, slow_row(at + 900 * S, 2.0))
        assert stored(settings, MARKET) == before
    assert write(store, settings, slow_row(at + 900 * S, 2.0)) == "written"
    after = stored(settings, MARKET)
    settings.online_store.unlink()
    again = open_store(settings)
    try:
        assert write(again, settings, slow_row(at + 900 * S, 2.0)) == "written"
    finally:
        again._get_provider().online_store._conn.close()
    assert stored(settings, MARKET) == after


def test_the_shift_is_that_of_the_session(settings: Settings, maker: Any) -> None:
    maker.session(T0 + S, 2, shift=0, name="plain")
    maker.session(T0 + 5 * S, 2, shift=10**15, name="shifted")
    found = seals(settings.journal_dir)
    assert shift_at(found, T0 + 2 * S) == 0
    assert shift_at(found, T0 + 6 * S + 10**15) == 10**15
    assert shift_at(found, T0 + 9 * S + 10**15) == 10**15
    assert shift_at([], T0) == 0


def test_the_repository_is_one_feast_can_apply(tmp_path: Path) -> None:
    """feature_repo/ as `feast apply` sees it: the yaml loads, the views come from the registry."""
    from feast.repo_config import load_repo_config

    from bot4_platform.feature_store.offline import AsOfOfflineStoreConfig
    from bot4_platform.settings import FEATURE_REPO

    config = load_repo_config(FEATURE_REPO, FEATURE_REPO / "feature_store.yaml")
    assert config.project == "bot4"
    assert isinstance(config.offline_store, AsOfOfflineStoreConfig)
    assert (FEATURE_REPO / config.offline_store.lake_dir).resolve().name == "lake"
