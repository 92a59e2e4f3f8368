"""Ages as checks, pools and retries named once, what runs by itself: nothing, unless somebody wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import dagster as dg
import pytest

from bot4_live.settings import Settings
from bot4_live.settings_errors import WrongSettings
from bot4_platform.beta import beta
from bot4_platform.checks import AGE_CHECK
from bot4_platform.definitions import data_definitions, defs
from bot4_platform.defs.operations.ages import aged
from bot4_platform.defs.timescale import assets as timescale
from bot4_platform.instance import open_instance
from bot4_platform.operations import switches
from bot4_platform.operations.settings import OperationsSettings
from bot4_platform.operations.steps import EXTERNAL, GLUE, POOLS
from bot4_platform.staleness.rules import AS_INPUTS
from bot4_platform.tables import TABLES

# What is not on this machine, by the kinds of assets that reach for it.
OUTSIDE = {"s3", "postgres", "timescaledb", "ccxt", "http", "ethereum", "rss", "mastodon", "fred"}


def test_every_table_with_a_time_is_watched() -> None:
    graph = defs.resolve_asset_graph()
    watched = {key.to_user_string() for key in graph.get_all_asset_keys()
               if any(check.name == AGE_CHECK for check in graph.get(key).check_keys)}  # fmt: skip
    assert watched == set(aged(data_definitions()))
    assert {"trades", "quotes", "depth", "candles_1m", "features", "garch", "labels", "champion"} <= watched
    timed = {name for name, table in TABLES.items() if {"recv_ns", "event_ns", "minute_ns"} & set(table.columns)}
    assets = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert (timed & assets) - watched <= AS_INPUTS, "their silence may be good news"


def test_ages_say_what_is_old_and_why(settings: Settings, maker: Any) -> None:
    from bot4_platform.run import materialize

    part = ("2024-08-08", "binance_usdm:BTCUSDT")
    maker.session(1_723_075_200 * 10**9 + 3600 * 10**9, 5, shift=0)
    materialize(["raw_segments", "trades"], [part], settings).raise_for_failure()
    wanted = {dg.AssetCheckKey(dg.AssetKey(name), AGE_CHECK) for name in ("trades", "garch")}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection=wanted
    )  # fmt: skip
    config = {"resources": {"bot4": {"config": {"var": str(settings.var), "account": settings.account}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(run_config=config, instance=instance)
    found = {one.asset_key.to_user_string(): one for one in done.get_asset_check_evaluations()}
    assert set(found) == {"trades", "garch"}
    assert not found["trades"].passed
    assert found["trades"].severity == dg.AssetCheckSeverity.WARN
    said = str(found["trades"].metadata["binance_usdm:BTCUSDT"].value)
    assert "old, " in said
    assert "because of journal" in said
    assert "nothing yet" in str(next(iter(found["garch"].metadata.values())).value)


def test_pools_are_named_once_and_what_is_outside_is_tried_again() -> None:
    graph, used = defs.resolve_asset_graph(), set()
    everything = {graph.assets_def_for_key(key) for key in graph.get_all_asset_keys()}
    everything |= {timescale.market_ticks, timescale.lake_in_postgres, timescale.marts_in_postgres}
    for made in everything:
        used |= {made.op.pool} - {None}
        if OUTSIDE & {kind for spec in made.specs for kind in spec.kinds}:
            policy = made.op.retry_policy
            assert policy, f"{made.op.name} reaches outside: give it retry_policy=EXTERNAL, or one of its own"
            assert (policy.backoff, policy.jitter) == (dg.Backoff.EXPONENTIAL, dg.Jitter.PLUS_MINUS)
    assert used == set(POOLS), "pools are named in bot4_platform/operations/steps.py"


def test_what_failed_together_does_not_come_back_together() -> None:
    for attempt, middle in ((1, 2.0), (2, 6.0), (3, 14.0)):
        delays = [EXTERNAL.calculate_delay(attempt) for _ in range(50)]
        assert len(set(delays)) > 40
        assert all(0 <= delay <= 2 * middle for delay in delays)


def test_the_limits_of_pools_are_those_of_the_instance(settings: Settings) -> None:
    with open_instance(settings) as instance:
        limits = {one.name: one.limit for one in instance.event_log_storage.get_pool_limits()}
    assert limits == POOLS


def test_nothing_runs_by_itself() -> None:
    repository = defs.get_repository_def()
    assert {one.default_status.value for one in (*repository.schedule_defs, *repository.sensor_defs)} == {"STOPPED"}


def test_no_condition_on_training_or_promotion() -> None:
    graph = defs.resolve_asset_graph()
    automatic = {key for key in graph.get_all_asset_keys() if graph.get(key).automation_condition is not None}
    assert automatic
    for key in automatic:
        node = graph.get(key)
        assert node.group_name not in ("training", "promotion")
        assert not node.is_partitioned, f"{key}: partitions have schedules and sensors"


def test_a_setting_switches_on_and_a_wrong_name_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(on: str) -> None:
        found = type("P", (), {"operations": OperationsSettings(on=on)})()
        monkeypatch.setattr(switches, "platform_settings", lambda: found)

    given("daily_close, failure_alerts")
    assert switches.schedule_status("daily_close") == dg.DefaultScheduleStatus.RUNNING
    assert switches.sensor_status("failure_alerts") == dg.DefaultSensorStatus.RUNNING
    assert switches.sensor_status("sealed_segments") == dg.DefaultSensorStatus.STOPPED
    given("all")
    assert switches.sensor_status("sealed_segments") == dg.DefaultSensorStatus.RUNNING
    given("daily_closed")
    with pytest.raises(WrongSettings, match="did you mean daily_close"):
        switches.check_names(["daily_close", "glue"])
    assert {"daily_close", "glue", "failure_alerts", "data_age_watch"} <= set(switches.known())
    assert switches.lines(settings, daemon=True) == [
        f"by itself runs: nothing; stopped: {', '.join(switches.known())}"
    ]  # fmt: skip


def test_who_switched_in_the_ui_has_the_last_word(settings: Settings) -> None:
    with open_instance(settings) as instance:
        repository = defs.get_repository_def()
        instance.add_instigator_state(_state(repository.name, "sealed_segments", "RUNNING"))
        assert switches.switched(defs, instance)["sealed_segments"]
    on, note = switches.lines(settings, daemon=False)
    assert on.startswith("by itself runs: sealed_segments; ")
    assert "no daemon" in note


def _state(repository: str, name: str, status: str) -> Any:
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        InstigatorType,
        SensorInstigatorData,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(python_file="x.py")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(loadable_target_origin=target)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, repository), name)
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus(status), SensorInstigatorData())


def test_all_of_them_obey_the_setting() -> None:
    code = (
        "from bot4_platform.definitions import defs; r = defs.get_repository_def(); "
        "print(*[o.name for o in (*r.schedule_defs, *r.sensor_defs) if o.default_status.value != 'RUNNING'])"
    )
    environment = os.environ | {"BOT4_PLATFORM__OPERATIONS__ON": "all", "BOT4_PLATFORM__STORES__TICKS": "postgres"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.split() == [], "give it default_status=schedule_status(NAME) or sensor_status(NAME)"


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]))
def part() -> None:
    """Something that comes in parts."""


@dg.asset(deps=[part], automation_condition=GLUE)
def page() -> None:
    """Something made of all parts there are."""


def test_glue_follows_its_inputs_and_does_not_repeat_itself() -> None:
    made = dg.Definitions([part, page])

    def asked(instance: dg.DagsterInstance, cursor: Any) -> tuple[int, Any]:
        with beta():
            found = dg.evaluate_automation_conditions(made, instance, cursor=cursor)
        return found.total_requested, found.cursor

    with dg.DagsterInstance.ephemeral() as instance:
        count, cursor = asked(instance, None)
        assert count == 0, "nothing is there"
        instance.report_runless_asset_event(dg.AssetMaterialization("part", partition="a"))
        count, cursor = asked(instance, cursor)
        assert count == 1, "one part is enough, though others are missing"
        count, cursor = asked(instance, cursor)
        assert count == 0
        instance.report_runless_asset_event(dg.AssetMaterialization("page"))
        instance.report_runless_asset_event(dg.AssetMaterialization("part", partition="b"))
        count, cursor = asked(instance, cursor)
        assert count == 1, "also when it came in the moment the page was done"
        instance.report_runless_asset_event(dg.AssetMaterialization("page"))
        count, cursor = asked(instance, cursor)
        assert count == 0
