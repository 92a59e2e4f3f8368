"""The platform's writes on a full disk: the step says so, partitions are the old ones or the new ones, nothing else."""

from __future__ import annotations

import os

import polars as pl
import pytest

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.run import materialize
from bot4_platform.tables import TABLES

from .conftest import fill

pytestmark = pytest.mark.system

TODAY = MarketDay("2024-08-08", "binance_usdm:BTCUSDT")
CANDLES = ["stg_trades", "candles_1m"]


@pytest.fixture
def disk(small_disk):
    return small_disk(2)


@pytest.fixture
def settings(tmp_path, disk):
    """An account whose lake alone lies on the small disk."""
    made = Settings(var=tmp_path / "var", account="full")
    made.root.mkdir(parents=True)
    (disk / "lake").mkdir()
    made.lake_dir.symlink_to(disk / "lake")
    return made


def trades(count):
    return pl.DataFrame(
        {
            "seq": range(1, count + 1), "recv_ns": range(1, count + 1),
            "exch_ns": [TODAY.start_ns + i * 1_000_003 for i in range(count)], "trade_id": range(1, count + 1),
            "price": [10_000 + i * 7919 % 97 for i in range(count)], "qty": [1 + i % 5 for i in range(count)],
            "sell": [i % 2 == 0 for i in range(count)],
        },
        schema=TABLES["trades"].schema(),
    )  # fmt: skip


def staged(settings):
    return list((settings.lake_dir / ".staging").iterdir())


def test_a_table_that_does_not_fit(settings, disk):
    lake = Lake(settings.lake_dir)
    lake.write("trades", *TODAY, trades(10))
    with pytest.raises(OSError, match="No space left on device"):
        lake.write("trades", *TODAY, trades(200_000))
    assert lake.read("trades", *TODAY).equals(trades(10))
    assert staged(settings) == []


def test_rows_added_to_a_full_disk(settings, disk):
    """The part does not fit: the partition is as it was; with room again, the same rows come in once."""
    lake = Lake(settings.lake_dir)
    lake.write("trades", *TODAY, trades(10))
    fill(disk / "ballast")
    with pytest.raises(OSError, match="No space left on device"):
        lake.append("trades", *TODAY, trades(20_000))
    assert lake.read("trades", *TODAY).equals(trades(10))
    assert staged(settings) == []
    os.unlink(disk / "ballast")
    for _ in range(2):
        lake.append("trades", *TODAY, trades(20_000))
    assert lake.read("trades", *TODAY).equals(trades(20_000))


def test_a_compaction_that_does_not_fit(settings, disk):
    lake = Lake(settings.lake_dir)
    for count in (10, 5000, 20_000):
        lake.append("trades", *TODAY, trades(count))
    files = lake.files("trades", *TODAY)
    assert len(files) == 3
    fill(disk / "ballast")
    with pytest.raises(OSError, match="No space left on device"):
        lake.compact("trades", *TODAY)
    assert lake.files("trades", *TODAY) == files
    assert lake.read("trades", *TODAY).equals(trades(20_000))
    os.unlink(disk / "ballast")
    assert lake.compact("trades", *TODAY).files == 3
    assert lake.read("trades", *TODAY).equals(trades(20_000))


@pytest.mark.slow
def test_candles_that_do_not_fit(settings, disk):
    lake = Lake(settings.lake_dir)
    lake.write("trades", *TODAY, trades(1000))
    materialize(CANDLES, [TODAY], settings).raise_for_failure()
    before = lake.path("candles_1m", *TODAY).read_bytes()
    lake.write("trades", *TODAY, trades(2000))
    fill(disk / "ballast")
    summary = materialize(CANDLES, [TODAY], settings)
    assert not summary.success
    with pytest.raises(RuntimeError, match=r"(?i)no space left on device"):
        summary.raise_for_failure()
    assert lake.path("candles_1m", *TODAY).read_bytes() == before
    assert staged(settings) == []
    os.unlink(disk / "ballast")
    materialize(CANDLES, [TODAY], settings).raise_for_failure()
    assert lake.path("candles_1m", *TODAY).read_bytes() != before
