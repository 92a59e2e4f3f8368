"""The lake: layout, whole files only, integers that stay integers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from bot4_platform.lake import Lake
from bot4_platform.tables import TABLES

DAY, MARKET = "2024-08-08", "binance_usdm:BTCUSDT"


def trades(n: int, start: int = 0) -> pl.DataFrame:
    seq = list(range(start, start + n))
    return pl.DataFrame(
        {"seq": seq, "recv_ns": seq, "exch_ns": seq, "trade_id": seq, "price": seq, "qty": seq, "sell": [True] * n},
        schema=TABLES["trades"].schema(),
    )


def test_layout_and_round_trip(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    written = lake.write("trades", DAY, MARKET, trades(3).reverse())
    assert written.path == tmp_path / "trades/day=2024-08-08/market=binance_usdm_BTCUSDT/part.parquet"
    assert written.rows == 3
    assert written.size == written.path.stat().st_size
    assert lake.read("trades", DAY, MARKET)["seq"].to_list() == [0, 1, 2]
    assert lake.partitions("trades") == [(DAY, MARKET)]
    assert lake.partitions("trades", "binance_usdm:ETHUSDT") == []


def test_days_come_in_order_and_arrow_is_taken(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("own_table", "2024-08-09", MARKET, pa.table({"a": [2]}))
    lake.write("own_table", "2024-08-08", MARKET, pa.table({"a": [1]}))
    assert lake.read("own_table", market=MARKET)["a"].to_list() == [1, 2]


def test_a_missing_partition_says_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("trades", DAY, MARKET, trades(1))
    with pytest.raises(FileNotFoundError, match=r"2024-08-09.*materialize the asset trades"):
        lake.read("trades", [DAY, "2024-08-09"], MARKET)


@pytest.mark.parametrize(
    "wrong",
    [
        trades(2).with_columns(pl.col("price").cast(pl.Float64)),
        trades(2).drop("qty"),
        trades(2).with_columns(pl.lit(1).alias("extra")),
    ],
)
def test_wrong_columns_or_doubles_are_refused(tmp_path: Path, wrong: pl.DataFrame) -> None:
    lake = Lake(tmp_path)
    lake.write("trades", DAY, MARKET, trades(1))
    with pytest.raises(ValueError, match="wrong columns or types"):
        lake.write("trades", DAY, MARKET, wrong)
    assert lake.read("trades", DAY, MARKET).height == 1


@pytest.mark.parametrize("table", sorted(TABLES))
def test_integer_columns_are_integers_on_disk(tmp_path: Path, table: str) -> None:
    import pyarrow.parquet as pq

    path = Lake(tmp_path).write(table, DAY, MARKET, TABLES[table].empty()).path
    stored = {field.name: field.type for field in pq.read_schema(path)}
    for name, kind in TABLES[table].columns.items():
        assert (stored[name] == pa.int64()) == (kind == "Int64"), name


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import polars as pl
from bot4_platform.lake import Lake
lake = Lake(Path(sys.argv[1]))
frame = pl.DataFrame({"a": pl.int_range(0, 3_000_000, eager=True) * 7919 % 1_000_003})
while True:
    lake.write("numbers", "2024-08-08", "binance_usdm:BTCUSDT", frame)
    print("wrote", flush=True)
"""


def test_a_killed_writer_leaves_whole_files_only(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    root = str(Path(__file__).resolve().parents[2])
    for delay in (0.0, 0.013, 0.031, 0.047):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), root], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"wrote\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert lake.read("numbers", DAY, MARKET).height == 3_000_000
    (tmp_path / ".staging" / f"numbers-x.{child.pid}.0123abcd.parquet").write_bytes(b"half")
    lake.write("trades", DAY, MARKET, trades(1))
    assert list((tmp_path / ".staging").iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import polars as pl
from bot4_platform.lake import Lake
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
Lake(Path(sys.argv[1])).write("numbers", "2024-08-08", "binance_usdm:BTCUSDT",
    pl.DataFrame({"a": pl.int_range(0, 1_000_000, eager=True) * 7919 % 1_000_003}))
"""


def test_no_room_keeps_the_old_partition(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("numbers", DAY, MARKET, pl.DataFrame({"a": [1, 2]}))
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), root], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Error" in done.stderr
    assert lake.read("numbers", DAY, MARKET)["a"].to_list() == [1, 2]
    assert [path for path in (tmp_path / ".staging").iterdir() if str(os.getpid()) in path.name] == []


@pytest.mark.parametrize(
    "market",
    ["binance_usdm:1000SHIBUSDT", "binance_coinm:BTCUSD_PERP", "kraken:BTC-USD", "deribit:BTC-USD-20211231-0.5-C"],
)
def test_the_names_of_all_venues_come_back(tmp_path: Path, market: str) -> None:
    lake = Lake(tmp_path)
    lake.write("numbers", DAY, market, pl.DataFrame({"a": [1]}))
    assert lake.partitions("numbers") == [(DAY, market)]
    assert lake.read("numbers", DAY, market)["a"].to_list() == [1]
