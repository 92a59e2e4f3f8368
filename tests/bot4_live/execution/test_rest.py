"""The REST client against a server that answers, refuses, stays silent or hangs up."""

from __future__ import annotations

import asyncio
import socket
import time
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from pydantic import SecretStr

from bot4_live.clock import MarketClock, boottime_ns
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.rest import NotSent, RateLimited, Request, RestClient, UnknownFate, VenueRejected, Withheld
from bot4_live.execution.rest_budget import MINUTE_NS, RestBudget
from bot4_live.execution.signing import sign

KEY, SECRET = "public-key", "very-secret"
MS = 1_000_000


class Venue:
    """A server whose next answer is set by the test; it keeps what it was asked."""

    def __init__(self):
        self.requests: list[web.Request] = []
        self.status, self.body, self.headers, self.delay_s, self.hang_up = 200, '{"ok": true}', {}, 0.0, False
        self.skew_ms = 0

    async def handle(self, request):
        self.requests.append(request)
        if request.path == "/fapi/v1/time":
            return web.json_response({"serverTime": time.time_ns() // MS + self.skew_ms})
        if self.hang_up:
            request.transport.abort()
        await asyncio.sleep(self.delay_s)
        return web.Response(status=self.status, text=self.body, headers=self.headers, content_type="application/json")


@pytest.fixture
async def venue():
    made = Venue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    RestBudget(made.url).forget()  # another test may have had this port
    yield made
    await runner.cleanup()


def client(url, timeout_s=1.0):
    clock = MarketClock(time.time_ns(), time.monotonic_ns())
    return RestClient(url, SecretStr(KEY), SecretStr(SECRET), ExchangeTime(clock), 500, timeout_s=timeout_s)


ORDER = Request("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "BUY"})


async def test_a_signed_request_can_be_verified_by_the_venue(venue):
    async with client(venue.url) as rest:
        assert await rest.call(ORDER) == {"ok": True}
    request = venue.requests[0]
    query, _, signature = request.query_string.rpartition("&signature=")
    assert sign(query, SECRET) == signature
    params = dict(parse_qsl(query))
    assert params["recvWindow"] == "500"
    assert abs(int(params["timestamp"]) - time.time_ns() // MS) < 1000
    assert request.headers["X-MBX-APIKEY"] == KEY
    assert SECRET not in str(request.headers) + request.query_string


async def test_a_refusal_had_no_effect_and_says_its_code(venue):
    venue.status, venue.body = 400, '{"code": -2019, "msg": "Margin is insufficient."}'
    async with client(venue.url) as rest:
        with pytest.raises(VenueRejected, match="Margin is insufficient") as caught:
            await rest.call(ORDER)
    assert (caught.value.code, caught.value.status) == (-2019, 400)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, '{"code": -1000, "msg": "Unknown error, please check your request or try again later."}'),
        (500, "oops"),
        (502, ""),
        (408, '{"code": -1007, "msg": "Timeout waiting for response from backend server."}'),
        (400, '{"code": -1006, "msg": "An unexpected response was received from the message bus."}'),
        (200, "not json"),
    ],
)
async def test_what_does_not_say_that_nothing_happened_is_unknown(venue, status, body):
    venue.status, venue.body = status, body
    async with client(venue.url) as rest:
        with pytest.raises(UnknownFate):
            await rest.call(ORDER)


async def test_silence_and_hanging_up_after_the_send_are_unknown(venue):
    async with client(venue.url, timeout_s=0.2) as rest:
        venue.delay_s = 1.0
        with pytest.raises(UnknownFate, match="no answer in time"):
            await rest.call(ORDER)
        venue.hang_up = True
        with pytest.raises(UnknownFate):
            await rest.call(ORDER)
    assert len(venue.requests) == 2  # nothing was sent twice


async def test_an_order_is_never_resent_on_a_stale_connection(venue):
    async with client(venue.url) as rest:
        await rest.call(ORDER)
        venue.hang_up = True  # the kept connection dies under the next request
        with pytest.raises(UnknownFate):
            await rest.call(ORDER)
    assert len(venue.requests) == 2


async def test_nobody_there_means_not_sent():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with client(url) as rest:
        with pytest.raises(NotSent, match="cannot be reached"):
            await rest.call(ORDER)


async def test_the_guard_runs_last_and_stops_the_bytes(venue):
    def refuse():
        raise Withheld(3)

    async with client(venue.url) as rest:
        await rest.call(ORDER)
        with pytest.raises(Withheld) as caught:
            await rest.call(ORDER, refuse)
        assert caught.value.cause == 3
        assert len(venue.requests) == 1
        calls = []
        await rest.call(ORDER, lambda: calls.append(len(venue.requests)))
    assert calls == [1]  # asked before the venue saw the request


CANCEL = Request("DELETE", "/fapi/v1/order", {"symbol": "BTCUSDT"})


async def test_the_venues_count_ends_orders_before_cancels(venue):
    async with client(venue.url) as rest:
        rest.budget.set_clock(MINUTE_NS // 2, boottime_ns())  # the middle of a minute
        venue.headers = {"X-MBX-USED-WEIGHT-1M": "1990"}
        await rest.call(ORDER)
        assert rest.budget.state()["used"] == 1990
        with pytest.raises(
            RateLimited, match=r"1990 of 2400; order requests may use 80 %.*again in 3\d\.\d s"
        ) as caught:
            await rest.call(ORDER)
        assert 29 < caught.value.wait_s < 32
        await rest.call(CANCEL)
    assert [request.method for request in venue.requests] == ["POST", "DELETE"]


@pytest.mark.parametrize(("status", "words"), [(429, "asked for silence"), (418, "has banned this address")])
async def test_a_silence_holds_for_every_client(venue, status, words):
    async with client(venue.url) as rest, client(venue.url) as other:
        venue.status, venue.body = status, '{"code": -1003, "msg": "Too many requests."}'
        venue.headers = {"Retry-After": "7"}
        with pytest.raises(VenueRejected) as caught:
            await rest.call(ORDER)
        assert caught.value.status == status
        for asked in (rest, other):
            for request in (ORDER, CANCEL):
                with pytest.raises(RateLimited, match=words) as stopped:
                    await asked.call(request)
                assert 6 < stopped.value.wait_s < 8
    assert len(venue.requests) == 1


async def test_too_many_orders_bars_orders_only(venue):
    async with client(venue.url) as rest:
        venue.status, venue.body = 429, '{"code": -1015, "msg": "Too many new orders."}'
        venue.headers = {"Retry-After": "5"}
        with pytest.raises(VenueRejected):
            await rest.call(ORDER)
        with pytest.raises(RateLimited, match="no order of this account"):
            await rest.call(ORDER)
        venue.status, venue.body = 200, "{}"
        await rest.call(CANCEL)


async def test_what_was_withheld_is_not_spent(venue):
    def refuse():
        raise Withheld(3)

    async with client(venue.url) as rest:
        await rest.call(CANCEL)
        assert rest.budget.state()["used"] == 1
        with pytest.raises(Withheld):
            await rest.call(CANCEL, refuse)
        assert rest.budget.state()["used"] == 1


async def test_limits_are_those_of_exchange_info(venue):
    venue.body = """{"rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}, 7, {"limit": 3}]}"""
    async with client(venue.url) as rest:
        await rest.call(Request("GET", "/fapi/v1/exchangeInfo", signed=False))
        assert rest.budget.state()["limit"] == 6000


async def test_no_error_shows_a_signature_or_a_secret(venue):
    venue.status, venue.body = 500, "oops"
    async with client(venue.url) as rest:
        with pytest.raises(UnknownFate) as caught:
            await rest.call(ORDER)
        text = f"{caught.value!r} {caught.value} {rest!r} {rest.__dict__}"
    assert "signature" not in text
    assert SECRET not in text


async def test_time_is_measured_at_the_venue(venue):
    venue.skew_ms = 5000
    async with client(venue.url) as rest:
        await rest.sync_time()
        await rest.call(ORDER)
        assert abs(rest.time.offset_ns - 5000 * MS) < 100 * MS
        assert rest.time.error_ns < 100 * MS
    stamp = int(dict(parse_qsl(venue.requests[-1].query_string))["timestamp"])
    assert abs(stamp - (time.time_ns() // MS + 5000)) < 1000


async def test_exchange_time_runs_at_the_sessions_speed():
    now = [0]
    clock = MarketClock(1_000_000 * MS, 0, 4000, monotonic_ns=lambda: now[0])
    exchange = ExchangeTime(clock)

    async def ask():
        now[0] += 2 * MS  # a round trip of 2 ms real, 8 ms of market time
        return 1_000_000 + 100 + (now[0] - MS) * 4 // MS

    await exchange.sync(ask)
    now[0] += 1000 * MS
    assert abs(exchange.now_ms() - (1_000_100 + now[0] * 4 // MS)) <= 1
    assert exchange.error_ns == 4.5 * MS + 800  # half the round trip, half a ms of the venue's, 100 ppm of the trip
    assert exchange.real_s(500) == pytest.approx(0.125)
