"""The as-of join against a brute force that reads like the definition."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.feature_store.asof import CREATED, EVENT, TIME, asof

KEYS = st.sampled_from(["a", "b"])
TIMES = st.integers(0, 12)
EVENTS = st.lists(st.tuples(KEYS, TIMES, TIMES, st.one_of(st.none(), st.integers(0, 99))), max_size=30)
ROWS = st.lists(st.tuples(KEYS, TIMES), max_size=20)


def brute(
    rows: list[tuple[str, int]], events: list[tuple[str, int, int, int | None]], ttl: int, honour: bool
) -> list[int | None]:
    out = []
    for key, time in rows:
        known = [
            (event, created, place, value)
            for place, (k, event, created, value) in enumerate(events)
            if k == key and event <= time and (created <= time or not honour)
        ]
        best = max(known, key=lambda found: found[:3], default=None)
        out.append(None if best is None or (ttl and time - best[0] > ttl) else best[3])
    return out


@settings(max_examples=400, deadline=None)
@given(rows=ROWS, events=EVENTS, ttl=st.sampled_from([0, 1, 4]), honour=st.booleans())
def test_equals_the_definition(
    rows: list[tuple[str, int]], events: list[tuple[str, int, int, int | None]], ttl: int, honour: bool
) -> None:
    left = pl.DataFrame(rows, schema={"key": pl.String, TIME: pl.Int64}, orient="row")
    schema = {"key": pl.String, EVENT: pl.Int64, CREATED: pl.Int64, "value": pl.Int64}
    right = pl.DataFrame(events, schema=schema, orient="row")
    found = asof(left, right, ["key"], ["value"], ttl_ns=ttl, honour_created=honour)
    assert found["value"].to_list() == brute(rows, events, ttl, honour)


def test_a_late_row_is_not_taken_from_the_future() -> None:
    left = pl.DataFrame({"key": ["a"] * 3, TIME: [10, 20, 30]})
    right = pl.DataFrame({"key": ["a", "a"], EVENT: [5, 8], CREATED: [5, 25], "value": [1.0, 2.0]})
    assert asof(left, right, ["key"], ["value"], honour_created=True)["value"].to_list() == [1.0, 1.0, 2.0]
    assert asof(left, right, ["key"], ["value"], honour_created=False)["value"].to_list() == [2.0, 2.0, 2.0]
