"""Macro series: nothing before its release instant, revisions as vintages, what was known at any time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceRefused, SourceUnavailable
from bot4_platform.sources.http import SourceClient
from bot4_platform.sources.local.alfred import AlfredServer, Vintage, make_series
from bot4_platform.sources.local.http import HTML, Reply
from bot4_platform.sources.macro.alfred import Alfred, parse_observations, release_instant
from bot4_platform.sources.macro.asof import known_at
from bot4_platform.sources.macro.day import OBSERVATIONS, RELEASES, SCHEDULE, MacroResult, read_day, scope
from bot4_platform.sources.macro.settings import MacroSettings, Series

NOW_NS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
CPI = Series(id="CPIAUCSL", at="08:30")
FIGURES = make_series(1, date(2024, 1, 1), 9)
KEY = "abcdef0123456789"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def read(lake: Lake, client: SourceClient, server: AlfredServer, day: str, now_ns: int = NOW_NS) -> MacroResult:
    series = tuple(Series(id=name, at="08:30") for name in server.series)
    alfred = Alfred(client, MacroSettings(url=server.url, key=KEY, series=series))
    return read_day(lake, alfred, day, now=lambda: now_ns)


def release_days(figures: list[Vintage]) -> list[date]:
    return sorted({one.start for one in figures})


def test_the_instant_follows_new_york_s_clock() -> None:
    winter, summer = release_instant(date(2024, 1, 11), "08:30"), release_instant(date(2024, 7, 11), "08:30")
    assert datetime.fromtimestamp(winter / 1e9, UTC).strftime("%H:%M") == "13:30"
    assert datetime.fromtimestamp(summer / 1e9, UTC).strftime("%H:%M") == "12:30"
    # The Sunday on which clocks go forward: 08:30 is already daylight saving.
    assert datetime.fromtimestamp(release_instant(date(2024, 3, 10), "08:30") / 1e9, UTC).strftime("%H:%M") == "12:30"


@pytest.mark.parametrize("cut", [True, False])
def test_what_was_known_is_what_stood_at_any_time(lake: Lake, client: Callable[..., SourceClient], cut: bool) -> None:
    with AlfredServer({"CPIAUCSL": FIGURES}, key=KEY, limit=None, cut=cut) as server:
        days = release_days(FIGURES)
        for day in (*days, days[3] + timedelta(1)):  # one day without a release
            result = read(lake, client(), server, day.isoformat())
            assert result.unscheduled == []
            assert result.rejected == 0
        instants = [release_instant(day, "08:30") for day in days]
        frame = lake.read(OBSERVATIONS, market=scope("CPIAUCSL"))
        assert frame.height == len(FIGURES)
        assert frame["id"].n_unique() == frame.height
        assert (frame["created_ns"] == frame["event_ns"]).all()
        for at in sorted({t + d for t in instants for d in (-1, 0, 10**9)}):
            known = known_at(lake, "CPIAUCSL", at)
            expected: dict[str, str] = {}
            for one in sorted(FIGURES, key=lambda one: one.start):
                if release_instant(one.start, "08:30") <= at:
                    expected[one.period.isoformat()] = one.value
            assert dict(known.select("period", "text").rows()) == expected
            assert known.filter(known["created_ns"] > at).height == 0


def test_a_second_run_changes_nothing(lake: Lake, client: Callable[..., SourceClient]) -> None:
    day = release_days(FIGURES)[2].isoformat()
    with AlfredServer({"CPIAUCSL": FIGURES}, key=KEY) as server:
        read(lake, client(), server, day)
        before = [
            lake.path(*where).read_bytes()
            for where in ((OBSERVATIONS, day, scope("CPIAUCSL")), (RELEASES, day, SCHEDULE))
        ]
        read(lake, client(), server, day)
        after = [
            lake.path(*where).read_bytes()
            for where in ((OBSERVATIONS, day, scope("CPIAUCSL")), (RELEASES, day, SCHEDULE))
        ]
        assert before == after


def test_nothing_is_believed_before_its_release(lake: Lake, client: Callable[..., SourceClient]) -> None:
    """A server that shows a figure at half past seven: it is quarantined, and read after the release."""
    day = release_days(FIGURES)[2]
    early = release_instant(day, "08:30") - 3600 * 10**9
    with AlfredServer({"CPIAUCSL": FIGURES}, key=KEY) as server:
        result = read(lake, client(), server, day.isoformat(), early)
        assert result.published["CPIAUCSL"] == []
        assert result.rejected == 2  # a new value and a revision
        assert lake.read(OBSERVATIONS, day.isoformat()).height == 0
        reasons = lake.read("source_quarantine", day.isoformat())["reason"].to_list()
        assert reasons == ["published before its release at 08:30 New York"] * 2
        later = read(lake, client(), server, day.isoformat(), early + 3601 * 10**9)
        assert len(later.published["CPIAUCSL"]) == 2


def test_the_schedule_has_the_day_s_releases(lake: Lake, client: Callable[..., SourceClient]) -> None:
    jobs = make_series(2, date(2024, 1, 1), 9, level=158_000)
    with AlfredServer(
        {"PAYEMS": jobs, "UNRATE": jobs, "GDPC1": make_series(3, date(2024, 1, 1), 3, lag_days=47)}, key=KEY
    ) as server:
        day = release_days(jobs)[4].isoformat()
        result = read(lake, client(), server, day)
        assert result.releases == {"Employment Situation": ["PAYEMS", "UNRATE"]}
        row = lake.read(RELEASES, day).row(0, named=True)
        assert (row["release"], row["series"]) == (50, "PAYEMS,UNRATE")
        assert row["event_ns"] == release_instant(date.fromisoformat(day), "08:30")


def test_a_value_published_as_missing_is_null(lake: Lake, client: Callable[..., SourceClient]) -> None:
    figures = [Vintage(date(2024, 6, 1), date(2024, 7, 11), ".")]
    with AlfredServer({"DGS10": figures}, key=KEY) as server:
        read(lake, client(), server, "2024-07-11")
        assert lake.read(OBSERVATIONS, "2024-07-11").select("text", "value").rows() == [(".", None)]


def test_a_wrong_key_is_said_so_and_not_shown(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with AlfredServer({"CPIAUCSL": FIGURES}, key="another") as server:
        with pytest.raises(SourceRefused, match="SOURCES__MACRO__KEY") as caught:
            read(lake, client(), server, "2024-07-11")
        assert KEY not in str(caught.value)
        assert KEY not in repr(MacroSettings(key=KEY))
    with pytest.raises(SourceUnavailable) as gone:
        read(lake, client(attempts=2), server, "2024-07-11")
    assert KEY not in str(gone.value)


def test_the_limit_of_requests_is_waited_for(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with AlfredServer({"CPIAUCSL": FIGURES}, key=KEY) as server:
        server.fail_next(server.refusal(), server.refusal())
        assert read(lake, client(), server, release_days(FIGURES)[0].isoformat()).failed == {}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"value": "NaN"}, "not_finite"), ({"value": "-Infinity"}, "not_finite"), ({"value": "1e400"}, "schema"),
        ({"value": "12,5"}, "schema"), ({"value": 3.1}, "schema"), ({"value": None}, "schema"),
        ({"date": "2094-01-01"}, "future"), ({"realtime_start": "2094-01-01", "realtime_end": "2094-01-02"}, "future"),
        ({"realtime_start": "soon"}, "schema"), ({"realtime_end": "1990-01-01"}, "schema"), ({"date": "-5"}, "schema"),
    ],
)  # fmt: skip
def test_a_bad_value_is_rejected_and_the_rest_stays(change: dict[str, Any], rule: str) -> None:
    good = {"realtime_start": "2024-07-11", "realtime_end": "2024-07-11", "date": "2024-06-01", "value": "-0.1"}
    found, bad = parse_observations(CPI, [good | change, good], date(2024, 7, 11), NOW_NS)
    assert [item.rule for item in bad] == [rule]
    assert [one.value for one in found] == [-0.1]


@pytest.mark.parametrize(
    ("reply", "rule"),
    [(HTML, "html"), (Reply(b'{"observations": {}}'), "schema"), (Reply(b"[]"), "schema"),
     (Reply(b'{"a": "' + b"x" * 300_000 + b'"}'), "too_large"),
     (Reply(json.dumps({"observations": [1] * 10_001}).encode()), "too_large")],
)  # fmt: skip
def test_a_page_that_is_none_is_quarantined_and_other_series_go_on(
    lake: Lake, client: Callable[..., SourceClient], reply: Reply, rule: str
) -> None:
    day = release_days(FIGURES)[2].isoformat()
    with AlfredServer({"GDPC1": FIGURES, "CPIAUCSL": FIGURES}, key=KEY) as server:
        server.fail_next(reply)
        result = read(lake, client(page_mb=0.2), server, day)
        assert list(result.failed) == ["GDPC1"]
        assert lake.read("source_quarantine", day)["rule"].to_list() == [rule]
        assert lake.read(OBSERVATIONS, day, scope("CPIAUCSL")).height == 2
        assert not lake.exists(OBSERVATIONS, day, scope("GDPC1"))


def test_pages_without_end_are_cut_off(lake: Lake, client: Callable[..., SourceClient]) -> None:
    row = {"realtime_start": "2024-07-11", "realtime_end": "2024-07-11", "date": "2024-06-01", "value": "1"}
    page = Reply(json.dumps({"observations": [row], "count": 10**9}).encode())
    with AlfredServer({"CPIAUCSL": FIGURES}, key=KEY) as server:
        server.fail_next(*[page] * 20)
        assert "more than 20 pages" in read(lake, client(), server, "2024-07-11").failed["CPIAUCSL"]


ODD = st.none() | st.integers() | st.floats() | st.text(max_size=12) | st.dates().map(str)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["realtime_start", "realtime_end", "date", "value"]), ODD) | ODD, max_size=4
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_is_a_value_of_the_day_or_not(raws: list[Any]) -> None:
    found, bad = parse_observations(CPI, raws, date(2024, 7, 11), NOW_NS)
    assert len(found) + len(bad) <= len(raws)
    assert all(one.vintage == date(2024, 7, 11) and one.period <= one.vintage for one in found)
