"""An open day is read segment by segment, and is in the end what one reading of it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from bot4_live.settings import Settings
from bot4_platform.defs.lake.assets import CLOSE_TAG, CODE_VERSION
from bot4_platform.journal_source import Seal, seals_of
from bot4_platform.journal_ticks import NAMES
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.tick_parts import lacking, names_of

DAY_START = 1_723_075_200 * 10**9
TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")


def hide(found: list[Seal]) -> list[tuple[Path, Path]]:
    """Take segments out of a journal; return what `bring_back` needs."""
    moved = []
    for seal in found:
        for path in seal.path.parent.glob(f"{seal.path.stem}.*"):
            away = path.with_name(f"away-{path.name}")
            path.rename(away)
            moved.append((away, path))
    return moved


def fold(settings: Settings) -> None:
    """Materialize the day's ticks; the checks on them (some import for seconds) are left out."""
    import dagster as dg

    from bot4_platform.definitions import defs

    keys = {dg.AssetKey(name) for name in NAMES}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys, asset_check_selection=set())
    config = {
        "resources": {"bot4": {"config": {"var": str(settings.var), "account": settings.account}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(run_config=config, instance=instance, partition_key=TODAY.key).success


def content(lake: Lake) -> dict[str, pl.DataFrame]:
    return {name: lake.read(name, *TODAY) for name in NAMES}


def test_segment_by_segment_is_the_day(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + 10**9, 60, segment_bytes=200_000)
    found = seals_of(settings.journal_dir, TODAY)
    assert len(found) >= 3
    later = hide(found[1:])
    lake = Lake(settings.lake_dir)
    fold(settings)
    for away, path in later:
        away.rename(path)
    assert lacking(lake, TODAY, found, CODE_VERSION) == found[1:]
    assert lacking(lake, TODAY, found, "another version") is None
    assert lacking(lake, TODAY, found[1:], CODE_VERSION) is None, "a segment is gone"

    fold(settings)
    assert len(lake.files("trades", *TODAY)) == 2
    assert lake.sources("depth", *TODAY) == names_of(found, CODE_VERSION)
    in_parts = content(lake)
    assert lacking(lake, TODAY, found, CODE_VERSION) == []

    fold(settings)  # nothing is new: all of it again
    assert [len(lake.files(name, *TODAY)) for name in NAMES] == [1] * len(NAMES)
    for name, frame in content(lake).items():
        assert frame.equals(in_parts[name]), name


def test_a_second_session_makes_the_day_anew(settings: Settings, maker: Any) -> None:
    maker.session(DAY_START + 10**9, 4, name="one")
    lake, first = Lake(settings.lake_dir), seals_of(settings.journal_dir, TODAY)
    for name in NAMES:
        lake.write(name, *TODAY, lake_table(name), sources=names_of(first, CODE_VERSION))
    assert lacking(lake, TODAY, first, CODE_VERSION) == []
    maker.session(DAY_START + 3 * 10**9, 4, name="two")
    assert lacking(lake, TODAY, seals_of(settings.journal_dir, TODAY), CODE_VERSION) is None


def lake_table(name: str) -> pl.DataFrame:
    from bot4_platform.tables import TABLES

    return TABLES[name].empty()


def test_the_close_and_the_compaction_leave_one_file(settings: Settings, maker: Any) -> None:
    import dagster as dg

    from bot4_platform.definitions import defs

    maker.session(DAY_START + 10**9, 60, segment_bytes=200_000)
    found = seals_of(settings.journal_dir, TODAY)
    moved = hide(found[2:])
    lake = Lake(settings.lake_dir)
    job = defs.resolve_implicit_global_asset_job_def()
    config = {
        "resources": {"bot4": {"config": {"var": str(settings.var), "account": settings.account}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }

    def run(assets: list[str], **given: Any) -> Any:
        keys = [dg.AssetKey(name) for name in assets]
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(run_config=config, instance=instance, asset_selection=keys, **given)

    assert run(list(NAMES), partition_key=TODAY.key).success
    for away, path in moved:
        away.rename(path)
    assert run(list(NAMES), partition_key=TODAY.key, tags={CLOSE_TAG: TODAY.day}).success
    assert [len(lake.files(name, *TODAY)) for name in NAMES] == [1] * len(NAMES), "appended, then one file"
    whole = content(lake)

    lake.write("trades", *TODAY, whole["trades"].head(10))
    lake.append("trades", *TODAY, whole["trades"])
    done = run(["compaction"])
    assert lake.read("trades", *TODAY).equals(whole["trades"])
    assert len(lake.files("trades", *TODAY)) == 1
    event = done.asset_materializations_for_node("compaction")[0]
    assert event.metadata["partitions"].value == 1
    assert [evaluation.passed for evaluation in done.get_asset_check_evaluations()] == [True]
