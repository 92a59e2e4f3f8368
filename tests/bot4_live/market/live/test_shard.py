"""Whose turn it is to be renewed."""

from __future__ import annotations

import random

from bot4_live.market.live.binance_reader import BinanceReader
from bot4_live.market.live.connection import surroundings
from bot4_live.market.live.patience import StreamTimes
from bot4_live.market.live.shard import Shard
from bot4_live.market.venues.dialects import BinanceDialect


async def test_the_longest_overdue_is_renewed_first_and_one_at_a_time():
    times = StreamTimes()
    around = surroundings(BinanceDialect.limits, int, times, random.Random(1))

    def make(name, due):
        shard = Shard(name, "ws://127.0.0.1:1", BinanceReader({}, None, int, times), BinanceDialect, around)
        shard._due = (1.0, due)
        return shard

    shards = [make("a", 30.0), make("b", 10.0), make("c", 20.0)]

    def whose():
        for shard in shards:
            shard._is_our_turn()
        return [shard.name for shard in shards if shard._is_our_turn()]

    for name in "bca":
        assert whose() == [name]
        around.renewing = name
        assert whose() == []
        next(shard for shard in shards if shard.name == name)._give_up_turn()
        shards = [shard for shard in shards if shard.name != name]


async def test_one_that_is_gone_or_not_due_any_more_keeps_nobody_waiting():
    times = StreamTimes()
    around = surroundings(BinanceDialect.limits, int, times, random.Random(1))
    shard = Shard("a", "ws://127.0.0.1:1", BinanceReader({}, None, int, times), BinanceDialect, around)
    shard._due = (1.0, 10.0)
    assert shard._is_our_turn()
    assert list(around.overdue) == ["a"]
    shard._look(20.0)  # its connection was lost meanwhile: a new one is not due
    assert not around.overdue
    assert shard._is_our_turn()
    shard.stop()
    await shard.run()
    assert not around.overdue
