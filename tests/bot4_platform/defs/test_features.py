"""Feature days: cut by seq, the same whether a day goes on from the one before or begins at the beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from bot4_live.features.batch import BatchState, compute
from bot4_live.features.registry import NAMES
from bot4_live.settings import Settings
from bot4_platform.feature_days import compute_day
from bot4_platform.journal_source import seals, segments
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize

MIDNIGHT = 1_723_161_600 * 10**9
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
TOMORROW = TODAY.shifted(1)


def test_days_partition_the_log_and_resuming_changes_nothing(settings: Settings, maker: Any) -> None:
    maker.session(MIDNIGHT - 20 * 10**9, 25, lag_ns=-1_270_000_000)  # as in the recorded captures: the clock is behind
    found = seals(settings.journal_dir)
    first = compute_day(found, TODAY, None)
    kept = first.state.encode()
    fresh = compute_day(found, TOMORROW, None)
    resumed = compute_day(found, TOMORROW, (first.last_seq, BatchState.decode(kept)))
    assert (fresh.resumed, resumed.resumed) == (False, True)
    assert fresh.first_seq == first.last_seq + 1
    assert resumed.events < fresh.events
    assert fresh.rows.equals(resumed.rows)
    assert fresh.state.encode() == resumed.state.encode()
    whole = [compute(part.buffer, part.offsets, 100, state) for state in [BatchState()] for part in segments(found)]
    rows = pl.concat([first.rows, fresh.rows])
    assert rows["seq"].to_list() == [int(seq) for table in whole for seq in table.seq]
    wanted = np.concatenate([table.x for table in whole])
    assert rows.select(NAMES).to_numpy().tobytes() == np.ascontiguousarray(wanted).tobytes()
    assert rows["valid"].any()


def test_the_cut_is_at_the_first_event_of_the_next_day(settings: Settings, maker: Any) -> None:
    maker.session(MIDNIGHT - 5 * 10**9, 8)
    found = seals(settings.journal_dir)
    day = compute_day(found, TODAY, None)
    heads = np.concatenate([part.headers for part in segments(found)])
    shift = found[0].shift_ns
    after = heads["seq"][(heads["exch_ns"] != 0) & (heads["exch_ns"] - shift >= MIDNIGHT)]
    assert day.last_seq == int(after.min()) - 1


def test_a_state_that_does_not_fit_is_not_used(settings: Settings, maker: Any) -> None:
    maker.session(MIDNIGHT - 5 * 10**9, 8)
    found = seals(settings.journal_dir)
    day = compute_day(found, TODAY, None)
    other = compute_day(found, TOMORROW, (day.last_seq - 1, BatchState()))
    assert not other.resumed
    with pytest.raises(ValueError, match="no sealed segment holds an event"):
        compute_day(found, TODAY.shifted(5), None)


def test_assets_write_rows_and_state(settings: Settings, maker: Any) -> None:
    maker.session(MIDNIGHT - 20 * 10**9, 22)
    summary = materialize(["raw_segments", "features", "feature_state"], [TODAY, TOMORROW], settings)
    summary.raise_for_failure()
    assert summary.asset_checks_passed == 12
    lake = Lake(settings.lake_dir)
    rows = lake.read("features")
    assert rows["seq"].is_sorted()
    assert lake.read("feature_state", *TODAY)["last_seq"][0] < lake.read("features", *TOMORROW)["seq"][0]
    lake.write("feature_state", *TODAY, lake.read("feature_state", *TODAY).with_columns(state=pl.lit(b"old layout")))
    again = materialize(["features", "feature_state"], [TOMORROW], settings)
    again.raise_for_failure()
    assert lake.read("features").equals(rows)


def test_the_check_sees_a_hole(settings: Settings, maker: Any, run_check: Any) -> None:
    maker.session(MIDNIGHT - 20 * 10**9, 19)
    materialize(["raw_segments", "features", "feature_state"], [TODAY], settings).raise_for_failure()
    assert run_check(settings, TODAY, "features", "features_are_whole")
    lake = Lake(settings.lake_dir)
    frame = lake.read("features", *TODAY)
    lake.write("features", *TODAY, frame.with_columns(valid=pl.lit(True), mid=pl.lit(None, pl.Float64)))
    assert not run_check(settings, TODAY, "features", "features_are_whole")
