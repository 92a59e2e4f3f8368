"""Retention removes what can be made again, is shown first, and is past its span; nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot4_live.settings import Settings
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.defs import maintenance
from bot4_platform.lake import Lake
from bot4_platform.resources import Bot4Resource
from bot4_platform.retention.disk import Usage, usage
from bot4_platform.retention.plan import Removal, carry_out, plan, save, saved
from bot4_platform.retention.rules import RULES
from bot4_platform.retention.settings import DiskSettings, RetentionSettings
from bot4_platform.tables import TABLES

MARKET, LAST = "binance_usdm:BTCUSDT", date(2024, 8, 10)
RETENTION = RetentionSettings()


def day(ago: int) -> str:
    return (LAST - timedelta(ago)).isoformat()


def fill(lake: Lake, tables: tuple[str, ...], ages: tuple[int, ...]) -> None:
    for table in tables:
        for ago in ages:
            # An old schema is no concern of retention's: folders are moved as they are.
            folder = lake.folder(table, day(ago), MARKET)
            folder.mkdir(parents=True)
            pl.DataFrame({"a": range(100)}).write_parquet(folder / "part.parquet")


@pytest.fixture
def account(settings: Settings) -> Settings:
    """Raw and derived tables, old and new."""
    fill(Lake(settings.lake_dir), ("trades", "quotes", "quarantine", "features", "feature_state"), (400, 200, 10, 0))
    logs = settings.root / "dagster" / "storage" / "run-1" / "compute_logs"
    logs.mkdir(parents=True)
    (logs / "step.out").write_text("x" * 1000)
    return settings


def paths(removals: list[Removal]) -> list[str]:
    return sorted(one.path for one in removals)


def test_only_what_can_be_made_again_and_is_past_its_span(account: Settings) -> None:
    market = "market=binance_usdm_BTCUSDT"
    assert paths(plan(account, RETENTION)) == [
        f"lake/feature_state/day={day(400)}/{market}",
        f"lake/feature_state/day={day(200)}/{market}",
        f"lake/features/day={day(400)}/{market}",
    ]
    old = time.time() - 91 * 86_400
    for path in (account.root / "dagster" / "storage" / "run-1" / "compute_logs").rglob("*"):
        os.utime(path, (old, old))
    os.utime(account.root / "dagster" / "storage" / "run-1" / "compute_logs", (old, old))
    assert "dagster/storage/run-1/compute_logs" in paths(plan(account, RETENTION))


def test_a_day_whose_ticks_are_gone_stays(account: Settings) -> None:
    lake = Lake(account.lake_dir)
    lake.path("trades", day(400), MARKET).unlink()
    assert f"day={day(400)}" not in str(paths(plan(account, RETENTION)))


def test_nothing_goes_that_was_not_shown(account: Settings) -> None:
    with pytest.raises(ValueError, match="materialize the asset retention_plan first"):
        carry_out(account, RETENTION)
    shown, hidden = plan(account, RETENTION)[:1], plan(account, RETENTION)[1:]
    save(account, shown)
    assert saved(account) == shown
    gone = carry_out(account, RETENTION)
    assert gone == shown
    assert paths(plan(account, RETENTION)) == paths(hidden)
    assert carry_out(account, RETENTION) == []
    assert list((account.lake_dir / ".staging").iterdir()) == []


def test_a_plan_that_is_out_of_date_removes_only_what_still_may_go(account: Settings) -> None:
    save(account, plan(account, RETENTION))
    Lake(account.lake_dir).path("trades", day(400), MARKET).unlink()
    assert all(day(400) not in one.path for one in carry_out(account, RETENTION))
    assert Lake(account.lake_dir).exists("features", day(400), MARKET)


def test_what_a_killed_run_moved_aside_is_cleared(account: Settings) -> None:
    lake = Lake(account.lake_dir)
    aside = lake.root / ".staging" / f"features-x.{2**22 - 3}.0123abcd"
    aside.mkdir(parents=True)
    (aside / "part.parquet").write_bytes(b"x")
    save(account, plan(account, RETENTION))
    carry_out(account, RETENTION)
    assert not aside.exists()


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages=st.sets(st.integers(0, 800), min_size=1, max_size=6), tables=st.sets(st.sampled_from(sorted(TABLES))))
def test_the_newest_160_days_and_raw_tables_always_stay(
    tmp_path_factory: pytest.TempPathFactory, ages: set[int], tables: set[str]
) -> None:
    account = Settings(var=tmp_path_factory.mktemp("var"), account="test")
    fill(Lake(account.lake_dir), (*tables, *{"trades", "quotes"} - tables), tuple(ages))
    newest = min(ages)
    for one in plan(account, RETENTION):
        assert one.table in RULES
        assert (LAST - date.fromisoformat(one.day)).days - newest >= 160


def test_rules_name_derived_tables_only() -> None:
    raw = {"raw_segments", "trades", "quotes", "depth", "quarantine", "source_quarantine", "funding", "liquidations"}
    assert not raw & RULES.keys()
    assert RULES.keys() <= TABLES.keys()
    assert {rule.made_of for rule in RULES.values()} <= raw
    with pytest.raises(ValidationError, match="greater than or equal to 160"):
        RetentionSettings(scratch_days=159)


def test_usage_says_what_would_free_room(account: Settings) -> None:
    found = usage(account, DiskSettings(budget_gb=1.0), RETENTION, ArchiveSettings())
    assert found.used == sum(size for _, _, size in found.parts) > 0
    assert {"lake/features", "lake/trades", "dagster"} <= {name for name, _, _ in found.parts}
    assert found.budget == 2**30
    assert [what.partition(":")[0] for what, _ in found.frees] == [
        "retention", "an archive (BOT4_PLATFORM__ARCHIVE__BUCKET), then bot4 archive",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match="no such account"):
        usage(Settings(var=account.var, account="nobody"), DiskSettings(), RETENTION, ArchiveSettings())


@pytest.mark.parametrize(
    ("used", "free", "verdict"),
    [(79, 1000, "ok"), (80, 1000, "warn"), (95, 1000, "fail"), (10, 1, "warn"), (10, 0, "fail")],
)
def test_the_budget_warns_and_fails(used: int, free: int, verdict: str) -> None:
    assert Usage((), used, 100, free, ()).verdict(DiskSettings()) == verdict


@pytest.fixture
def run() -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialize the group with its checks."""

    def materialize(settings: Settings) -> dg.ExecuteInProcessResult:
        found = maintenance.definitions()
        everything: list[Any] = [*(found.assets or []), *(found.asset_checks or [])]
        return dg.materialize(everything, resources={"bot4": Bot4Resource.of(settings)}, raise_on_error=False)

    return materialize


def test_the_assets_say_what_they_removed(account: Settings, run: Callable[..., dg.ExecuteInProcessResult]) -> None:
    result = run(account)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations() if check.check_name != "within_budget")
    (event,) = result.asset_materializations_for_node("retention")
    assert event.metadata["folders"].value == 3
    assert f"lake/features/day={day(400)}" in str(event.metadata["removed"].value)
    assert "the journal gives the same bytes again" in str(event.metadata["removed"].value)
    (moved,) = result.asset_materializations_for_node("archive")
    assert moved.metadata["archive"].value == "none is set up"
    lake = Lake(account.lake_dir)
    for table in ("trades", "quotes", "quarantine"):
        assert len(lake.partitions(table)) == 4
    assert [of for of, _ in lake.partitions("features")] == [day(200), day(10), day(0)]


def test_a_plan_with_raw_data_stops_the_removal(
    account: Settings, run: Callable[..., dg.ExecuteInProcessResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot4_platform.retention import plan as planning

    lake = Lake(account.lake_dir)
    folder = lake.folder("trades", day(400), MARKET).relative_to(account.root).as_posix()
    wrong = Removal(folder, 1, 1, "by mistake", "trades", day(400), MARKET)
    monkeypatch.setattr(planning, "plan", lambda *_: [wrong])
    result = run(account)
    assert not result.success
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks["nothing_raw_goes"] is False
    assert lake.exists("trades", day(400), MARKET)
    assert not result.asset_materializations_for_node("retention")


def test_the_schedule_runs_once_a_night() -> None:
    from datetime import UTC, datetime

    from bot4_platform.defs.maintenance.assets import nightly_maintenance

    request = nightly_maintenance(
        dg.build_schedule_context(scheduled_execution_time=datetime(2024, 8, 9, 3, 30, tzinfo=UTC))
    )
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "maintenance-2024-08-09"


def test_a_damaged_plan_is_named(account: Settings, tmp_path: Path) -> None:
    save(account, [])
    (account.root / "maintenance" / "retention_plan.json").write_text('{"removals": [{"path": 1}]}')
    with pytest.raises(ValueError, match=r"retention_plan.json is damaged"):
        saved(account)
