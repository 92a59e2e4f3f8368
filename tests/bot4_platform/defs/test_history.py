"""Exchange history as Dagster runs it: one day from the local exchange, its checks, and what fails cleanly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from bot4_live.settings import Settings
from bot4_platform.lake import Lake
from bot4_platform.partitions import MarketDay
from bot4_platform.resources import Bot4Resource
from bot4_platform.run import materialize
from bot4_platform.settings import platform_settings
from bot4_platform.sources.errors import SourceRefused, SourceUnavailable
from tests.local_exchange import local_exchange

DAY = MarketDay("2024-08-09", "binance_usdm:BTCUSDT")
TABLES = ["history_candles_1m", "history_gaps", "history_trades", "history_funding"]


def test_a_day_is_fetched_checked_and_asked_after_again(settings: Settings, run_check: Any) -> None:
    with local_exchange(outage_seed=4) as server:
        ours = settings.model_copy(update={"rest_url": server.rest_url})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BOT4_REST_URL", server.rest_url)
            done = materialize(TABLES, [DAY], ours)
            assert done.failed_steps == {}
            assert sorted(done.materialized) == sorted(TABLES)
            assert set(done.failed_checks) == {"history_gaps:nothing_is_missing"}, "a warning about the outages"
            lake = Lake(settings.lake_dir)
            assert (
                lake.read("history_candles_1m", *DAY).height + lake.read("history_gaps", *DAY)["minutes"].sum() == 720
            )
            assert lake.read("history_funding", *DAY).height == 2
            assert lake.read("history_trades", *DAY).height > 10_000
    frame = lake.read("history_candles_1m", *DAY)
    lake.write("history_candles_1m", *DAY, frame[:50].vstack(frame[51:]))
    assert not run_check(settings, DAY, "history_gaps", "every_minute_is_accounted_for")


def test_a_venue_that_refuses_is_not_asked_again_and_one_that_is_away_keeps_what_there_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot4_platform.defs.history import assets

    monkeypatch.setenv("BOT4_REST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BOT4_PLATFORM__SOURCES__HTTP__FIRST_WAIT_S", "0.001")

    platform_settings.cache_clear()
    try:
        with (
            pytest.raises(SourceUnavailable, match=r"does not answer|times in a row"),
            assets._client(DAY, Bot4Resource.of(settings)) as client,
        ):
            client.now_ns()
        with (
            pytest.raises(dg.Failure, match="no such symbol") as failed,
            assets._client(DAY, Bot4Resource.of(settings)),
        ):
            raise SourceRefused("no such symbol", 400)
        assert failed.value.allow_retries is False
    finally:
        platform_settings.cache_clear()


def test_each_night_asks_for_the_last_two_days() -> None:
    from bot4_platform.defs.history.automation import history_close

    context = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 8, 10, 0, 20, tzinfo=UTC))
    keys = [str(request.partition_key) for request in history_close(context)]
    assert keys == ["2024-08-08|binance_usdm:BTCUSDT", "2024-08-09|binance_usdm:BTCUSDT"]
