"""Runs in process: what is materialized, counted, told; and a blocking check that stops what is downstream."""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import pytest

from bot4_live.events import Kind, Reason, Source, header_of, new_record, slots_of
from bot4_live.journal.local import LocalJournal
from bot4_live.settings import Settings
from bot4_platform import journal_ticks
from bot4_platform.instance import open_instance
from bot4_platform.journal_source import seals, segments
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import RunSummary, Step, materialize

START = 1_723_161_600 * 10**9 - 60 * 10**9
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
TOMORROW = TODAY.shifted(1)
TICKS = ["raw_segments", *journal_ticks.NAMES]


def test_a_run_is_counted_told_and_kept(settings: Settings, maker: Any) -> None:
    counts = maker.session(START, 62, bad=((Reason.NOT_JSON, b"{"), (Reason.NEGATIVE, b"-")))
    steps: list[Step] = []
    summary = materialize([*TICKS, "minute_profiles"], [TODAY, TOMORROW], settings, progress=steps.append)
    summary.raise_for_failure()
    assert summary.success
    assert summary.assets_materialized == 18
    assert summary.asset_checks_passed == 38
    assert summary.asset_checks_failed == 0
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert {step.total for step in steps} == {len(steps)}
    lake = Lake(settings.lake_dir)
    assert lake.read("trades").height == counts["trades"]
    assert lake.read("minute_profiles", *TODAY)["quotes"].to_list() == [1200]
    with open_instance(settings) as instance:
        runs = {run.run_id: run for run in instance.get_runs()}
        assert set(summary.run_ids) == set(runs)
        assert {run.status for run in runs.values()} == {dg.DagsterRunStatus.SUCCESS}
        event = instance.get_latest_materialization_event(dg.AssetKey("quarantine"))
        assert event is not None
        first = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("quarantine"), asset_partitions=[str(TODAY.key)]), limit=1
        ).records[0]
        metadata = first.asset_materialization.metadata  # type: ignore[union-attr]
        assert metadata["reason/NOT_JSON"].value == 1
        assert "| NEGATIVE | 1 |" in str(metadata["by_reason"].value)


def test_a_blocking_check_stops_what_is_downstream(settings: Settings, maker: Any) -> None:
    maker.session(START, 5)
    header = next(segments(seals(settings.journal_dir))).header
    crossed = new_record(Kind.BOOK_TICKER, 2)  # the feed would not let it through: that is what the check is for
    head = header_of(crossed)
    head["seq"], head["a"], head["source"] = maker.next_seq, 9_999_999, Source.MARKET_STREAM
    head["recv_ns"] = head["exch_ns"] = START + 6 * 10**9 + header.shift_ns
    slots_of(crossed)[:] = np.array([(20, 1), (10, 1)])
    fields = {**header.__dict__, "first_seq": maker.next_seq}
    with LocalJournal(settings.journal_dir, type(header)(**fields), segment_bytes=1 << 20) as journal:
        journal.append(crossed)
    summary = materialize([*TICKS, "minute_profiles", "mids_250ms"], [TODAY], settings)
    assert summary.failed_checks == ["quotes:quotes_are_sound"]
    assert summary.asset_checks_failed == 1
    assert sorted(summary.materialized) == sorted(TICKS)
    lake = Lake(settings.lake_dir)
    assert not lake.exists("minute_profiles", *TODAY)
    assert not lake.exists("mids_250ms", *TODAY)


def test_a_changed_segment_is_noticed(settings: Settings, maker: Any) -> None:
    maker.session(START, 5)
    path = seals(settings.journal_dir)[0].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    summary = materialize(TICKS, [TODAY], settings)
    assert summary.failed_checks == ["raw_segments:digests_hold"]
    assert summary.materialized == ["raw_segments"]


def test_a_failing_step_says_why_and_leaves_nothing(settings: Settings, maker: Any) -> None:
    maker.session(START, 5)
    summary = materialize(TICKS, [TODAY.shifted(2)], settings)
    assert not summary.success
    assert "no sealed segment" in summary.failed_steps["raw_segments"]
    with pytest.raises(RuntimeError, match=r"raw_segments failed: .*record that day first"):
        summary.raise_for_failure()
    assert not settings.lake_dir.exists()


@pytest.mark.parametrize(
    ("selection", "partitions", "message"),
    [
        ("*", [("1999-01-01", TODAY.market)], "no partition"),
        ("*", [("2024-08-08", "kraken:XBTUSD")], "no partition"),
        (["nothing_of_that_name"], [TODAY], "nothing_of_that_name"),
        (["trades"], [], "partitioned"),
    ],
)
def test_what_cannot_run_is_one_clear_error(
    settings: Settings, selection: Any, partitions: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        materialize(selection, partitions, settings)


def test_summaries_add_up() -> None:
    one = RunSummary(["a"], 2, 3, 0, [], {}, ["x"], 1.5)
    one.add(RunSummary(["b"], 1, 1, 1, ["y:check"], {"y": "disk full"}, ["y"], 0.5))
    assert one == RunSummary(["a", "b"], 3, 4, 1, ["y:check"], {"y": "disk full"}, ["x", "y"], 2.0)
    assert not one.success
