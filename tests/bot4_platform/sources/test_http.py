"""The polite client against a real server that misbehaves."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable, off
from bot4_platform.sources.http import SourceClient, retry_after

from .conftest import Answer, Hands, Script

Client = Callable[..., SourceClient]


def test_a_page_and_its_exact_numbers(script: Script, client: Client) -> None:
    script.answers = [Answer(b'{"a": 0.1, "b": NaN}')]
    page = client().get(script.url + "/x", {"q": "1"})
    found = page.json(exact=True)
    assert found["a"] == Decimal("0.1")
    assert found["b"].is_nan()
    assert script.asked == ["/x?q=1"]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_what_fails_is_tried_again_with_growing_waits(
    script: Script, client: Client, hands: Hands, status: int
) -> None:
    script.answers = [*(Answer(b"", status) for _ in range(4)), Answer(b"[1]")]
    assert client(per_s=1000).get(script.url).json() == [1]
    waits = [wait for wait in hands.slept if wait > 0.001]
    assert len(waits) == 4
    for wait, step in zip(waits, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert step / 2 <= wait <= step


def test_the_longest_wait_is_kept_to(script: Script, client: Client, hands: Hands) -> None:
    script.answers = [Answer(b"", 500)]
    with pytest.raises(SourceUnavailable, match="after 20 attempts"):
        client(attempts=20, breaker_failures=100, longest_wait_s=2.0).get(script.url)
    assert 1.0 <= max(hands.slept) <= 2.0


@pytest.mark.parametrize("status", [418, 429])
def test_retry_after_is_honoured(script: Script, client: Client, hands: Hands, status: int) -> None:
    script.answers = [Answer(b"", status, {"Retry-After": "17"}), Answer(b"[]")]
    began = hands.now
    client().get(script.url)
    assert 17 <= hands.now - began < 18
    assert len(script.asked) == 2


def test_a_silence_too_long_ends_the_run_and_is_kept_by_the_next_client(
    script: Script, client: Client, hands: Hands
) -> None:
    script.answers = [Answer(b"", 418, {"Retry-After": "7200"}), Answer(b"[]")]
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match="wants no request for"):
            client().get(script.url)
    assert len(script.asked) == 1
    hands.now += 7200
    assert client().get(script.url).json() == []


def test_the_breaker_opens_after_five_failures_for_five_minutes(script: Script, client: Client, hands: Hands) -> None:
    script.answers = [Answer(b"", 500)]
    with pytest.raises(SourceUnavailable, match=r"5 times in a row \(HTTP 500\)"):
        client().get(script.url)
    assert len(script.asked) == 5
    with pytest.raises(SourceUnavailable, match="asked again in"):
        client().get(script.url)
    assert len(script.asked) == 5
    hands.now += 300
    with pytest.raises(SourceUnavailable):  # one trial, and it is open again
        client().get(script.url)
    assert len(script.asked) == 6
    hands.now += 300
    script.answers = [Answer(b"[2]")]
    assert client().get(script.url).json() == [2]


def test_nobody_listening_is_unavailable_without_the_query(client: Client) -> None:
    with pytest.raises(SourceUnavailable) as error:
        client(attempts=2).get("http://127.0.0.1:9/x", {"api_key": "hush"})
    assert "127.0.0.1:9" in str(error.value)
    assert "hush" not in repr(error.value) + repr(error.value.__cause__)


def test_a_refusal_is_not_repeated_and_shows_no_key(script: Script, client: Client) -> None:
    script.answers = [Answer(b"no", 401)]
    with pytest.raises(SourceRefused, match="401") as error:
        client().get(script.url, {"api_key": "hush"}, {"Authorization": "Bearer hush"})
    assert len(script.asked) == 1
    assert error.value.status == 401
    assert "hush" not in str(error.value)


def test_the_pace_of_a_host_is_shared(script: Script, client: Client, hands: Hands) -> None:
    script.answers = [Answer(b"[]")]
    one, two = client(per_s=4), client(per_s=4)
    began = hands.now
    for _ in range(4):
        one.get(script.url)
        two.get(script.url)
    assert hands.now - began == pytest.approx(7 / 4)


def endless(out: Any) -> None:
    for _ in range(10_000):
        out.write(b"[" * 65_536)


def test_an_enormous_page_is_cut_off(script: Script, client: Client) -> None:
    script.answers = [Answer(endless)]
    with pytest.raises(BadPage, match="larger than 1 MiB") as error:
        client(page_mb=1).get(script.url)
    assert error.value.rule == "too_large"
    assert len(error.value.raw) == 65_536


def test_a_page_that_sends_elsewhere_is_not_read(script: Script, client: Client) -> None:
    taken: list[bool] = []

    def whole(out: Any) -> None:
        endless(out)
        taken.append(True)

    script.by_path = {"/old": [Answer(whole, 301, {"Location": "/new"})], "/new": [Answer(b"[5]")]}
    assert client(page_mb=1).get(script.url + "/old").json() == [5]
    assert (script.asked, taken) == (["/old", "/new"], [])


def test_a_small_page_that_unpacks_to_a_large_one_is_cut_off(script: Script, client: Client) -> None:
    script.answers = [Answer(gzip.compress(bytes(8 << 20)), headers={"Content-Encoding": "gzip"})]
    with pytest.raises(BadPage, match="larger"):
        client(page_mb=1).get(script.url)


def dripping(out: Any) -> None:
    for _ in range(3000):
        out.write(b"[")
        out.flush()
        time.sleep(0.01)


def test_a_page_that_drips_is_given_up(script: Script, client: Client) -> None:
    script.answers = [Answer(dripping)]
    began = time.monotonic()
    with pytest.raises(BadPage, match=r"took longer than 0\.2 s") as error:
        client(page_s=0.2).get(script.url)
    assert error.value.rule == "too_slow"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("headers", [{"Content-Length": "1000"}, {"Transfer-Encoding": "chunked"}])
def test_a_page_that_breaks_off_is_asked_for_again(script: Script, client: Client, headers: dict[str, str]) -> None:
    script.answers = [Answer(lambda out: out.write(b"a\r\n[1, 2"), headers=headers), Answer(b"[3]")]
    assert client().get(script.url).json() == [3]
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"<!DOCTYPE html><html><body>We are down</body></html>", "html"),
        (b"  <html>", "html"),
        (b'{"a": ', "not_json"),
        (b"", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[" * 100_000, "not_json"),
    ],
    ids=["html", "indented-html", "cut", "empty", "binary", "deep"],
)
def test_what_is_no_json_is_a_bad_page(script: Script, client: Client, body: bytes, rule: str) -> None:
    script.answers = [Answer(body)]
    page = client().get(script.url)
    with pytest.raises(BadPage) as error:
        page.json()
    assert error.value.rule == rule
    assert error.value.raw == body[:65_536]


def test_retry_after_in_both_forms() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < (retry_after({"Retry-After": format_datetime(at, usegmt=True)}) or 0) <= 90
    assert retry_after({"Retry-After": "3"}) == 3
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None
    assert 80 < (retry_after({"X-RateLimit-Reset": at.isoformat()}) or 0) <= 90
    assert retry_after({"X-RateLimit-Reset": "1700000000"}) is None


def test_the_line_for_a_source_without_its_key() -> None:
    line = str(off("news", "example", "BOT4_PLATFORM__SOURCES__NEWS__KEY"))
    assert line == "news source example is off: set BOT4_PLATFORM__SOURCES__NEWS__KEY; nothing else is affected"
