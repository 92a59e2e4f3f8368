"""What readers of the log want to know at once: which liquidations are large, and when funding is paid next."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np

from bot4_live.events import Field, Flag, Kind, header_of, new_record, slots_of, value_slot
from bot4_live.instrument import BTCUSDT_USDM
from bot4_live.market.feed_core import FeedCore
from bot4_live.market.funding import Funding, FundingSchedule
from bot4_live.market.venues.contracts import Contract
from bot4_live.market.venues.okx import OkxFeed
from bot4_live.market.venues.registry import Instruments

S = 1_000_000_000
HOUR = 3600 * S


def force_order(base_ms: int, price: str, qty: str) -> bytes:
    order = {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": qty, "p": price, "ap": price, "X": "FILLED",
        "l": qty, "z": qty, "T": base_ms,
    }  # fmt: skip
    data = {"e": "forceOrder", "E": base_ms, "o": order}
    return json.dumps({"stream": "btcusdt@forceOrder", "data": data}).encode()


def test_binances_liquidations_are_marked_from_the_threshold_on(base_ns):
    out: list[np.ndarray] = []
    core = FeedCore(BTCUSDT_USDM, out.append, liquidation_usd=50_000)
    core.on_connect(base_ns)
    for price, qty in (("50000.0", "0.999"), ("50000.0", "1.000"), ("10000.0", "5.001")):
        core.on_frame(base_ns, force_order(base_ns // 1_000_000, price, qty))
    marked = [bool(header_of(r)["flags"] & Flag.LARGE) for r in out if header_of(r)["kind"] == Kind.LIQUIDATION]
    assert marked == [False, True, True]
    assert core.counts.large_liquidations == 2
    assert core.counts.as_dict()["large_liquidations"] == 2


def test_contracts_are_counted_by_what_they_are_worth():
    """100 contracts of 100 USD are 10,000 USD, whatever the price."""
    known = Instruments("okx")
    known.declare("BTC-USD-SWAP", 1, 0, contract=Contract(100 * 10**8, True))
    feed = OkxFeed(known, liquidation_usd=10_000)
    feed.on_connect(1)
    details = [
        {
            "side": "sell",
            "posSide": "long",
            "bkPx": "60000.1",
            "sz": size,
            "bkLoss": "0",
            "ccy": "",
            "ts": "1700000000000",
        }
        for size in ("99", "100")
    ]
    data = {"instId": "BTC-USD-SWAP", "instType": "SWAP", "uly": "BTC-USD", "instFamily": "BTC-USD", "details": details}
    frame = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [data]}
    out = feed.on_frame(2, json.dumps(frame).encode())
    assert [int(header_of(r)["flags"]) for r in out] == [Flag.SELL, Flag.SELL | Flag.LARGE]
    assert feed.counts.large_liquidations == 1


def funding(next_ns: int, rate: str = "0.0001", instrument: int = 0) -> np.ndarray:
    record = new_record(Kind.FUNDING, 1)
    slots_of(record)[0] = value_slot(Field.FUNDING_RATE, rate)
    head = header_of(record)
    head["a"], head["exch_ns"], head["instrument"] = next_ns, 5, instrument
    return record


def test_the_schedule_knows_the_next_times():
    schedule = FundingSchedule()
    assert schedule.of(0) == Funding()
    assert schedule.of(0).times(0) == []
    schedule.take(funding(8 * HOUR))
    said = schedule.of(0)
    assert (said.rate, said.next_ns, said.said_ns, said.interval_s) == (Decimal("0.0001"), 8 * HOUR, 5, 0)
    assert said.times(HOUR) == [8 * HOUR]
    assert said.times(8 * HOUR) == []  # passed, and no interval is known
    schedule.take(funding(16 * HOUR, "0.0002"))  # eight hours later: that is the interval
    assert schedule.of(0).interval_s == 8 * 3600
    assert schedule.of(0).times(15 * HOUR) == [16 * HOUR, 24 * HOUR, 32 * HOUR]
    assert schedule.of(0).times(16 * HOUR, 1) == [24 * HOUR]
    assert schedule.of(0).times(41 * HOUR, 2) == [48 * HOUR, 56 * HOUR]
    schedule.take(replace(BTCUSDT_USDM, funding_interval_s=4 * 3600).record(6))
    schedule.take(funding(20 * HOUR))
    assert schedule.of(0).times(0, 2) == [20 * HOUR, 24 * HOUR]
    schedule.take(funding(0, "-0.0003", instrument=3))  # paid all the time
    assert schedule.of(3).times(0) == []
    assert schedule.of(3).rate == Decimal("-0.0003")


def test_a_mark_price_frame_fills_the_schedule(base_ns):
    schedule = FundingSchedule()
    core = FeedCore(BTCUSDT_USDM, schedule.take)
    core.on_connect(base_ns)
    ms = base_ns // 1_000_000
    data = {"e": "markPriceUpdate", "E": ms, "s": "BTCUSDT", "p": "60000.1", "i": "60000.2", "P": "60000.3",
            "r": "0.00038167", "T": ms + 3_600_000}  # fmt: skip
    core.on_frame(base_ns, json.dumps({"stream": "btcusdt@markPrice", "data": data}).encode())
    said = schedule.of(0)
    assert said.rate == Decimal("0.00038167")
    assert said.times(base_ns) == [(ms + 3_600_000) * 1_000_000]
