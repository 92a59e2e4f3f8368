"""Refused snapshots at the real exchange process: the feed waits as it was told, then its book is right again."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from bot4_live.events import HEADER, Kind, header_of
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.book import BOOK, book_apply, book_depth
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.public import PublicApi, stream_url
from bot4_live.market.stream import MarketStream
from bot4_live.safety.venue import SafetyVenue, VenueSilenced

pytestmark = pytest.mark.system

TOKEN = "for-tests"
LEVELS = 20


class Venue:
    """The running exchange."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.rest, self.ws = ready["rest"], ready["ws"]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.rest + path, timeout=10) as answer:
            return json.loads(answer.read())

    def post(self, path: str, **body: Any) -> Any:
        headers = {"X-Bot4-Token": TOKEN}
        request = urllib.request.Request(self.rest + path, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


@pytest.fixture
def venue() -> Iterator[Callable[..., Venue]]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Venue:
        command = [sys.executable, "-m", "bot4_live", "exchange", "--seed", "5", "--duration", "600", "--port", "0"]
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, text=True, env={"BOT4_EXCHANGE_TOKEN": TOKEN}
        )
        started.append(process)
        assert process.stdout is not None
        return Venue(process, json.loads(process.stdout.readline()))

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


class Follower:
    """A stream into a feed, and the book that its records make."""

    def __init__(self, venue: Venue, api: PublicApi) -> None:
        self.book = np.zeros(1, BOOK)[0]
        self.kinds: list[int] = []
        self.core = FeedCore(BTCUSDT_USDM, self._take)
        self.stream = MarketStream(self.core, stream_url(venue.ws, "BTCUSDT"), api.depth, time.time_ns)

    def _take(self, record: np.ndarray) -> None:
        kind = int(header_of(record)["kind"])
        self.kinds.append(kind)
        if kind == Kind.BOOK_TICKER:
            return  # it would overlay the levels that are to be compared
        book_apply(self.book, record[: HEADER.itemsize].view(HEADER)[0], record[64:].view(np.int64).reshape(-1, 2))

    def levels(self, side: int) -> list[tuple[int, int]]:
        out = np.zeros((LEVELS, 2), np.int64)
        n = book_depth(self.book, side, out, LEVELS)
        return [(int(price), int(qty)) for price, qty in out[:n]]


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def venue_levels(rows: list[list[str]]) -> list[tuple[int, int]]:
    return [(BTCUSDT_USDM.ticks(price), BTCUSDT_USDM.lots(qty)) for price, qty in rows]


@pytest.mark.parametrize(
    ("plan", "words", "least_s"),
    [
        # A ban would come with the third request during a silence: it does not, for none is sent.
        ({"refuse": 1.0, "refuse_path": "/fapi/v1/depth", "refuse_after_s": 1, "ban_after": 2}, "HTTP 429", 2.0),
        ({"ban_s": 2.0}, "HTTP 418", 2.0),
    ],
)
async def test_a_feed_whose_snapshots_are_refused_waits_and_is_right_again(
    venue: Callable[..., Venue], plan: dict[str, Any], words: str, least_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = venue()
    async with PublicApi(exchange.rest, "BTCUSDT") as api:
        follower = Follower(exchange, api)
        exchange.post("/bot4/faults", **plan)
        began = time.monotonic()
        running = asyncio.create_task(follower.stream.run())
        try:
            if "refuse" in plan:
                await until(lambda: follower.stream.counts.snapshot_failures >= 3, 30, "no refusal came")
                exchange.post("/bot4/faults")
            await until(lambda: follower.core.live, 30, "the book did not come back")
            elapsed = time.monotonic() - began
            assert elapsed >= least_s
            # One refusal a second was asked for; without waiting there would be several times as many.
            assert follower.stream.counts.snapshot_failures <= elapsed + 1
            assert words in caplog.text
            seen = len(follower.kinds)
            await until(lambda: len(follower.kinds) > seen + 200, 30, "the market stands still")
            exchange.post("/bot4/clock", paused=True)
            whole = exchange.get("/fapi/v1/depth?symbol=BTCUSDT&limit=20")
            await until(lambda: follower.core.last_update_id >= whole["lastUpdateId"], 10, "not all updates came")
        finally:
            follower.stream.stop()
            book = follower.levels(1), follower.levels(-1)
            await running
    assert book == (venue_levels(whole["bids"]), venue_levels(whole["asks"]))
    assert follower.kinds.count(Kind.DEPTH_SNAPSHOT) == 1
    assert follower.core.counts.stale.total() == 2, "stale at the start and at the end, and never between"


OTHER = """
import json, sys
from bot4_live.safety.venue import SafetyVenue, VenueSilenced
venue = SafetyVenue(sys.argv[1], "key", "secret")
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(json.dumps({"time": venue.sync_time()}), flush=True)
    except VenueSilenced as silenced:
        print(json.dumps({"wait_s": silenced.wait_s, "text": str(silenced)}), flush=True)
"""


def test_a_silence_told_to_one_process_is_kept_by_another(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, exchange.rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "ready\n"

        def ask() -> Any:
            print("ask", file=other.stdin, flush=True)
            return json.loads(other.stdout.readline())

        assert "time" in ask()
        # ban_after 1: would the other process ask at all during the silence, it would soon be banned.
        exchange.post("/bot4/faults", refuse=1.0, refuse_after_s=2, refuse_path="/fapi/v1/exchangeInfo", ban_after=1)
        mine = SafetyVenue(exchange.rest, "key", "secret")
        with pytest.raises(OSError, match="429"):
            mine.filters("BTCUSDT")
        told = time.monotonic()
        for _ in range(5):
            answer = ask()
            assert 0 < answer["wait_s"] <= 2.2
            assert "asked for silence (429)" in answer["text"]
            with pytest.raises(VenueSilenced):
                mine.sync_time()
        exchange.post("/bot4/faults")
        while "wait_s" in (answer := ask()):
            assert time.monotonic() - told < 20
            time.sleep(answer["wait_s"])
        assert time.monotonic() - told >= 1.9
        assert "time" in answer
        mine.sync_time()
        mine.close()
    finally:
        other.stdin.close()
        other.wait(10)
        other.stdout.close()


def test_a_fresh_exchange_at_the_same_address_is_not_barred(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    exchange.post("/bot4/faults", ban_s=600.0)
    client = SafetyVenue(exchange.rest, "key", "secret")
    for words in ("Way too many requests", "has banned this address"):
        with pytest.raises(OSError, match=words):
            client.sync_time()
    with pytest.raises(urllib.error.HTTPError) as refused:
        exchange.get("/fapi/v1/time")
    assert int(refused.value.headers["Retry-After"]) > 590
    refused.value.close()
    exchange.process.send_signal(signal.SIGTERM)
    exchange.process.communicate(timeout=20)
    again = venue("--port", exchange.rest.rpartition(":")[2])
    assert again.rest == exchange.rest
    client.sync_time()
    client.close()
