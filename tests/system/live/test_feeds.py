"""`bot4 feeds` of a live session: both transports are shown alike, and nothing is left after a clean end."""

from __future__ import annotations

import pytest

from bot4_live.market.feed_status import read
from bot4_live.market.feed_table import lines

pytestmark = pytest.mark.system


@pytest.mark.parametrize("transport", ["async", pytest.param("spin", marks=pytest.mark.slow)])
def test_a_session_shows_its_feeds(stack, transport):
    process, ready, _ = stack.start_runner(BOT4_TRANSPORT=transport, BOT4_SPIN_FORCE="1")
    assert ready, stack.log("live")
    folder = stack.settings.shm_dir
    kinds = {"depth btcusdt", "bookTicker btcusdt", "trade btcusdt"}

    def all_speak():
        shown = read(folder)
        if shown is None:
            return False
        rows = [row for pool in shown.content["pools"] for row in pool["connections"]]
        channels = {channel["name"]: channel for row in rows for channel in row["channels"]}
        return channels.keys() >= kinds and all(channels[kind]["rate"] > 0 for kind in kinds)

    stack.wait(all_speak, 20, "a channel is not shown")
    shown = read(folder)
    assert (shown.state, shown.content["role"], shown.content["pid"]) == ("running", "live", process.pid)
    assert [(book["market"], book["live"]) for book in shown.content["books"]] == [("binance_usdm:BTCUSDT", True)]
    assert shown.content["clock"] is not None
    assert shown.content["venue_clock"]["error_ns"] > 0
    assert shown.content["written"]["healthy"]
    text = "\n".join(lines([shown]))
    assert "venue's clock" in text
    assert "bookTicker btcusdt" in text
    stack.stop_runner(process)
    assert read(folder) is None
