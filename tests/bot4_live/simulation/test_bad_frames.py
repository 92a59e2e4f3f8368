"""The listed bad frames: each is quarantined for exactly its reason, and the chain of diffs holds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from websockets.asyncio.client import connect

from bot4_live.events import Reason
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.simulation import bad_frames as bad
from bot4_live.simulation.bad_frames import LAST_TRADE, BadFrame, bad_frames, expected
from bot4_live.simulation.generator import generate

MS = 1_000_000


def test_every_reason_a_market_stream_can_give_is_listed() -> None:
    elsewhere = {Reason.BAD_CHECKSUM}  # Binance sends none
    assert {frame.reason for frame in bad_frames()} == set(Reason) - elsewhere


def test_each_is_refused_for_its_reason_and_the_book_stays_good() -> None:
    listed = bad_frames(first=300, spacing=5)
    waiting = list(listed)
    core = FeedCore(BTCUSDT_USDM, lambda record: None)
    core.on_connect(0)
    last_trade = b""
    for sent, (now, raw) in enumerate(generate(3, duration_s=6)):
        while waiting and waiting[0].after_frame <= sent:
            frame = waiting.pop(0)
            before = core.counts.quarantined.copy()
            core.on_frame(now, frame.encode(now // MS, last_trade))
            assert core.counts.quarantined - before == Counter([frame.reason]), (frame, core.last_rejected)
        if b'@trade"' in raw[:40]:
            last_trade = raw
        core.on_frame(now, raw)
    assert not waiting
    assert core.counts.quarantined == expected(listed)
    assert core.live
    assert sum(core.counts.stale.values()) == 1, "only the start"


async def test_the_exchange_sends_them_where_the_list_says(serve) -> None:
    listed = bad_frames(first=400, spacing=3)
    async with serve(speed_milli=20_000, bad_frames=listed) as client:
        exchange = client.server.exchange
        core = FeedCore(BTCUSDT_USDM, lambda record: None)
        core.on_connect(exchange.now_ns())
        async with connect(
            f"{client.server.ws_url}/stream?streams=btcusdt@depth@0ms/btcusdt@bookTicker/btcusdt@trade",
            compression=None, max_size=None, close_timeout=0.2,
        ) as socket:  # fmt: skip
            await client.clock(paused=False)
            while core.counts.quarantined != expected(listed):
                core.on_frame(exchange.now_ns(), await asyncio.wait_for(socket.recv(decode=False), 10))
                if core.wants_snapshot:
                    async with client.http.get(
                        f"{client.server.rest_url}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
                    ) as answer:
                        core.on_snapshot(exchange.now_ns(), await answer.read())
        assert not exchange.bad_frames
        assert core.live
        assert sum(core.counts.stale.values()) == 1


async def test_more_can_be_injected_with_the_token(serve) -> None:
    async with serve() as client, connect(f"{client.server.ws_url}/ws/btcusdt@trade", compression=None) as socket:
        url = client.server.rest_url + "/bot4/bad-frames"
        entries = [
            BadFrame(0, b"\xff", Reason.NOT_UTF8).as_dict(),
            {"after_frame": 0, "raw": "{", "reason": "NOT_JSON"},
        ]
        async with client.http.post(url, json=entries) as answer:
            assert answer.status == 403
        async with client.http.post(url, json=entries, headers={"X-Bot4-Token": "token-of-the-test"}) as answer:
            assert await answer.json() == {"injected": 2}
        assert await socket.recv(decode=False) == b"\xff"
        assert await socket.recv(decode=False) == b"{"


def test_list_files(tmp_path) -> None:
    path = tmp_path / "bad.json"
    listed = bad_frames()
    bad.save(path, listed)
    assert bad.load(path) == listed
    for wrong, words in (
        ("[", "not JSON"), ("{}", "list"), ('[{"raw": "x"}]', "entry 0"),
        ('[{"after_frame": 1, "raw": "x", "reason": "RUDE"}]', "entry 0"),
    ):  # fmt: skip
        path.write_text(wrong)
        with pytest.raises(ValueError, match=words):
            bad.load(path)


def test_now_is_filled_in_and_a_trade_repeated() -> None:
    assert BadFrame(0, b'{"E":$NOW}', Reason.WRONG_TYPE).encode(17) == b'{"E":17}'
    assert BadFrame(0, LAST_TRADE, Reason.DUPLICATE).encode(17, b"trade") == b"trade"
    assert json.loads(json.dumps([frame.as_dict() for frame in bad_frames()]))
