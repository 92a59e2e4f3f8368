"""Posts of a day: pages forwards, limits, nonsense, spam that never knows the future, sentiment without a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.lake import Lake
from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.http import Page, SourceClient
from bot4_platform.sources.local.http import HTML, Reply
from bot4_platform.sources.local.mastodon import MastodonServer, Post, _status, make_posts
from bot4_platform.sources.sentiment import NoModel, lexicon, scorer
from bot4_platform.sources.social.day import SCOPE, TABLE, SocialResult, read_day
from bot4_platform.sources.social.mastodon import Status, first_id, parse_page
from bot4_platform.sources.social.settings import SocialSettings
from bot4_platform.sources.social.spam import Spam

DAY = "2024-08-08"
START_S = 1_723_075_200
NOW_NS = (START_S + 10 * 86_400) * 10**9
POSTS = make_posts(1, START_S - 1800, 260, every_s=400)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def read(lake: Lake, client: SourceClient, server: MastodonServer, **changed: Any) -> SocialResult:
    wanted = SocialSettings(url=server.url, tags=("bitcoin", "ethereum", "crypto"), **changed)
    return read_day(lake, client, wanted, DAY, now=lambda: NOW_NS)


def todays(posts: list[Post]) -> list[str]:
    return sorted(str(one.id) for one in posts if 0 <= one.time.timestamp() - START_S < 86_400)


def stored(lake: Lake) -> list[str]:
    return sorted(name.rpartition(":")[2] for name in lake.read(TABLE, DAY, SCOPE)["id"])


def test_every_post_of_the_day_once(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS) as server:
        result = read(lake, client(), server)
        assert stored(lake) == todays(POSTS)
        assert result.pages > 5
        frame = lake.read(TABLE, DAY, SCOPE)
        assert ((frame["created_ns"] - frame["event_ns"]) == 60 * 10**9).all()
        assert frame["author"].str.len_chars().unique().to_list() == [16]
        assert not any("user" in author for author in frame["author"])
        assert frame.filter(frame["text"].str.contains("bullish"))["sentiment"].min() > 0.5
        assert frame.filter(frame["text"].str.contains("crashing"))["sentiment"].max() < -0.5
        assert set(frame.filter(frame["text"].str.contains("FREE"))["spam"].str.split(",").list.first()) <= {
            "links",
            "copy",
        }
        before, asked = lake.path(TABLE, DAY, SCOPE).read_bytes(), len(server.seen)
        again = read(lake, client(), server)
        assert (again.added, len(server.seen) - asked) == (0, 3)
        assert lake.path(TABLE, DAY, SCOPE).read_bytes() == before


def test_a_run_that_stops_is_gone_on_with(lake: Lake, tmp_path: Path, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS) as server:
        whole = Lake(tmp_path / "whole")
        read(whole, client(), server)
        answer, count = server.answer, len(server.seen)
        server.answer = lambda request: answer(request) if len(server.seen) - count < 4 else Reply(b"", 502)  # type: ignore[method-assign]
        with pytest.raises(SourceUnavailable):
            read(lake, client(attempts=2, breaker_failures=50), server)
        assert 0 < len(stored(lake)) < len(todays(POSTS))
        server.answer = answer  # type: ignore[method-assign]
        read(lake, client(), server)
        assert lake.path(TABLE, DAY, SCOPE).read_bytes() == whole.path(TABLE, DAY, SCOPE).read_bytes()


def test_pages_are_bounded_and_the_next_run_goes_on(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS) as server:
        runs = 0
        while read(lake, client(), server, most_pages=1).added:
            runs += 1
        assert runs > 2
        assert stored(lake) == todays(POSTS)


def test_a_day_that_retention_took_is_read_again(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS) as server:
        read(lake, client(), server)
        lake.path(TABLE, DAY, SCOPE).unlink()
        read(lake, client(), server)
        assert stored(lake) == todays(POSTS)


def test_the_server_s_limit_is_waited_for(lake: Lake, client: Callable[..., SourceClient], hands: Any) -> None:
    with MastodonServer(POSTS) as server:
        server.fail_next(server.refusal())
        read(lake, client(), server)
        assert stored(lake) == todays(POSTS)
        assert 0.4 < max(hands.slept) < 3  # until X-RateLimit-Reset


def test_a_server_for_users_only_is_said_so(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS, token="sesame") as server:
        with pytest.raises(SourceRefused, match="SOURCES__SOCIAL__TOKEN") as caught:
            read(lake, client(), server, token="wrong-token")
        assert "wrong-token" not in str(caught.value)
        assert read(lake, client(), server, token="sesame").rows > 0


GOOD = _status(POSTS[10])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"id": 5}, "schema"), ({"id": "x"}, "schema"), ({"id": "9" * 30}, "schema"),
        ({"id": "9" * 19}, "future"), ({"id": "9" * 19, "content": None}, "schema"),
        ({"created_at": "NaN"}, "not_finite"), ({"created_at": "2094-01-01T00:00:00Z"}, "future"),
        ({"created_at": "2024-08-08T99:00:00Z"}, "schema"),
        ({"content": None}, "schema"), ({"tags": "none"}, "schema"), ({"account": None}, "schema"),
        ({"account": GOOD["account"] | {"followers_count": -1}}, "schema"),
        ({"account": GOOD["account"] | {"followers_count": float("nan")}}, "schema"),
        ({"account": GOOD["account"] | {"acct": ""}}, "schema"),
    ],
)  # fmt: skip
def test_a_bad_post_is_rejected_and_its_neighbour_stays(change: dict[str, Any], rule: str) -> None:
    page = Page(json.dumps([GOOD | change, GOOD]).encode(), 200, {})
    posts, rejected, newest = parse_page(page, NOW_NS)
    assert [item.rule for item in rejected] == [rule]
    assert [post.id for post in posts] == [GOOD["id"]]
    assert newest == int(GOOD["id"])


def test_what_is_rejected_is_in_the_quarantine(lake: Lake, client: Callable[..., SourceClient]) -> None:
    with MastodonServer(POSTS[:60]) as server:
        server.extra = [GOOD | {"content": None}]
        read(lake, client(), server)
        assert stored(lake) == todays(POSTS[:60])
        quarantined = lake.read("source_quarantine", DAY)
        assert quarantined["rule"].to_list() == ["schema"]
        assert quarantined["raw_bytes"][0] > 100


@pytest.mark.parametrize(
    ("reply", "rule"),
    [(HTML, "html"), (Reply(b'{"error":"x"}'), "schema"), (Reply(b"[" + b"1," * 100 + b"1]"), "too_large"),
     (Reply(b"[" + b" " * 300_000 + b"]"), "too_large"), (Reply(b"[{]"), "not_json")],
)  # fmt: skip
def test_a_page_that_is_none_is_quarantined(
    lake: Lake, client: Callable[..., SourceClient], reply: Reply, rule: str
) -> None:
    with MastodonServer(POSTS[:50]) as server:
        server.fail_next(reply)
        with pytest.raises(BadPage):
            read(lake, client(page_mb=0.2), server)
        assert lake.read("source_quarantine", DAY)["rule"].to_list() == [rule]
        read(lake, client(), server)
        assert stored(lake) == todays(POSTS[:50])


JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=4),
    max_leaves=6,
)


@given(JSON, st.sampled_from(sorted(GOOD)), JSON)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_is_posts_rejected_rows_or_a_bad_page(page: Any, name: str, value: Any) -> None:
    for content in (page, [page, GOOD | {name: value}]):
        try:
            posts, rejected, newest = parse_page(Page(msgspec.json.encode(content), 200, {}), NOW_NS)
        except BadPage:
            assert not isinstance(content, list)
        else:
            assert len(posts) + len(rejected) <= len(content)
            assert all(int(post.id) <= newest for post in posts)


def test_an_id_begins_its_day() -> None:
    assert first_id(START_S * 10**9) <= min(one.id for one in POSTS if one.time.timestamp() >= START_S)
    assert first_id(START_S * 10**9) > max(one.id for one in POSTS if one.time.timestamp() < START_S)


def as_status(text: str, author: str, at: int, **account: Any) -> Status:
    post = Post(first_id((START_S + at) * 10**9), datetime.fromisoformat("2024-08-08T00:00:00+00:00"), author, text)
    raw = _status(post)
    return msgspec.convert(raw | {"account": raw["account"] | account}, Status)


def test_spam_is_what_its_rules_say() -> None:
    judge = Spam()

    def reasons(text: str, author: str = "a", **account: Any) -> list[str]:
        return judge.reasons(as_status(text, author, 0, **account), author, text)

    assert reasons("a sober thought about #bitcoin") == []
    assert reasons("see https://a.example", "new", created_at="2024-08-07T20:00:00Z", followers_count=1) == ["young"]
    assert reasons("one more thought", "robot", bot=True) == ["bot"]
    assert reasons("#a1 #a2 #a3 #a4 #a5 #a6 #a7 #a8 #a9 tags") == ["hashtags"]
    assert reasons("links https://a.example https://b.example https://c.example") == ["links"]
    assert [reasons("win tokens now", f"w{i}") for i in range(4)] == [[], [], ["copy"], ["copy"]]
    assert [bool(reasons(f"thought {'x' * i} {'y' * i}", "loud")) for i in range(3, 25)] == [False] * 20 + [True] * 2


def test_the_lexicon_knows_traders() -> None:
    score = lexicon().score
    assert score(["bullish breakout, new ATH!"])[0] > 0.5
    assert score(["rekt, the exchange was hacked"])[0] < -0.5
    assert score(["The office opens at nine."]) == [0.0]
    assert score(["not bullish"])[0] < 0 < score(["bullish"])[0]
    assert score([]) == []
    assert scorer(None).name == "vader"


@given(st.text(max_size=200))
@settings(max_examples=25, deadline=None)
def test_every_text_has_a_score(text: str) -> None:
    assert -1 <= lexicon().score([text])[0] <= 1


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoModel, match=r"no config\.json"):
        scorer(tmp_path / "none")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(NoModel, match="only safetensors"):
        scorer(folder)
    (folder / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)  # as where it is not installed
    with pytest.raises(NoModel, match="transformers is not installed"):
        scorer(folder)
