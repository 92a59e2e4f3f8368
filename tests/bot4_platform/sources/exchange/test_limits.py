"""History within the venue's weights: what it says with 429 and 418 is heeded, and trading keeps its share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot4_live.clock import boottime_ns
from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled
from bot4_platform.lake import Lake
from bot4_platform.sources.errors import SourceUnavailable
from bot4_platform.sources.exchange.backfill import backfill
from bot4_platform.sources.exchange.client import HistoryClient
from tests.local_exchange import MARKET, local_exchange

Connect = Callable[..., HistoryClient]
DAYS = ["2024-08-06", "2024-08-07"]
SPEED = 30_000  # of the exchange's time: a minute of weight lasts 2 s


def test_a_429_is_waited_for_and_nothing_is_lost(connect: Connect, tmp_path: Path) -> None:
    with local_exchange(speed_milli=SPEED, weight_limit=10) as server:
        done = backfill(Lake(tmp_path), connect(server.rest_url, budget=False), MARKET, DAYS, ["candles"])
        limits = server.exchange.limits
        assert (done.rows, done.gaps, done.rejected) == (2880, 0, 0)
        assert limits.refused >= 1, "the limit was met"
        assert (limits.bans, limits._violations) == (0, 0), "and nobody asked during the silence"


def test_a_418_is_sat_out(connect: Connect, tmp_path: Path) -> None:
    with local_exchange() as server:
        limits = server.exchange.limits
        limits.ban(1.0)
        done = backfill(Lake(tmp_path), connect(server.rest_url, budget=False), MARKET, DAYS[:1], ["candles"])
        assert done.rows == 1440
        assert (limits.refused, limits.bans) == (1, 1), "one question met the ban, and it was not made longer"


def test_a_long_ban_ends_the_run_with_what_there_is(connect: Connect, tmp_path: Path) -> None:
    with local_exchange() as server:
        lake, client = Lake(tmp_path), connect(server.rest_url)
        backfill(lake, client, MARKET, DAYS[:1], ["candles"])
        server.exchange.limits.ban(7200)
        with pytest.raises(SourceUnavailable, match="goes on where this one stopped"):
            backfill(lake, client, MARKET, DAYS, ["candles"])
        asked = server.exchange.limits.refused
        with pytest.raises(SourceUnavailable):
            backfill(lake, connect(server.rest_url), MARKET, DAYS, ["candles"])
        assert server.exchange.limits.refused == asked, "another client of the address knows of the ban"
        assert lake.read("history_candles_1m").height == 1440


def test_the_shared_budget_keeps_history_to_its_share(connect: Connect, tmp_path: Path) -> None:
    with local_exchange(speed_milli=SPEED, weight_limit=24) as server:
        budget = RestBudget(server.rest_url)
        try:
            budget.set_clock(server.exchange.now_ms() * 10**6, boottime_ns(), SPEED)
            spent, spend = [], server.exchange.limits.spend

            def watched(weight: int, now_ms: int) -> int:
                spent.append(spend(weight, now_ms))
                if spent[-1] >= 9:
                    with pytest.raises(Throttled, match="history requests may use 40 %"):
                        budget.claim(20, Priority.HISTORY)
                    budget.give_back(budget.claim(1, Priority.QUERY))
                    budget.give_back(budget.claim(1, Priority.ORDER, order=True))
                return spent[-1]

            server.exchange.limits.spend = watched  # type: ignore[method-assign]
            done = backfill(Lake(tmp_path), connect(server.rest_url), MARKET, DAYS, ["candles"])
            assert done.rows == 2880
            assert server.exchange.limits.refused == 0, "the venue never had to say no"
            assert 9 <= max(spent) <= 18, "40 % of a minute, at most in two minutes that overlap"
            assert budget.state()["limit"] == 24, "learnt from what the venue lists"
        finally:
            budget.close()
