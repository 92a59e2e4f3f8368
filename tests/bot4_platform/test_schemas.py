"""Schemas of the lake only grow: what was is kept, what is new is read as null or its default from older files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bot4_platform import schemas
from bot4_platform.lake import Lake
from bot4_platform.schemas import SchemaError
from bot4_platform.tables import TABLES, Table

PART = ("2024-08-08", "binance_usdm:BTCUSDT")
V1 = Table("numbers", {"id": "Int64", "price": "Int64"}, ("id",), ("id",))
V2 = dataclasses.replace(
    V1, columns=V1.columns | {"lots": "Int64", "venue": "String"}, since={"lots": 2, "venue": 2}, defaults={"lots": 7}
)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "lake_schemas.json"


def test_the_tables_only_grow(golden: Callable[[str, Any], None]) -> None:
    """RENEW_GOLDEN=1 takes in tables and columns that are new; what was there before is held all the same."""
    now = {name: schemas.described(spec) for name, spec in TABLES.items()}
    known = json.loads(GOLDEN.read_text())
    for name, before in known.items():
        assert name in now, f"the table {name} is gone"
        schemas.check_growth(name, before, now[name])
    golden(GOLDEN.name, now)


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Table], None]:
    return lambda spec: monkeypatch.setitem(TABLES, "numbers", spec)


def test_old_files_have_nulls_and_defaults_in_new_columns(tmp_path: Path, declare: Callable[[Table], None]) -> None:
    lake = Lake(tmp_path)
    declare(V1)
    lake.write("numbers", *PART, pl.DataFrame({"id": [1], "price": [10]}))
    declare(V2)
    lake.append("numbers", *PART, pl.DataFrame({"id": [2], "price": [20], "lots": [5], "venue": ["kraken"]}))
    wanted = [(1, 10, 7, None), (2, 20, 5, "kraken")]
    assert lake.read("numbers", *PART).rows() == wanted
    assert lake.read("numbers", *PART, columns=["venue"]).rows() == [(None,), ("kraken",)]
    assert lake.read("numbers", *PART, columns=["lots", "id"]).rows() == [(7, 1), (5, 2)]
    lake.compact("numbers", *PART)
    assert lake.read("numbers", *PART).rows() == wanted
    kept = json.loads((tmp_path / "numbers" / "schema.json").read_text())
    assert kept["version"] == 2
    assert [column[0] for column in kept["columns"]] == ["id", "price", "lots", "venue"]
    assert pl.read_parquet_metadata(lake.path("numbers", *PART))["bot4.schema_version"] == "2"


def grown(**columns: str) -> dict[str, str]:
    return V1.columns | columns


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (dataclasses.replace(V1, columns={"id": "Int64"}), "price is gone"),
        (dataclasses.replace(V1, columns={"id": "Int64", "cost": "Int64"}), "price is gone"),
        (dataclasses.replace(V1, columns={"id": "Int64", "price": "Float64"}), "was Int64 and is Float64"),
        (dataclasses.replace(V1, columns={"price": "Int64", "id": "Int64"}), "was moved"),
        (dataclasses.replace(V1, columns={"id": "Int64", "x": "Int64", "price": "Int64"}, since={"x": 2}), "was moved"),
        (dataclasses.replace(V1, columns=grown(x="Int64")), r'since=\{"x": 2\}'),
        (dataclasses.replace(V1, columns=grown(x="Int64"), since={"x": 2, "price": 2}), "is of version 1"),
    ],
)
def test_anything_else_is_refused_before_it_is_written(
    tmp_path: Path, declare: Callable[[Table], None], after: Table, why: str
) -> None:
    lake = Lake(tmp_path)
    declare(V1)
    lake.write("numbers", *PART, pl.DataFrame({"id": [1], "price": [10]}))
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    declare(after)
    with pytest.raises(SchemaError, match=why):
        lake.write("numbers", *PART, after.empty())
    declare(V1)
    assert lake.read("numbers", *PART).rows() == [(1, 10)]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_an_earlier_program_reads_a_later_lake_but_does_not_write_it(
    tmp_path: Path, declare: Callable[[Table], None]
) -> None:
    lake = Lake(tmp_path)
    declare(V2)
    lake.write("numbers", *PART, pl.DataFrame({"id": [1], "price": [2], "lots": [3], "venue": [None]}, V2.schema()))
    declare(V1)
    assert lake.read("numbers", *PART).rows() == [(1, 2)]
    with pytest.raises(SchemaError, match="version 2 of its schema, this program knows 1"):
        lake.write("numbers", *PART, V1.empty())


def test_doubles_under_integers_are_found_when_read(tmp_path: Path, declare: Callable[[Table], None]) -> None:
    lake = Lake(tmp_path)
    declare(V1)
    path = lake.path("numbers", *PART)
    path.parent.mkdir(parents=True)
    pl.DataFrame({"id": [1], "price": [10.0]}).write_parquet(path)
    with pytest.raises(SchemaError, match="price of numbers is Float64 there, not Int64"):
        lake.read("numbers", *PART)


def test_unknown_columns_are_named(tmp_path: Path, declare: Callable[[Table], None]) -> None:
    lake = Lake(tmp_path)
    declare(V1)
    lake.write("numbers", *PART, V1.empty())
    with pytest.raises(ValueError, match="no column prize; there are id, price"):
        lake.read("numbers", *PART, columns=["prize"])
