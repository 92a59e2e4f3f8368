"""All definitions in one snapshot, so that a changed graph shows in review; and what it costs to load them.

`RENEW_GOLDEN=1 pytest tests/bot4_platform/test_definitions.py` writes the snapshot (tests/golden) anew.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bot4_live.settings import Settings
from bot4_platform.definitions import DOMAINS, defs
from bot4_platform.resources import Bot4Resource

ROOT = Path(__file__).resolve().parents[2]


def describe_asset(key: dg.AssetKey) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    node = graph.get(key)
    made = graph.assets_def_for_key(key)
    spec, retries = made.specs_by_key[key], made.op.retry_policy
    condition = spec.automation_condition
    steps = {
        "pool": made.op.pool,
        "retries": retries.max_retries if retries else None,
        "automation": condition.get_label() if condition else None,
    }
    return {name: said for name, said in steps.items() if said} | {
        "group": node.group_name,
        "owners": sorted(node.owners),
        "kinds": sorted(spec.kinds),
        "partitions": sorted(found.name for found in getattr(node.partitions_def, "partitions_defs", [])),
        "upstream": sorted(parent.to_user_string() for parent in node.parent_keys),
        "checks": sorted(
            check.name + (" (blocking)" if graph.get_check_spec(check).blocking else "") for check in node.check_keys
        ),
    }


def snapshot() -> dict[str, Any]:
    repository = defs.get_repository_def()
    return {
        "count": len(defs.resolve_asset_graph().get_all_asset_keys()),
        "assets": {
            key.to_user_string(): describe_asset(key) for key in sorted(defs.resolve_asset_graph().get_all_asset_keys())
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {
            found.name: [found.cron_schedule, found.execution_timezone, found.job_name, found.default_status.value]
            for found in repository.schedule_defs
        },
        "sensors": {
            found.name: [", ".join(target.job_name for target in found.targets), found.default_status.value]
            for found in repository.sensor_defs
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_snapshot(golden: Callable[[str, Any], None]) -> None:
    golden("definitions.json", snapshot())


def test_no_asset_was_lost_on_the_way() -> None:
    """A definitions object that is imported by name into another module can replace that one's in silence."""
    alone = [key for domain in DOMAINS for one in domain.definitions().assets or () for key in one.keys]
    assert sorted(alone) == sorted(defs.resolve_asset_graph().get_all_asset_keys())


@pytest.mark.parametrize("key", sorted(k.to_user_string() for k in defs.resolve_asset_graph().get_all_asset_keys()))
def test_every_asset_says_what_it_is_and_is_checked(key: str) -> None:
    graph = defs.resolve_asset_graph()
    asset_key = dg.AssetKey.from_user_string(key)
    node = graph.get(asset_key)
    spec = graph.assets_def_for_key(asset_key).specs_by_key[asset_key]
    assert node.group_name not in (None, "default")
    assert node.owners
    assert spec.kinds
    assert node.code_version
    assert len(node.description or "") > 30
    assert node.check_keys
    for check in node.check_keys:
        assert check.name


def test_partitions_span_the_recorded_day_and_today() -> None:
    from bot4_platform.partitions import DAYS, MARKET_DAYS, MarketDay

    assert MARKET_DAYS.has_partition_key(MarketDay("2024-08-08", "binance_usdm:BTCUSDT").key)
    assert DAYS.has_partition_key(datetime.now(UTC).date().isoformat())


# What takes seconds or hundreds of MB to import, and what speaks to something outside: imported where it is used.
HEAVY = (
    "feast", "mlflow", "lightgbm", "great_expectations", "arch", "torch", "polars", "pyarrow", "pandas", "duckdb",
    "dbt", "dagster_dbt", "numba", "scipy", "matplotlib", "ccxt", "confluent_kafka", "psycopg2",
    "adbc_driver_postgresql", "boto3", "feedparser", "vaderSentiment", "eth_abi", "aiohttp",
)  # fmt: skip
LOADING = """
import sys
import dagster
before = set(sys.modules)
from bot4_platform.definitions import defs
defs.get_repository_def()
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_loading_is_cheap() -> None:
    """What it takes in seconds is for `bot4 bench definitions` to say."""
    loaded = subprocess.run([sys.executable, "-c", LOADING], cwd=ROOT, capture_output=True, check=True, text=True)
    assert sorted(set(loaded.stdout.split()) & set(HEAVY)) == [], "import it inside the function that uses it"


def test_nothing_may_report_usage() -> None:
    code = "import bot4_platform, os; print(os.environ['DO_NOT_TRACK'], os.environ['GX_ANALYTICS_ENABLED'])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert out.split() == ["1", "False"]
    assert "enabled: false" in (ROOT / "dagster.yaml").read_text()


def test_daily_close_requests_yesterday_of_every_market() -> None:
    from bot4_platform.defs.ingestion.automation import daily_close

    context = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 8, 9, 0, 10, tzinfo=UTC))
    requests = list(daily_close(context))
    assert [str(request.partition_key) for request in requests] == ["2024-08-08|binance_usdm:BTCUSDT"]
    assert requests[0].run_key == "close-2024-08-08-binance_usdm:BTCUSDT"


def test_sensor_requests_the_days_of_a_sealed_segment_once(settings: Settings, maker: Any) -> None:
    from bot4_platform.defs.ingestion.automation import sealed_segments
    from bot4_platform.journal_source import seals

    maker.session(1_723_161_600 * 10**9 - 2 * 10**9, 4, lag_ns=-3 * 10**9)  # one segment, two exchange days
    with dg.DagsterInstance.ephemeral() as instance:
        resource = Bot4Resource.of(settings)
        context = dg.build_sensor_context(instance=instance, definitions=defs)
        result = sealed_segments(context, bot4=resource)
        assert isinstance(result, dg.SensorResult)
        digest = seals(settings.journal_dir)[0].sha256
        assert [(request.run_key, str(request.partition_key)) for request in result.run_requests or []] == [
            (f"{digest}:2024-08-08|binance_usdm:BTCUSDT", "2024-08-08|binance_usdm:BTCUSDT"),
            (f"{digest}:2024-08-09|binance_usdm:BTCUSDT", "2024-08-09|binance_usdm:BTCUSDT"),
        ]
        later = dg.build_sensor_context(instance=instance, definitions=defs, cursor=result.cursor)
        quiet = sealed_segments(later, bot4=resource)
        assert isinstance(quiet, dg.SensorResult)
        assert not quiet.run_requests


def test_what_is_kept_of_dbt_is_current(tmp_path: Path) -> None:
    from bot4_platform import dbt_assets, dbt_runner

    assert dbt_assets.describe(dbt_runner.parse(tmp_path)) == dbt_assets.read(), "python -m bot4_platform.dbt_assets"
