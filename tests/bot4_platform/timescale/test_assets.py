"""The domain's assets over a real account and a real server: loaded, built by dbt, and equal to the lake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.partitions import MARKET_DAYS, MarketDay
from bot4_platform.resources import Bot4Resource
from bot4_platform.timescale.settings import PostgresSettings

ROOT = Path(__file__).resolve().parents[3]
DAY_START = 1_723_075_200 * 10**9
PART = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
Query = Callable[..., list[tuple[object, ...]]]

GRAPH = """
import json
from bot4_platform.definitions import defs
graph = defs.resolve_asset_graph()
found = {}
for key in graph.get_all_asset_keys():
    node = graph.get(key)
    if node.group_name == "timescale":
        assert node.owners and node.kinds and node.code_version and len(node.description) > 30
        found[key.to_user_string()] = sorted(check.name for check in node.check_keys)
print(json.dumps([found, sorted(s.name for s in defs.get_repository_def().schedule_defs if s.job_name == "timescale")]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["embedded", "services"])
def test_the_domain_is_part_of_services_alone(profile: str) -> None:
    done = subprocess.run([sys.executable, "-c", GRAPH], cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"BOT4_PROFILE": profile, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assets, schedules = json.loads(done.stdout)
    if profile == "embedded":
        assert (assets, schedules) == ({}, [])
    else:
        assert assets == {
            "lake_in_postgres": ["the_copy_is_whole"],
            "market_ticks": ["aggregates_equal_the_lake"],
            "marts_in_postgres": ["marts_equal_the_lakes"],
        }
        assert schedules == ["nightly_copy"]


@pytest.fixture
def account(settings: Settings, maker: Any, quick_dbt: None) -> Settings:
    """An account with a journal of forty seconds, its lake materialized up to features and marts."""
    from bot4_platform.run import materialize

    maker.session(DAY_START + 30 * 10**9, 40)
    selection = dg.AssetSelection.groups("ingestion", "lake", "candles", "marts") | dg.AssetSelection.assets("features")
    materialize(selection, [PART], settings).raise_for_failure()
    return settings


def copy(account: Settings, server: PostgresSettings, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Materialize the domain on the partition; return its checks."""
    from bot4_platform.defs.timescale import assets, checks

    known = SimpleNamespace(postgres=server)
    for module in (assets, checks):
        monkeypatch.setattr(module, "platform_settings", lambda: known)
    parts: list[Any] = [assets.market_ticks, assets.lake_in_postgres, assets.marts_in_postgres]
    parts += [checks.aggregates_equal_the_lake, checks.the_copy_is_whole, checks.marts_equal_the_lakes]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            parts, instance=instance, partition_key=PART.key, resources={"bot4": Bot4Resource.of(account)},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
    assert result.success
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


@pytest.mark.slow
def test_ticks_tables_and_marts_are_those_of_the_lake(
    account: Settings, replayed: PostgresSettings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MARKET_DAYS.has_partition_key(PART.key)
    expected = {"aggregates_equal_the_lake": True, "the_copy_is_whole": True, "marts_equal_the_lakes": True}
    assert copy(account, replayed, monkeypatch) == expected
    trades = Bot4Resource.of(account).lake().read("trades", *PART)
    assert query(replayed, "select count(*), sum(qty)::bigint from market.market_ticks") == [
        (trades.height, trades["qty"].sum())
    ]
    assert query(replayed, "select count(*) > 0 from marts.candles_1m") == [(True,)]
    assert copy(account, replayed, monkeypatch) == expected  # again, with nothing to do
    query(replayed, "update marts.candles_1m set high = high + 1")
    query(replayed, "delete from market.market_ticks where trade_id = %s", trades["trade_id"][0])
    checks = run_checks(account, replayed, monkeypatch)
    assert checks == {"aggregates_equal_the_lake": not is_live(query, replayed), "marts_equal_the_lakes": False}


def is_live(query: Query, settings: PostgresSettings) -> bool:
    """Say whether candles are views of the ticks; aggregates keep what was materialized until they are refreshed."""
    return query(settings, "select count(*) from pg_extension where extname = 'timescaledb'") == [(0,)]


def run_checks(account: Settings, server: PostgresSettings, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Run two checks alone, without building anything."""
    from bot4_platform.defs.timescale import checks

    found = {}
    for check in (checks.aggregates_equal_the_lake, checks.marts_equal_the_lakes):
        context = SimpleNamespace(partition_key=PART.key)
        function: Any = check.op.compute_fn.decorated_fn  # type: ignore[attr-defined]
        found[check.check_key.name] = function(context, Bot4Resource.of(account)).passed
    return found


@pytest.mark.services
def test_a_table_of_the_lake_grows_with_its_schema(
    postgres_server: Any,
    fresh: Callable[..., PostgresSettings],
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from bot4_platform.lake import Lake
    from bot4_platform.tables import TABLES
    from bot4_platform.tables.table import Table
    from bot4_platform.timescale import lake_copy
    from bot4_platform.timescale.migrate import migrate

    settings = fresh(postgres_server)
    migrate(settings)
    one = Table("a test", {"seq": "Int64", "note": "String"}, ("seq",), ("seq",))
    two = Table("a test", {"seq": "Int64", "note": "String", "size": "Float64"}, ("seq",), ("seq",))
    lake = Lake(tmp_path)
    frame = pl.DataFrame({"seq": [1, 2], "note": ["a", None]})

    def copied(rows: pl.DataFrame, part: MarketDay) -> tuple[int, object]:
        lake.path("tested", *part).parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(lake.path("tested", *part))
        count = lake_copy.copy_partition(settings, lake, "tested", part)
        ((when,),) = query(settings, "select max(loaded_at) from market.loads where source like %s", f"%{part.day}%")
        return count, when

    monkeypatch.setattr(lake_copy, "TABLES", TABLES | {"tested": one})
    first = copied(frame, PART)
    assert first[0] == 2
    assert copied(frame, PART) == first  # not written again
    monkeypatch.setattr(lake_copy, "TABLES", TABLES | {"tested": two})
    wider = frame.with_columns(size=pl.Series([0.5, None]))
    assert copied(wider, PART)[0] == 2
    assert copied(wider.head(1), PART.shifted(1))[0] == 1
    rows = query(settings, "select day::text, seq, note, size from lake.tested order by 1, 2")
    assert rows == [("2024-08-08", 1, "a", 0.5), ("2024-08-08", 2, None, None), ("2024-08-09", 1, "a", 0.5)]
