"""Orders over REST: every refusal with the venue's own code, and the life of an order."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "ETHUSDT"}, -1121),
        ({"symbol": ""}, -1102),
        ({"side": "HOLD"}, -1117),
        ({"type": "STOP"}, -1116),
        ({"timeInForce": "GTD"}, -1115),
        ({"timeInForce": ""}, -1102),
        ({"price": "60000.001"}, -1111),
        ({"price": "60000.05"}, -4014),
        ({"price": "abc"}, -1100),
        ({"price": "0"}, -4001),
        ({"price": "NaN"}, -1100),
        ({"price": "-61700.00"}, -1100),
        ({"price": ""}, -1102),
        ({"quantity": "1_0"}, -1100),
        ({"quantity": "0.0005"}, -1111),
        ({"quantity": "0"}, -4003),
        ({"quantity": "1001"}, -4005),
        ({"quantity": "0.001"}, -4164),
        ({"price": "70000.00"}, -4016),
        ({"side": "SELL", "price": "50000.00"}, -4024),
        ({"reduceOnly": "true"}, -2022),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"type": "MARKET", "timeInForce": ""}, -1106),
        ({"quantity": "100"}, -2019),
    ],
)
async def test_refused_orders(serve, changes, code) -> None:
    async with serve() as client:
        params = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010",
                  "price": "61700.00"}  # fmt: skip
        status, answer = await client.call("POST", "/fapi/v1/order", **(params | changes))
        assert (status, answer["code"]) == (400, code), answer
        assert await client.call("GET", "/fapi/v1/openOrders") == (200, [])


async def test_life_of_a_resting_order(serve) -> None:
    async with serve() as client:
        bid, _ = await client.quote()
        price = client.price(bid - 5)
        status, placed = await client.order("BUY", price, "0.010", "GTX", newClientOrderId="b4-00000001-00000001")
        assert (status, placed["status"], placed["price"]) == (200, "NEW", price)
        status, twice = await client.order("BUY", price, "0.010", "GTX", newClientOrderId="b4-00000001-00000001")
        assert (status, twice["code"]) == (400, -4116)
        by_name = {"symbol": "BTCUSDT", "origClientOrderId": "b4-00000001-00000001"}
        assert (await client.call("GET", "/fapi/v1/order", **by_name))[1]["orderId"] == placed["orderId"]
        assert [o["orderId"] for o in (await client.call("GET", "/fapi/v1/openOrders"))[1]] == [placed["orderId"]]
        status, gone = await client.call("DELETE", "/fapi/v1/order", **by_name)
        assert (status, gone["status"]) == (200, "CANCELED")
        status, again = await client.call("DELETE", "/fapi/v1/order", **by_name)
        assert (status, again["code"]) == (400, -2011)
        status, unknown = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=1)
        assert (status, unknown["code"]) == (400, -2013)
        assert (await client.call("GET", "/fapi/v1/order", **by_name))[1]["status"] == "CANCELED"


async def test_post_only_is_refused_when_it_would_take(serve) -> None:
    async with serve() as client:
        _, ask = await client.quote()
        status, answer = await client.order("BUY", client.price(ask), "0.010", "GTX")
        assert (status, answer["code"]) == (400, -5022)


async def test_fills_position_and_money_agree(serve) -> None:
    async with serve() as client:
        _, ask = await client.quote()
        status, bought = await client.order("BUY", client.price(ask + 20), "0.020", "IOC", newOrderRespType="RESULT")
        assert (status, bought["status"], bought["executedQty"]) == (200, "FILLED", "0.020")
        _, acknowledged = await client.order("SELL", client.price(ask - 20), "0.010", "IOC")
        assert (acknowledged["status"], acknowledged["executedQty"]) == ("NEW", "0.000"), "an ACK knows no fills"
        _, trades = await client.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
        assert sum(float(t["qty"]) for t in trades if t["buyer"]) == pytest.approx(0.02)
        for trade in trades:
            assert float(trade["commission"]) == pytest.approx(float(trade["quoteQty"]) * 0.0005, abs=1e-8)
        for version in ("v2", "v3"):
            _, rows = await client.call("GET", f"/fapi/{version}/positionRisk", symbol="BTCUSDT")
            assert rows[0]["positionAmt"] == "0.010"
            assert float(rows[0]["entryPrice"]) == pytest.approx(float(bought["avgPrice"]))
            _, account = await client.call("GET", f"/fapi/{version}/account")
            _, balances = await client.call("GET", f"/fapi/{version}/balance")
            paid = sum(float(t["realizedPnl"]) - float(t["commission"]) for t in trades)
            assert float(account["totalWalletBalance"]) == pytest.approx(10_000 + paid, abs=1e-6)
            assert balances[0]["balance"] == account["totalWalletBalance"]
        _, income = await client.call("GET", "/fapi/v1/income")
        assert sum(float(row["income"]) for row in income) == pytest.approx(paid, abs=1e-6)
        _, later = await client.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=trades[-1]["id"])
        assert later == trades[-1:]


async def test_accounts_are_apart_and_keys_share_one(serve) -> None:
    async with serve() as client:
        bid, _ = await client.quote()
        await client.order("BUY", client.price(bid - 5), "0.010")
        client.key = "other-key"
        assert await client.call("GET", "/fapi/v1/openOrders") == (200, [])
        client.key = "watchdog-key"
        assert len((await client.call("GET", "/fapi/v1/openOrders"))[1]) == 1
        assert (await client.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT"))[1]["code"] == 200
        client.key = "runner-key"
        assert await client.call("GET", "/fapi/v1/openOrders") == (200, [])


async def test_unknown_paths_answer_in_json(serve) -> None:
    async with serve() as client:
        status, answer = await client.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
        assert (status, answer["code"]) == (404, -5000)


async def test_settings_that_ask_for_what_is(serve) -> None:
    async with serve() as client:
        assert (await client.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED"))[1][
            "code"
        ] == -4046
        assert (await client.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false"))[1]["code"] == -4059
        assert (await client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10))[1]["leverage"] == 10
        assert (await client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=126))[1]["code"] == -4028
