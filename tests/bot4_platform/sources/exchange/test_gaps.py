"""Gaps with a known answer: generated ones, and those of real candles with 538 of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.commands.history import command
from bot4_platform.lake import Lake
from bot4_platform.sources.exchange.backfill import backfill
from bot4_platform.sources.exchange.client import HistoryClient
from bot4_platform.sources.exchange.gaps import MINUTE_NS, Gap, Question, find_gaps, judge, report
from tests.local_exchange import MARKET, local_exchange

GAPS, MINUTES = 538, 717  # what SOURCES.md and a plain difference of neighbours say of gappy_1m.feather


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_generated_gaps_are_found_to_the_minute(there: list[bool]) -> None:
    minutes = [n * MINUTE_NS for n, is_there in enumerate(there) if is_there]
    found = list(find_gaps(minutes, 0, len(there) * MINUTE_NS))
    lacking = {n * MINUTE_NS for n, is_there in enumerate(there) if not is_there}
    spanned = [at for first, last in found for at in range(first, last + 1, MINUTE_NS)]
    assert sorted(lacking) == spanned
    for (_, last), (first, _) in pairwise(found):
        assert first > last + MINUTE_NS, "neighbours are one gap"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["there", "venue", "lost", "spoiled"]), min_size=3, max_size=120),
    st.booleans(),
)
def test_causes_by_what_a_second_question_says(kinds: list[str], late: bool) -> None:
    """Minutes that we lost come with the second answer; those the venue lacks do not; spoiled ones stay spoiled."""
    at = {kind: {n * MINUTE_NS for n, one in enumerate(kinds) if one == kind} for kind in set(kinds)}
    span = (0, len(kinds) * MINUTE_NS)
    spoiled = frozenset(at.get("spoiled", set()))
    first = judge(at.get("there", set()), *span, [], Question(10**12, 10**10, spoiled))
    assert {gap.cause for gap in first} <= {"unconfirmed", "quarantined"}
    second_ns = 10**12 + (10**10 if late else 1)
    have = at.get("there", set()) | (at.get("lost", set()) if late else set())  # what is not asked for does not come
    second = judge(have, *span, first, Question(second_ns, 10**10, spoiled))
    by_minute = {minute: gap for gap in second for minute in gap.span()}
    assert set(by_minute) == {n * MINUTE_NS for n in range(len(kinds))} - have
    for minute, gap in by_minute.items():
        wanted = "quarantined" if minute in spoiled else "venue" if late else "unconfirmed"
        assert gap.cause == wanted
        again = late or minute in spoiled
        assert (gap.asked, gap.last_asked_ns) == ((2, second_ns) if again else (1, 10**12))


def test_a_confirmed_gap_stays_confirmed() -> None:
    known = [Gap(0, MINUTE_NS, "venue", 2, 5, 6)]
    (gap,) = judge([], 0, 2 * MINUTE_NS, known, Question(16, 10))
    assert (gap.cause, gap.asked, gap.minutes) == ("venue", 3, 2)


@pytest.mark.capture
def test_all_gaps_of_real_candles_are_reported_and_none_is_filled(
    shared_data: Path, tmp_path: Path, connect: Callable[..., HistoryClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the exchange, ccxt and the lake. Prices, in units of 1e-5, and volumes are rounded to BTCUSDT's."""
    frame = pl.read_ipc(shared_data / "candles" / "gappy_1m.feather").sort("date")
    file = tmp_path / "gappy.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        for when, *prices, volume in frame.select("date", "open", "high", "low", "close", "volume").iter_rows():
            writer.writerow([int(when.timestamp() * 1000), *(f"{p * 1e5:.1f}" for p in prices), f"{volume:.3f}"])
    lake = Lake(tmp_path / "var" / "paper" / "lake")
    days = [f"2017-11-{day:02}" for day in range(4, 15)]
    with local_exchange(candles=file) as server:
        backfill(lake, connect(server.rest_url), MARKET, days, ["candles"])
    stored = lake.read("history_candles_1m", None, MARKET)
    assert stored["minute_ns"].to_list() == frame["date"].dt.epoch("ns").to_list(), "not one more, not one less"
    found = report(lake, MARKET)
    assert (len(found.gaps), found.minutes) == (GAPS, MINUTES)
    steps = frame["date"].dt.epoch("ns").diff().drop_nulls()
    assert [gap.minutes for gap in found.gaps] == [step // MINUTE_NS - 1 for step in steps if step > MINUTE_NS]
    monkeypatch.setenv("BOT4_VAR", str(tmp_path / "var"))
    told = json.loads(CliRunner().invoke(command, ["gaps", "--json"]).stdout)
    assert (len(told["gaps"]), told["minutes"], told["unasked_days"]) == (GAPS, MINUTES, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOT4_REST_URL", "http://127.0.0.1:9")
        refused = CliRunner().invoke(command, ["fetch", "--days", "1"])
    assert refused.exit_code == 1
    assert "asked at http://127.0.0.1:9, which is BOT4_REST_URL" in refused.output
    lines = CliRunner().invoke(command, ["gaps", "--most", "3"]).stdout.splitlines()
    assert lines[0].endswith(f"{GAPS} gaps, {MINUTES} minutes")
    assert len(lines) == 5
