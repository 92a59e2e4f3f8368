"""WebSocket: the market as recorded with times shifted, user events, controls of the clock, faults."""

from __future__ import annotations

import asyncio
import json
import socket as sockets

import aiohttp
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bot4_live.simulation.faults import FaultPlan, FrameFaults
from bot4_live.simulation.frames import bare, shift_times, stream_name
from bot4_live.simulation.source import capture_source

STREAMS = "btcusdt@depth@0ms/btcusdt@bookTicker/btcusdt@trade"
S = 1_000_000_000


async def collect(url: str, count: int, started: asyncio.Event | None = None) -> list[bytes]:
    async with connect(url, compression=None, max_size=None, close_timeout=0.2) as socket:
        if started is not None:
            started.set()
        return [await asyncio.wait_for(socket.recv(decode=False), 20) for _ in range(count)]


async def listening(client, count: int = 1) -> None:
    while len(client.server.exchange.hub.listeners) < count:
        await asyncio.sleep(0.005)


async def test_frames_are_the_recorded_ones_but_for_their_times(serve, market) -> None:
    sent = [raw for ns, raw in market.frames() if ns >= market.first_ns + S and stream_name(raw)][:1500]
    async with serve(speed_milli=20_000) as client:
        exchange = client.server.exchange
        task = asyncio.create_task(collect(f"{client.server.ws_url}/stream?streams={STREAMS}", len(sent)))
        await listening(client)
        await client.clock(paused=False)
        got = await task
        assert got == [shift_times(raw, exchange.shift_ms) for raw in sent]
        for old, new in zip(sent, got, strict=True):
            a, b = orjson.loads(old)["data"], orjson.loads(new)["data"]
            for name in ("E", "T"):
                assert b.pop(name) - a.pop(name) == exchange.shift_ms
            assert a == b
            assert len(old) == len(new)


async def test_no_frame_comes_before_its_event_time(serve) -> None:
    async with (
        serve(speed_milli=10_000) as client,
        connect(f"{client.server.ws_url}/stream?streams={STREAMS}", compression=None, max_size=None) as socket,
    ):
        await listening(client)
        await client.clock(paused=False)
        for _ in range(2000):
            event = orjson.loads(await socket.recv(decode=False))["data"]["E"]
            assert event <= client.server.exchange.now_ms()


async def test_single_streams_are_bare_and_other_speeds_are_renamed(serve, market) -> None:
    sent = [raw for ns, raw in market.frames() if ns >= market.first_ns + S and b"@depth" in raw[:40]][:5]
    async with serve(speed_milli=20_000, shift_ms=0) as client:
        url = client.server.ws_url
        one = asyncio.create_task(collect(f"{url}/ws/btcusdt@depth@0ms", 5))
        two = asyncio.create_task(collect(f"{url}/stream?streams=btcusdt@depth@100ms", 5))
        await listening(client, 2)
        await client.clock(paused=False)
        assert await one == [bare(raw) for raw in sent]
        assert await two == [raw.replace(b"@depth@0ms", b"@depth@100ms") for raw in sent]


async def test_subscribing_on_an_open_connection(serve) -> None:
    async with (
        serve(speed_milli=20_000) as client,
        connect(f"{client.server.ws_url}/ws", compression=None, close_timeout=0.2) as socket,
    ):
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}))
        assert orjson.loads(await socket.recv()) == {"result": None, "id": 1}
        await client.clock(paused=False)
        assert orjson.loads(await socket.recv())["e"] == "trade"
        await socket.send("nonsense")
        while "error" not in (answer := orjson.loads(await socket.recv())):
            assert answer["e"] == "trade"


async def test_depth_answers_bridge_to_the_stream_at_any_moment(serve, market) -> None:
    """Whenever one asks, the snapshot's id meets the diffs that follow, and book and quotes agree from then on."""
    async with (
        serve(speed_milli=5000, from_ns=market.start_ns) as client,
        connect(f"{client.server.ws_url}/stream?streams={STREAMS}", compression=None, max_size=None) as socket,
    ):
        await listening(client)
        await client.clock(paused=False)
        diffs, asked = [], 0
        while asked < 12:
            data = orjson.loads(await asyncio.wait_for(socket.recv(decode=False), 20))["data"]
            if data["e"] != "depthUpdate":
                continue
            diffs.append(data)
            if len(diffs) % 9 == 3:
                asked += 1
                _, book = await client.call("GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT", limit=1000)
                last = book["lastUpdateId"]
                while diffs[-1]["u"] <= last:
                    data = orjson.loads(await asyncio.wait_for(socket.recv(decode=False), 20))["data"]
                    if data["e"] == "depthUpdate":
                        diffs.append(data)
                later = next(diff for diff in diffs if diff["u"] > last)
                assert later["pu"] == last or later["U"] <= last, (later["U"], later["pu"], last)
                assert float(book["bids"][0][0]) < float(book["asks"][0][0])


async def test_user_stream_tells_the_life_of_orders(serve) -> None:
    async with serve() as client:
        _, key = await client.call("POST", "/fapi/v1/listenKey", signed=False)
        async with connect(f"{client.server.ws_url}/ws/{key['listenKey']}", compression=None) as socket:
            await listening(client)
            bid, ask = await client.quote()
            await client.order("BUY", client.price(bid - 10), "0.010", "GTX", newClientOrderId="resting")
            await client.order("BUY", client.price(ask), "0.010", "IOC", newClientOrderId="taking")
            await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="resting")
            events = [orjson.loads(await asyncio.wait_for(socket.recv(), 5)) for _ in range(5)]
        told = [(e["e"], e["o"]["c"], e["o"]["x"], e["o"]["X"]) if "o" in e else (e["e"],) for e in events]
        assert told == [
            ("ORDER_TRADE_UPDATE", "resting", "NEW", "NEW"),
            ("ORDER_TRADE_UPDATE", "taking", "NEW", "NEW"),
            ("ACCOUNT_UPDATE",),
            ("ORDER_TRADE_UPDATE", "taking", "TRADE", "FILLED"),
            ("ORDER_TRADE_UPDATE", "resting", "CANCELED", "CANCELED"),
        ]
        fill = events[3]["o"]
        assert (fill["L"], fill["l"], fill["z"], fill["m"], fill["N"], fill["R"]) == (
            client.price(ask), "0.010", "0.010", False, "USDT", False,
        )  # fmt: skip
        assert float(fill["n"]) == pytest.approx(float(fill["L"]) * 0.01 * 0.0005, abs=1e-8)
        assert events[2]["a"]["P"][0]["pa"] == "0.010"
        assert events[2]["a"]["m"] == "ORDER"


async def test_listen_key_ends(serve) -> None:
    async with serve(speed_milli=1_000_000) as client:
        _, key = await client.call("POST", "/fapi/v1/listenKey", signed=False)
        assert (await client.call("PUT", "/fapi/v1/listenKey", signed=False)) == (200, key)
        async with connect(f"{client.server.ws_url}/ws/{key['listenKey']}", compression=None) as socket:
            await listening(client)
            await client.clock(paused=False)  # an hour of market time in 3.6 s
            event = orjson.loads(await asyncio.wait_for(socket.recv(), 20))
        assert (event["e"], event["listenKey"]) == ("listenKeyExpired", key["listenKey"])


async def test_countdown_works_while_its_client_is_dead(serve) -> None:
    async with serve(speed_milli=10_000) as client:
        bid, _ = await client.quote()
        _, order = await client.order("BUY", client.price(bid - 3000), "0.010")
        await client.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=5000)
        begun = client.server.exchange.now_ms()
        await client.clock(paused=False)
        while client.server.exchange.venue.matching.resting:
            await asyncio.sleep(0.02)
        _, gone = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
        assert gone["status"] == "CANCELED"
        assert gone["updateTime"] == begun + 5000


async def test_clock_controls(serve, market) -> None:
    async with serve() as client:
        async with client.http.get(client.server.rest_url + "/bot4/clock") as answer:
            before = await answer.json()
        assert {"market_ns", "speed_milli", "shift_ns", "paused", "source", "symbol"} <= set(before)
        assert before["paused"]
        assert before["clients"] == 0
        await asyncio.sleep(0.05)
        _, time = await client.call("GET", "/fapi/v1/time", signed=False)
        assert time["serverTime"] == before["market_ns"] // 1_000_000, "market time stands still"
        for headers in ({}, {"X-Bot4-Token": "wrong"}):
            async with client.http.post(
                client.server.rest_url + "/bot4/clock", json={"paused": False}, headers=headers
            ) as answer:
                assert answer.status == 403
        until = market.start_ns + 3 * S
        status, after = await client.clock(speed_milli=30_000, paused=False, until_ns=until)
        assert (status, after["speed_milli"]) == (200, 30_000)
        while not client.server.exchange.time.paused:
            await asyncio.sleep(0.01)
        assert client.server.exchange.now_ns() - client.server.exchange.shift_ms * 1_000_000 == until
        for wrong in ({"until_ns": until - 1}, {"speed_milli": 0}, {"speed": 1}, {"paused": 1}, {}):
            status, answer = await client.clock(**wrong)
            assert status == 400, wrong
            assert answer["error"]


async def test_slow_client_is_cut_off_and_others_go_on(serve) -> None:
    with sockets.socket() as slow:
        slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        async with serve(speed_milli=1_000_000) as client:
            slow.connect((client.server.host, client.server.port))
            slow.sendall(
                f"GET /stream?streams={STREAMS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await listening(client)
            hub = client.server.exchange.hub
            listener = next(iter(hub.listeners))
            listener.limit_bytes = 1 << 16
            listener.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
            quick = asyncio.create_task(collect(f"{client.server.ws_url}/stream?streams={STREAMS}", 3000))
            await listening(client, 2)
            await client.clock(paused=False)
            assert len(await quick) == 3000
            assert listener not in hub.listeners
            assert hub.cut_off == 1


async def test_faults_are_seeded_and_orders_may_lose_their_answer(serve) -> None:
    frames = [bytes([number]) for number in range(200)]
    plan = FaultPlan(seed=4, drop=0.1, duplicate=0.1, reorder=0.1, delay=0.1)
    first, broken = FrameFaults(plan).pass_on(frames)
    assert (first, broken) == FrameFaults(plan).pass_on(frames)
    assert not broken
    assert first != FrameFaults(FaultPlan(seed=5, drop=0.1, duplicate=0.1, reorder=0.1, delay=0.1)).pass_on(frames)[0]
    lost = set(frames) - set(first)
    assert 5 < len(lost) < 50
    assert len(first) > len(set(first)), "some came twice"
    assert first != sorted(first), "some came late"
    assert FrameFaults(FaultPlan(disconnect=1.0)).pass_on(frames) == ([], True)

    async with serve(faults=FaultPlan(lose_response=1.0)) as client:
        bid, _ = await client.quote()
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", client.price(bid - 5), "0.010", newClientOrderId="lost")
        _, found = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="lost")
        assert found["status"] == "NEW", "it was executed: its answer was lost, not the order"
        client.server.exchange.set_faults(FaultPlan(lose_request=1.0))
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", client.price(bid - 5), "0.010", newClientOrderId="never")
        _, none = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="never")
        assert none["code"] == -2013


async def test_disconnects_on_purpose(serve) -> None:
    async with serve(speed_milli=20_000, faults=FaultPlan(seed=1, disconnect=0.01)) as client:
        task = asyncio.create_task(collect(f"{client.server.ws_url}/stream?streams={STREAMS}", 5000))
        await listening(client)
        await client.clock(paused=False)
        with pytest.raises(ConnectionClosed):
            await task


@pytest.mark.capture
async def test_the_real_capture_at_speed(serve, usdm_capture) -> None:
    """Its receive clock runs 1.27 s behind the exchange's: by the exchange's own clock nothing comes too early."""
    source = capture_source(usdm_capture)
    assert 1.27e9 < source.skew_ns < 1.28e9
    sent = [raw for _, raw in source.frames() if stream_name(raw)][:6000]
    async with serve(source=source, from_ns=None, speed_milli=20_000) as client:
        exchange = client.server.exchange
        task = asyncio.create_task(collect(f"{client.server.ws_url}/stream?streams={STREAMS}", len(sent)))
        await listening(client)
        await client.clock(paused=False)
        got = await task
        assert got == [shift_times(raw, exchange.shift_ms) for raw in sent]
        assert max(orjson.loads(raw)["data"]["E"] for raw in got) <= exchange.now_ms()
