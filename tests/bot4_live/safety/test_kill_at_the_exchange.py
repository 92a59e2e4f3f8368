"""The kill at the simulated exchange, all processes real: `bot4 exchange`, `bot4 watchdog`, `bot4 kill`."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot4_live.clock import MarketClock
from bot4_live.execution.exchange_time import ExchangeTime
from bot4_live.execution.rest import RateLimited, Request, RestClient, VenueRejected
from bot4_live.execution.rest_budget import CEILING, Priority, RestBudget, Throttled
from bot4_live.safety import audit, mock_hand
from bot4_live.safety.venue import SafetyVenue

pytestmark = pytest.mark.system

RUNNER_KEY, RUNNER_SECRET = "runner-key", "runner-secret"


@pytest.fixture
def exchange(tmp_path: Path, guarded: Any) -> Iterator[Callable[..., str]]:
    """Return a function that starts the exchange at a speed and points the account at it."""
    started: list[subprocess.Popen[str]] = []

    def start(speed: float) -> str:
        keys = {
            key: {"secret": secret, "account": "guarded", "balance": "100000"}
            for key, secret in [(RUNNER_KEY, RUNNER_SECRET), ("watchdog-key", "watchdog-secret")]
        }
        accounts = tmp_path / "accounts.json"
        accounts.write_text(json.dumps(keys))
        command = ["exchange", "--seed", "7", "--duration", "600", "--port", "0", "--accounts", str(accounts)]
        process = subprocess.Popen(
            [sys.executable, "-m", "bot4_live", *command, "--speed", str(speed)],
            env=guarded.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        url: str = json.loads(process.stdout.readline())["rest"]
        guarded.environment["BOT4_REST_URL"] = url
        return url

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def place(runner: SafetyVenue, **params: str) -> dict[str, Any]:
    order: dict[str, Any] = runner._signed("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", **params}, repeat=False)
    return order


def take_position_and_quote(runner: SafetyVenue) -> None:
    """Hold a position and rest an order on each side, far from the market."""
    deadline = time.monotonic() + 20
    while (best := runner.best("BTCUSDT")) is None:
        assert time.monotonic() < deadline, "the exchange shows no market"
        time.sleep(0.05)
    place(runner, side="SELL", type="MARKET", quantity="0.010")
    for side, price in (("BUY", best[0] * 99 / 100), ("SELL", best[1] * 101 / 100)):
        place(runner, side=side, type="LIMIT", timeInForce="GTC", quantity="0.010", price=f"{price:.1f}")
    assert len(runner.open_orders()) == 2
    assert runner.positions()


@pytest.mark.parametrize(("speed", "how"), [(1.0, "button"), (8.0, "button"), (0.5, "command")])
def test_orders_and_position_are_gone_in_time(
    guarded: Any, exchange: Callable[..., str], until: Any, speed: float, how: str
) -> None:
    url = exchange(speed)
    runner = SafetyVenue(url, RUNNER_KEY, RUNNER_SECRET)
    guarded.watchdog()
    process = guarded.runner(open_orders=2)
    take_position_and_quote(runner)
    if how == "button":
        mock_hand.press(guarded.settings.shm_dir, 120)
        until(lambda: guarded.kill_record().get("state") == "confirmed", 15)
    else:
        done = guarded.run("kill")
        assert done.returncode == 0, done.stderr
    record = guarded.kill_record()
    assert (runner.open_orders(), runner.positions()) == ([], [])
    runner.close()
    assert record["confirmed"]
    assert record["source"] == how
    window_ms = record["recv_window_ms"] / min(speed, 1.0)  # a slow exchange's window lasts longer in real time
    assert window_ms <= record["kill_ms"] <= window_ms + 500
    assert record["flat_ms"] <= record["kill_ms"]
    orders = [step["result"] for step in record["steps"] if step["step"] == "order"]
    assert orders[0]["status"] == "FILLED"
    assert orders[0]["client_id"].startswith("b4k-")
    assert process.wait(5) == -signal.SIGKILL
    assert audit.verify(guarded.settings.state_dir / audit.FILE).fault is None
    print(f"speed {speed}: flat {record['flat_ms']} ms, kill {record['kill_ms']} ms")


async def spend_everything(url: str) -> RestBudget:
    """Ask as a runner until it may ask nothing more, not even to cancel; return the budget it shares."""
    clock = MarketClock(time.time_ns(), time.monotonic_ns())
    client = RestClient(url, SecretStr(RUNNER_KEY), SecretStr(RUNNER_SECRET), ExchangeTime(clock), 1000)
    countdown = Request("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": 0})
    cancel = Request("DELETE", "/fapi/v1/order", {"symbol": "BTCUSDT", "origClientOrderId": "x"})
    async with client as rest:
        await rest.sync_time()
        for request in (Request("GET", "/fapi/v1/income"), countdown, cancel):
            with suppress(RateLimited):
                while True:
                    with suppress(VenueRejected):
                        await rest.call(request)
        return RestBudget(url)


def test_a_runner_that_has_spent_all_requests_does_not_starve_the_kill(
    guarded: Any, exchange: Callable[..., str], until: Any
) -> None:
    url = exchange(1.0)
    runner = SafetyVenue(url, RUNNER_KEY, RUNNER_SECRET)
    guarded.watchdog()
    process = guarded.runner(open_orders=2)
    take_position_and_quote(runner)
    budget = asyncio.run(spend_everything(url))
    while budget.state()["used"] < 2400 * CEILING[Priority.CANCEL] // 100:
        asyncio.run(spend_everything(url))  # a new minute had begun meanwhile
    for priority in CEILING:
        with pytest.raises(Throttled, match=f"{priority.name.lower()} requests may use {CEILING[priority]} %"):
            budget.claim(1, priority)
    mock_hand.press(guarded.settings.shm_dir, 120)
    until(lambda: guarded.kill_record().get("state") == "confirmed", 15)
    record = guarded.kill_record()
    assert (runner.open_orders(), runner.positions()) == ([], [])
    assert record["kill_ms"] <= record["recv_window_ms"] + 500
    assert [step for step in record["steps"] if not step["ok"]] == []
    assert process.wait(5) == -signal.SIGKILL
    runner.close()
    budget.close()
