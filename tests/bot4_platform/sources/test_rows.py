"""Rows are checked one by one; rejected ones are kept; state neither loses nor doubles."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.lake import Lake
from bot4_platform.settings import PlatformSettings, platform_settings
from bot4_platform.sources.publication import Publication
from bot4_platform.sources.quarantine import TABLE, quarantine
from bot4_platform.sources.state import Cursor, add_rows
from bot4_platform.sources.validation import Rejected, check_rows
from bot4_platform.tables import TABLES

NOW = 1_723_075_200_000_000_000


class Row(msgspec.Struct):
    """A row as a source might send it."""

    at: int
    price: Decimal
    change: Annotated[float, msgspec.Meta(extra={"signed": True})] = 0.0
    share: Annotated[float, msgspec.Meta(le=1)] = 0.0


def check(*rows: object) -> tuple[list[Row], list[str]]:
    found = check_rows(rows, Row, now_ns=NOW, event_ns=lambda row: row.at)
    return found.rows, [item.rule for item in found.rejected]


def test_each_bad_row_has_its_rule_and_the_rest_stays() -> None:
    good = {"at": NOW, "price": "1.5", "change": -0.1, "more": "than we read"}
    rows, rules = check(
        good,
        {"at": NOW},  # a field is gone
        {"at": str(NOW), "price": "1"},  # another type
        {"at": NOW, "price": "NaN"},
        {"at": NOW, "price": "1", "change": float("inf")},
        {"at": NOW, "price": "-1"},
        {"at": NOW, "price": "1", "share": 1.5},
        {"at": NOW + 6 * 10**9, "price": "1"},
        {"at": 10**30, "price": "1"},
        ["a", "list"],
        None,
        good,
    )
    assert [row.price for row in rows] == [Decimal("1.5")] * 2
    assert rules == [
        "schema", "schema", "not_finite", "not_finite", "negative", "schema", "future", "future", "schema", "schema",
    ]  # fmt: skip


def test_a_rule_of_the_source() -> None:
    found = check_rows(
        [{"at": 1, "price": "0"}], Row, now_ns=NOW, event_ns=lambda row: row.at,
        rules=[lambda row: ("price", "a price of 0") if not row.price else None],
    )  # fmt: skip
    (bad,) = found.rejected
    assert (bad.rule, bad.reason, bad.raw) == ("price", "a price of 0", b'{"at": 1, "price": "0"}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["at", "price", "x"]), inner),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(JSON, max_size=6))
def test_whatever_comes_is_kept_or_rejected_and_never_raises(rows: list[object]) -> None:
    good, rules = check(*rows)
    assert len(good) + len(rules) == len(rows)


def test_the_quarantine_keeps_the_first_sight_of_each_and_bounds_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    bad = [Rejected("schema", "why " * 500, b"x" * 10_000), Rejected("future", "later", b"y")]
    assert quarantine(lake, "test", "2024-08-08", "test:ALL", [], now_ns=1) is None
    quarantine(lake, "test", "2024-08-08", "test:ALL", bad, now_ns=100)
    quarantine(lake, "test", "2024-08-08", "test:ALL", [*bad, Rejected("future", "later", b"z")], now_ns=200)
    quarantine(lake, "other", "2024-08-08", "test:ALL", bad[1:], now_ns=300)
    frame = lake.read(TABLE, "2024-08-08", "test:ALL")
    assert frame["first_seen"].to_list() == [100, 100, 200, 300]
    assert frame["id"].n_unique() == 4
    assert sorted(frame["raw"].bin.size().to_list()) == [1, 1, 1, 4096]
    assert frame["raw_bytes"].max() == 10_000
    assert frame["reason"].str.len_chars().max() == 500


def test_rows_are_added_once_and_keep_their_first_form(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = pl.DataFrame(
        [{"id": "a", "source": "s", "rule": "r", "reason": "", "raw": b"", "raw_bytes": 0, "first_seen": 1}],
        schema=TABLES[TABLE].schema(),
    )
    add_rows(lake, TABLE, "2024-08-08", "test:ALL", frame)
    again = add_rows(lake, TABLE, "2024-08-08", "test:ALL", frame.with_columns(first_seen=pl.lit(9, pl.Int64)))
    assert again.rows == 1
    assert lake.read(TABLE)["first_seen"].to_list() == [1]


def test_a_cursor_moves_whole(tmp_path: Path) -> None:
    cursor = Cursor.of(Lake(tmp_path), "news:ALL")
    assert cursor.read() == {}
    cursor.move({"etag": "x"})
    assert Cursor.of(Lake(tmp_path), "news:ALL").read() == {"etag": "x"}
    cursor.path.write_text("torn")
    with pytest.raises(ValueError, match="does not hold a JSON object"):
        cursor.read()


@given(st.integers(0, 10**18), st.integers(0, 10**18), st.integers(0, 10**15), st.booleans())
def test_nothing_is_known_before_it_happened(event: int, arrival: int, lag: int, backfill: bool) -> None:
    known = Publication(lag, "test").created_ns(event, arrival, backfill=backfill)
    assert known >= event
    assert known in (event, event + lag, arrival)
    with pytest.raises(ValueError, match="not negative"):
        Publication(-1, "test")


def test_settings_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES__HTTP__PER_S", "2.5")
    assert PlatformSettings().sources.http.per_s == 2.5
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES__HTTP__PER_SECOND", "2.5")
    platform_settings.cache_clear()
    with pytest.raises(ValueError, match="unknown setting BOT4_PLATFORM__SOURCES__HTTP__PER_SECOND"):
        platform_settings()
    monkeypatch.delenv("BOT4_PLATFORM__SOURCES__HTTP__PER_SECOND")
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES", "{")
    with pytest.raises(ValueError, match="is not JSON"):
        platform_settings()
    platform_settings.cache_clear()
