"""Parts of an open day: added rows are there once, at every instant, and a compaction changes none."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform import parts
from bot4_platform.lake import MOST_PARTS, ROW_GROUP, Lake
from bot4_platform.tables import TABLES

PART = ("2024-08-08", "binance_usdm:BTCUSDT")


def trades(ids: list[int], price: int = 100) -> pl.DataFrame:
    columns = dict.fromkeys(("seq", "recv_ns", "exch_ns", "trade_id", "qty"), ids)
    rows = columns | {"price": [price] * len(ids), "sell": [i % 2 == 0 for i in ids]}
    return pl.DataFrame(rows, schema_overrides=TABLES["trades"].schema()).select(list(TABLES["trades"].columns))


def test_parts_are_added_and_become_one_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("trades", *PART, trades([1, 2, 3]), sources=["a"])
    lake.append("trades", *PART, trades([3, 4, 5], price=999), sources=["b"])
    lake.append("trades", *PART, trades([6]), sources=["c"])
    assert [path.name for path in lake.files("trades", *PART)] == [
        "part.parquet", "part-000000-000001.parquet", "part-000000-000002.parquet",
    ]  # fmt: skip
    before = lake.read("trades", *PART)
    assert before["trade_id"].to_list() == [1, 2, 3, 4, 5, 6]
    assert before["price"].to_list() == [100, 100, 100, 999, 999, 100], "the first of a key stays"
    assert lake.sources("trades", *PART) == ["a", "b", "c"]

    done = lake.compact("trades", *PART)
    assert done is not None
    assert (done.files, done.written.rows) == (3, 6)
    assert lake.read("trades", *PART).equals(before)
    assert lake.files("trades", *PART) == [lake.path("trades", *PART)]
    assert lake.sources("trades", *PART) == ["a", "b", "c"]
    assert lake.compact("trades", *PART) is None, "idempotent"


def test_adding_the_same_again_adds_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for _ in range(3):
        lake.append("trades", *PART, trades([1, 2]), sources=["a"])
    assert lake.files("trades", *PART) == [lake.path("trades", *PART)]
    assert lake.append("trades", *PART, trades([2]), sources=["b"]).rows == 0
    assert lake.sources("trades", *PART) == ["a", "b"], "what has nothing new is remembered too"


def test_superseded_parts_go_after_a_grace_and_never_come_alive_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("trades", *PART, trades([1]))
    lake.append("trades", *PART, trades([2]))
    lake.compact("trades", *PART)
    folder = lake.folder("trades", *PART)
    assert len(parts.numbered(folder)) == 1, "a reader may still have it"
    lake.write("trades", *PART, trades([7]))
    assert lake.read("trades", *PART)["trade_id"].to_list() == [7]
    lake.append("trades", *PART, trades([8]))
    assert lake.read("trades", *PART)["trade_id"].to_list() == [7, 8]
    old = time.time() - 2 * parts.GRACE_S
    os.utime(lake.path("trades", *PART), (old, old))
    lake.compact("trades", *PART)
    assert {epoch for epoch, _, _ in parts.numbered(folder)} == {1}, "the part of the epoch before is gone"
    assert lake.read("trades", *PART)["trade_id"].to_list() == [7, 8]


def test_many_parts_are_compacted_by_the_way(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for i in range(MOST_PARTS + 5):
        lake.append("trades", *PART, trades([i]))
    assert len(lake.files("trades", *PART)) < 8
    assert lake.read("trades", *PART)["trade_id"].to_list() == list(range(MOST_PARTS + 5))


def test_a_pin_holds_still(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("trades", *PART, trades([1]))
    lake.append("trades", *PART, trades([2]))
    with lake.pinned(*PART, tables=["trades", "quotes"]) as pin:
        lake.compact("trades", *PART)
        lake.write("trades", *PART, trades([9]))
        assert sorted(pl.read_parquet(f"{pin}/trades/*/*/part*.parquet")["trade_id"]) == [1, 2]
    assert list((tmp_path / ".staging").iterdir()) == []


def test_compacted_files_are_sorted_snappy_and_have_statistics(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    n = ROW_GROUP + 1000
    lake.append("trades", *PART, trades(list(range(n, 2 * n))))
    lake.append("trades", *PART, trades(list(range(n))))
    lake.compact("trades", *PART)
    file = pq.ParquetFile(lake.path("trades", *PART))
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    assert max(group.num_rows for group in groups) <= ROW_GROUP
    seq = [group.column(0) for group in groups]
    assert {column.compression for column in seq} == {"SNAPPY"}
    ranges = [(column.statistics.min, column.statistics.max) for column in seq]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2 * n - 1
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["append", "write", "compact"]), st.lists(st.integers(0, 30), max_size=6))))
def test_any_sequence_is_what_a_dict_would_hold(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int]]]
) -> None:
    lake, wanted = Lake(tmp_path_factory.mktemp("lake")), dict[int, int]()
    for price, (what, ids) in enumerate(steps, 1):
        fresh = sorted(set(ids))
        if what == "write":
            lake.write("trades", *PART, trades(fresh, price))
            wanted = dict.fromkeys(fresh, price)
        elif what == "append":
            lake.append("trades", *PART, trades(fresh, price))
            wanted = dict.fromkeys(fresh, price) | wanted
        else:
            lake.compact("trades", *PART, grace_s=0)
        if lake.exists("trades", *PART):
            found = lake.read("trades", *PART)
            assert dict(zip(found["trade_id"], found["price"], strict=True)) == wanted
            assert found["trade_id"].to_list() == sorted(wanted)


def test_keys_of_any_kind(tmp_path: Path) -> None:
    lake, spec = Lake(tmp_path), TABLES["instrument_sightings"]
    row = {name: (True if kind == "Boolean" else 1) for name, kind in spec.columns.items()}
    rows = [row | {"market": market, "source": "b"} for market in ("a:A", "m:M", "z:Z")]
    frame = pl.DataFrame(rows, schema=spec.schema())
    for part in (frame[:1], frame, frame[1:]):
        lake.append("instrument_sightings", "", "", part)
    assert lake.read("instrument_sightings")["market"].to_list() == ["a:A", "m:M", "z:Z"]
