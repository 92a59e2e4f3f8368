"""The exchange's limits: weights as Binance documents them, silence after 429, the ban of who goes on."""

from __future__ import annotations

import re
from typing import Any

import ccxt
import pytest

from bot4_live.execution.rest_budget import Priority
from bot4_live.execution.weights import cost
from bot4_live.simulation import rest_history, rest_market, rest_trading
from bot4_live.simulation.errors import ApiError
from bot4_live.simulation.faults import FaultPlan
from bot4_live.simulation.limits import RateLimits

BANNED = r"banned until (\d+)"


class Hands:
    """Limits with a clock that a test moves, and what they answer."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.limits = RateLimits(monotonic=lambda: self.now, **options)

    def ask(self, weight: int = 1, now_ms: int = 30_000) -> tuple[int, int | None]:
        try:
            self.limits.spend(weight, now_ms)
        except ApiError as refused:
            self.text = refused.text
            return refused.status, refused.retry_after_s
        return 200, None


@pytest.mark.parametrize(("speed_milli", "wait"), [(1000, 30), (8000, 4), (500, 60)])
def test_a_spent_minute_says_how_long_it_lasts_in_real_time(speed_milli: int, wait: int) -> None:
    hands = Hands(weight_limit=10, speed_milli=lambda: speed_milli)
    assert hands.ask(10) == (200, None)
    assert hands.ask(1) == (429, wait)
    hands.now += wait
    assert hands.ask(10, 60_000) == (200, None)


def test_a_minute_ends_in_real_time_where_the_market_stands_still() -> None:
    hands = Hands(weight_limit=10)
    assert hands.ask(10) == (200, None)
    assert hands.ask(1) == (429, 30)
    hands.now += 30
    assert hands.ask(10) == (200, None)


def test_who_goes_on_after_429_is_banned_and_longer_each_time() -> None:
    hands = Hands(weight_limit=1, ban_after=3)
    hands.ask(2)
    assert [hands.ask() for _ in range(3)] == [(429, 30)] * 3
    assert hands.ask() == (418, 120)
    found = re.search(BANNED, hands.text)
    assert found is not None
    assert int(found[1]) == 30_000 + 120_000
    hands.now += 119.5
    assert hands.ask(0, 120_000) == (418, 1)  # asking during a ban is refused and no more
    hands.now += 0.6
    assert hands.ask(1, 120_000) == (200, None)
    assert hands.limits.next_ban_s == 240
    for _ in range(20):
        hands.limits.ban(1)
    assert hands.limits.next_ban_s == 259_200


def test_requests_after_the_silence_are_no_violation() -> None:
    hands = Hands(weight_limit=1, ban_after=1)
    for minute in range(1, 6):
        assert hands.ask(2, minute * 60_000)[0] == 429
        hands.now += 60
    assert hands.limits.bans == 0


async def test_the_fault_refuses_only_its_path_and_bans_who_goes_on(serve: Any) -> None:
    async with serve() as client:
        client.server.exchange.set_faults(FaultPlan(refuse=1.0, refuse_path="/fapi/v1/depth", ban_after=2))
        assert (await client.raw("GET", "/fapi/v1/ping"))[0] == 200
        for _ in range(3):
            status, answer = await client.call("GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT")
            assert (status, answer["code"], client.headers["Retry-After"]) == (429, -1003, "1")
        status, answer = await client.raw("GET", "/fapi/v1/ping")  # the silence was for every path
        assert (status, answer["code"], client.headers["Retry-After"]) == (418, -1003, "120")


@pytest.mark.parametrize(
    "wrong", [{"refuse": 2}, {"ban_s": -1}, {"refuse_path": 3}, {"clock_ms": float("nan")}, {"drop": "x"}, {"drop": []}]
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fault"):
        FaultPlan.read(wrong)


LIMITS = {"depth": (5, 50, 100, 500, 1000), "klines": (99, 100, 499, 500, 1000, 1001)}  # by which they weigh


def paths() -> list[tuple[str, str]]:
    return [
        (found.method, found.path) for found in [*rest_market.routes(), *rest_history.routes(), *rest_trading.routes()]
    ]


@pytest.mark.parametrize("symbol", [{"symbol": "BTCUSDT"}, {}])
async def test_the_table_of_weights_is_what_the_exchange_counts(serve: Any, symbol: dict[str, str]) -> None:
    """Every call the exchange serves, refused or not, costs what our budget claims for it."""
    async with serve() as client:
        used = 0
        for method, path in paths():
            limits = LIMITS.get(path.rpartition("/")[2])
            for more in [{"limit": n} for n in limits] if limits else [{}]:
                await client.call(method, path, **symbol, **more)
                now = int(client.headers["X-MBX-USED-WEIGHT-1M"])
                weight, _ = cost(method, path, {**symbol, **more})
                assert now - used == weight, (method, path, more)
                used = now


def test_the_weights_of_what_we_send_are_those_of_an_independent_client() -> None:
    """ccxt keeps a table of its own. It counts an order as 4 and accounts of v2 as 1; the venue's pages say 0 and 5."""
    api = ccxt.binance().api
    public, private = api["fapiPublic"]["get"], api["fapiPrivate"]
    for name in ("time", "exchangeInfo", "trades"):
        assert cost("GET", f"/fapi/v1/{name}", {})[0] == public[name]
    for name in LIMITS:
        for limit, weight in public[name]["byLimit"]:
            assert cost("GET", f"/fapi/v1/{name}", {"limit": limit})[0] == weight
    for name in ("order", "allOrders", "userTrades", "income", "account", "balance", "positionRisk"):
        assert cost("GET", f"/fapi/v1/{name}", {"symbol": "BTCUSDT"})[0] == private["get"][name]
    assert cost("GET", "/fapi/v1/openOrders", {})[0] == private["get"]["openOrders"]["noSymbol"]
    assert cost("POST", "/fapi/v1/countdownCancelAll", {})[0] == private["post"]["countdownCancelAll"]


def test_urgency() -> None:
    found = {
        cost(method, f"/fapi/v1/{name}", {})[1]
        for method, name in [("DELETE", "order"), ("DELETE", "allOpenOrders"), ("POST", "countdownCancelAll")]
    }
    assert found == {Priority.CANCEL}
    assert cost("POST", "/fapi/v1/order", {}) == (0, Priority.ORDER)
    assert cost("GET", "/fapi/v1/depth", {})[1] == Priority.SNAPSHOT
    assert cost("GET", "/fapi/v1/order", {})[1] == Priority.QUERY
