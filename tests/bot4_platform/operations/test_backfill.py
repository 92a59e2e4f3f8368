"""`bot4 backfill`: every day that was recorded, once; killed in the middle it goes on; what fails is told and tried."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from bot4_live.settings import Settings
from bot4_platform.commands.backfill import command
from bot4_platform.instance import open_instance
from bot4_platform.lake import Lake
from bot4_platform.operations.backfill import Progress, backfill, days_between
from bot4_platform.operations.dead_runs import PROCESS_TAG, bury_dead_runs, this_process
from bot4_platform.partitions import MARKET_DAYS, market_day
from bot4_platform.resources import Bot4Resource
from bot4_platform.run import materialize

MARKET = "binance_usdm:BTCUSDT"
DAY_NS = 86_400 * 10**9
START = 1_723_075_200 * 10**9 + 3_600 * 10**9  # 01:00 of 2024-08-08
DAYS = ["2024-08-08", "2024-08-09", "2024-08-10", "2024-08-11"]
SELECTION = 'key:"raw_segments"'


@pytest.fixture
def recorded(settings: Settings, maker: Any) -> Settings:
    """Three days of which the third was not recorded."""
    for i, day in enumerate((0, 1, 3)):
        maker.session(
            START + day * DAY_NS, 3, seed=i, trade_id=1_000 * (i + 1), update_id=10**6 * (i + 1), name=f"s{i}"
        )
    return settings


def small(broken: set[str]) -> dg.Definitions:
    """Definitions of two assets that cost nothing: one of market days, which fails on some, and one of all of them."""

    @dg.asset(partitions_def=MARKET_DAYS, code_version="1")
    def raw_segments(context: dg.AssetExecutionContext) -> None:
        """One market day."""
        if market_day(context).day in broken:
            raise OSError("the disk is full")

    @dg.asset(deps=[raw_segments], code_version="1")
    def page(bot4: Bot4Resource) -> None:
        """Of all days."""

    return dg.Definitions([raw_segments, page], resources={"bot4": Bot4Resource()})


def test_a_backfill_makes_what_was_recorded_and_then_nothing_again(recorded: Settings) -> None:
    seen: list[Progress] = []
    first = backfill(
        SELECTION, DAYS, [MARKET], recorded, definitions=small(set()),
        progress=lambda p: seen.append(Progress(**vars(p))),
    )  # fmt: skip
    assert first.made == [f"{day}|{MARKET}" for day in DAYS if day != "2024-08-10"]
    assert first.without_data == [f"2024-08-10|{MARKET}"]
    assert first.complete
    assert (seen[-1].done, seen[-1].parts, seen[-1].left_s) == (3, 3, 0.0)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    again = backfill(SELECTION, DAYS[1:], [MARKET], recorded, definitions=small(set()))
    assert (again.made, len(again.done_before)) == ([], 2)
    once_more = backfill(SELECTION, DAYS[:1], [MARKET], recorded, again=True, definitions=small(set()))
    assert once_more.made == [f"2024-08-08|{MARKET}"]


@pytest.mark.slow
def test_what_fails_is_told_the_rest_goes_on_and_it_is_tried_again(recorded: Settings) -> None:
    first = backfill("*", DAYS, [MARKET], recorded, definitions=small({DAYS[1]}))
    assert first.failed == {f"{DAYS[1]}|{MARKET}": "raw_segments: OSError: the disk is full"}
    assert first.made == [f"{DAYS[0]}|{MARKET}", f"{DAYS[3]}|{MARKET}", "all"]
    assert not first.complete
    second = backfill("*", DAYS, [MARKET], recorded, definitions=small(set()))
    assert second.made == [f"{DAYS[1]}|{MARKET}", "all"], "what is made of all days is made again"
    assert second.complete


@pytest.mark.slow
def test_the_command_over_the_real_assets(recorded: Settings) -> None:
    first = next(recorded.journal_dir.glob("seg-*1.b4j"))
    whole = first.read_bytes()
    first.write_bytes(whole[:-200] + b"x" * 200)
    arguments = ['key:"trades"', "--from", DAYS[0], "--to", DAYS[1], "--market", MARKET, "--var", str(recorded.var),
                 "--account", recorded.account, "--json"]  # fmt: skip
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert list(found["failed"]) == [f"{DAYS[0]}|{MARKET}"]
    assert found["made"] == [f"{DAYS[1]}|{MARKET}"]
    first.write_bytes(whole)
    done = CliRunner().invoke(command, arguments[:-1])
    assert done.exit_code == 0, done.output
    assert "1 of 2 parts made in" in done.stdout
    assert "1 were there" in done.stdout


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [("2024-08-09", "2024-08-08", "is after"), ("yesterday", "2024-08-08", "not days"),
     ("2020-01-01", "2024-08-08", "DAY_START"), ("2024-08-08", "2199-01-01", "today")],
)  # fmt: skip
def test_days_that_are_none_are_said(first: str, last: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        days_between(first, last)


def test_a_market_that_is_none_is_said(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"no market okx:NOPE.*known are"):
        backfill(SELECTION, DAYS, ["okx:NOPE"], settings)
    with pytest.raises(ValueError, match="selects no asset"):
        backfill('key:"nothing_of_ours"', DAYS, [MARKET], settings)


KILLED = "from bot4_platform.commands.backfill import command; command()"


@pytest.mark.slow
def test_kill_9_leaves_no_run_for_ever_and_nothing_undone(recorded: Settings, tmp_path: Path) -> None:
    arguments = [SELECTION, "--from", DAYS[0], "--to", DAYS[3], "--market", MARKET, "--var", str(recorded.var),
                 "--account", recorded.account]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=log, stderr=log, env=os.environ)
    lake, deadline = Lake(recorded.lake_dir), time.monotonic() + 120
    while not lake.partitions("raw_segments"):
        assert child.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    rest = backfill(SELECTION, DAYS, [MARKET], recorded)
    assert rest.complete
    assert len(rest.made) + len(rest.done_before) == 3
    with open_instance(recorded) as instance:
        states = {run.status for run in instance.get_runs()}
        assert states <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    reference = Settings(var=tmp_path / "other", account=recorded.account)
    reference.journal_dir.parent.mkdir(parents=True)
    reference.journal_dir.symlink_to(recorded.journal_dir)
    materialize(["raw_segments"], [(day, MARKET) for day in DAYS if day != DAYS[2]], reference)
    for day in (DAYS[0], DAYS[1], DAYS[3]):
        assert lake.path("raw_segments", day, MARKET).read_bytes() == Lake(reference.lake_dir).path(
            "raw_segments", day, MARKET
        ).read_bytes()  # fmt: skip


def test_only_runs_of_dead_processes_are_buried(settings: Settings) -> None:
    job = dg.define_asset_job("x").resolve(asset_graph=small(set()).resolve_asset_graph())
    with open_instance(settings) as instance:

        def begun(tags: dict[str, str]) -> str:
            run = instance.create_run_for_job(job, tags=tags)
            instance.report_run_canceling(run)
            return run.run_id

        here = socket.gethostname()
        dead, alive = begun({PROCESS_TAG: f"{here}/999999-1.00"}), begun({PROCESS_TAG: this_process()})
        reused, others = begun({PROCESS_TAG: f"{here}/{os.getpid()}-1.00"}), begun({})
        elsewhere = begun({PROCESS_TAG: "another-host/999999-1.00"})
        assert sorted(bury_dead_runs(instance)) == sorted([dead, reused])
        left = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELING]))}
        assert left == {alive, others, elsewhere}
