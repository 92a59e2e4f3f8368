"""Who may ask: keys, signatures over what was sent, time windows, rate limits."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

import pytest

from bot4_live.simulation.accounts import Key
from bot4_live.simulation.auth import ListenKeys, check_signature
from bot4_live.simulation.errors import ApiError


def signed(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_binance_documented_example() -> None:
    """The example of Binance's documentation: query and body are signed as one text, without a separator."""
    key = Key("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9", "paper")
    whole = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp="
        "1591702613943"
    )
    signature = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    check_signature(key, f"{whole}&signature={signature}", "")
    check_signature(key, "", f"{whole}&signature={signature}")
    query, body = whole.split("&quantity")
    mixed = signed(key.secret, query + "quantity" + body)
    check_signature(key, query, f"quantity{body}&signature={mixed}")


@pytest.mark.parametrize("wrong", ["0" * 64, "", "zz", signed("another", "symbol=BTCUSDT"), "é"])
def test_wrong_signatures(wrong: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_signature(Key("secret", "paper"), f"symbol=BTCUSDT&signature={wrong}", "")
    assert refused.value.code in (-1022, -1102)


async def test_requests_without_right(serve) -> None:
    async with serve() as client:
        now = client.server.exchange.now_ms()
        text = urlencode({"symbol": "BTCUSDT", "timestamp": now})
        good = signed("runner-secret", text)
        path = "/fapi/v1/openOrders"
        assert await client.raw("GET", f"{path}?{text}&signature={good}") == (200, [])
        cases = {
            (f"{text}&signature={good[:-1]}0" if good[-1] != "0" else f"{text}&signature={good[:-1]}1", "runner-key"): (
                400,
                -1022,
            ),
            (f"{text.replace('BTCUSDT', 'btcusdt')}&signature={good}", "runner-key"): (400, -1022),
            (f"{text}&extra=1&signature={good}", "runner-key"): (400, -1022),
            (text, "runner-key"): (400, -1102),
            (f"{text}&signature={good}", "watchdog-key"): (400, -1022),
            (f"{text}&signature={good}", "stranger"): (401, -2015),
            (f"{text}&signature={good}", ""): (401, -2014),
        }
        for (query, key), (status, code) in cases.items():
            got, answer = await client.raw("GET", f"{path}?{query}", headers={"X-MBX-APIKEY": key})
            assert (got, answer["code"]) == (status, code), query


async def test_window_is_measured_by_the_exchange_clock(serve) -> None:
    async with serve() as client:
        now = client.server.exchange.now_ms()
        path = "/fapi/v1/openOrders"
        for stamp, window, code in [
            (now - 500, 500, None), (now - 501, 500, -1021), (now + 999, 500, None), (now + 1000, 500, -1021),
            (now, 60_001, -1131), (now, "x", -1102), ("soon", 500, -1102),
        ]:  # fmt: skip
            status, answer = await client.call("GET", path, timestamp=stamp, recvWindow=window)
            assert (None if status == 200 else answer["code"]) == code, stamp - now if isinstance(stamp, int) else stamp


async def test_body_requests(serve) -> None:
    async with serve() as client:
        now = client.server.exchange.now_ms()
        text = urlencode({"symbol": "BTCUSDT", "countdownTime": 5000, "timestamp": now})
        body = f"{text}&signature={signed('runner-secret', text)}"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = await client.raw("POST", "/fapi/v1/countdownCancelAll", data=body, headers=form)
        assert (status, answer) == (200, {"symbol": "BTCUSDT", "countdownTime": "5000"})


async def test_too_many_requests(serve) -> None:
    async with serve(weight_limit=30) as client:
        for number in range(1, 7):
            status, _ = await client.call("GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT", limit=100)
            assert status == 200
            assert client.headers["X-MBX-USED-WEIGHT-1M"] == str(5 * number)
        status, answer = await client.call("GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT", limit=100)
        assert (status, answer["code"]) == (429, -1003)
        assert 0 < int(client.headers["Retry-After"]) <= 60


async def test_too_many_orders(serve) -> None:
    async with serve() as client:
        bid, _ = await client.quote()
        for number in range(1, 301):
            status, _ = await client.order("BUY", client.price(bid - 50), "0.010", newClientOrderId=f"n{number}")
            assert status == 200
            assert client.headers["X-MBX-ORDER-COUNT-10S"] == str(number)
            await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=f"n{number}")
        status, answer = await client.order("BUY", client.price(bid - 50), "0.010")
        assert (status, answer["code"]) == (429, -1015)


def test_listen_keys_live_an_hour_after_their_last_renewal() -> None:
    keys = ListenKeys()
    key = keys.create("paper", 0)
    assert keys.create("paper", 1000) == key
    assert keys.account_of(key, 3_600_999) == "paper"
    assert keys.account_of(key, 3_601_000) is None
    assert keys.account_of(key[:-1], 0) is None
    keys.renew("paper", 2_000_000)
    assert keys.expired(5_599_999) == []
    assert keys.expired(5_600_000) == [("paper", key)]
    with pytest.raises(ApiError, match="-1125"):
        keys.renew("paper", 5_600_000)
