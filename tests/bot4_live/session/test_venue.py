"""Only loopback, and clear words when nobody is there."""

from __future__ import annotations

import asyncio
import math
import socket

import pytest

from bot4_live.clock import MarketClock
from bot4_live.session.venue import read_market, require_loopback, wait_until_past


@pytest.mark.parametrize("url", ["http://127.0.0.1:8411", "ws://localhost:1", "http://[::1]:80", "http://127.9.9.9"])
def test_loopback_is_allowed(url):
    require_loopback(url, "BOT4_REST_URL")


@pytest.mark.parametrize("url", ["https://192.0.2.7", "http://0.0.0.0:8411", "http://8.8.8.8"])
def test_anything_else_is_refused(url):
    with pytest.raises(ValueError, match=r"BOT4_REST_URL: .* is not loopback; .*bot4 exchange"):
        require_loopback(url, "BOT4_REST_URL")


def test_a_name_that_only_looks_local_is_resolved(monkeypatch):
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("192.0.2.7", 0))]
    )
    with pytest.raises(ValueError, match="not loopback"):
        require_loopback("http://localhost.example", "BOT4_WS_URL")


def test_no_host():
    with pytest.raises(ValueError, match="names no host"):
        require_loopback("nonsense", "BOT4_REST_URL")


async def test_an_unreachable_exchange_is_one_clear_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConnectionError, match=r"no exchange answers at .*; start one with `bot4 exchange`"):
        await read_market(url)


async def test_a_session_begins_behind_the_journal_s_end(monkeypatch):
    real, slept = [0], []

    async def sleep(seconds):
        slept.append(seconds)
        real[0] += math.ceil(seconds * 1e9)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = MarketClock(1_000_000_000, 0, 5_000, lambda: real[0])  # five times as fast as real time
    assert await wait_until_past(clock, 999_999_999)
    assert slept == []
    assert await wait_until_past(clock, 1_211_000_000)
    assert clock.now_ns() > 1_211_000_000
    assert sum(slept) == pytest.approx(0.0422, abs=1e-6)


async def test_a_clock_that_was_set_far_back_is_not_waited_for():
    clock = MarketClock(1_000_000_000, 0, 1_000, lambda: 0)
    assert not await wait_until_past(clock, 12_000_000_000)
