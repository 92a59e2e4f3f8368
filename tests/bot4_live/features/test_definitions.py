"""Each feature against its definition, computed another way: whole histories, decimals of time, numpy's own OLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from bot4_live.benchmarks.inputs import EventLog
from bot4_live.clock import TICK_NS
from bot4_live.events import Flag, Kind, header_of, slots_of
from bot4_live.features.batch import FeatureTable, compute
from bot4_live.features.registry import NAMES

TICK, LOT = 0.1, 0.001


@dataclass
class History:
    """Everything that happened, by grid number; nothing is summed ahead."""

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    quote: tuple[int, int, int, int] | None = None
    overlay: tuple[int, int, int, int, int] | None = None  # update id, then the quote
    update_id: int = 0
    grid: int = 0
    mids: dict[int, int] = field(default_factory=dict)
    trades: list[tuple[int, float, int]] = field(default_factory=list)  # grid, signed notional, signed lots
    flow: list[tuple[int, float]] = field(default_factory=list)  # grid, e_n in quote


def levels(h: History) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    bids, asks = dict(h.bids), dict(h.asks)
    if h.overlay and h.overlay[0] > h.update_id:
        _, bid, bid_qty, ask, ask_qty = h.overlay
        bids = {p: q for p, q in bids.items() if p < bid} | {bid: bid_qty}
        asks = {p: q for p, q in asks.items() if p > ask} | {ask: ask_qty}
    return sorted(bids.items(), reverse=True)[:5], sorted(asks.items())[:5]


def take_book(h: History) -> None:
    bids, asks = levels(h)
    if not bids or not asks:
        return
    (bid, bid_qty), (ask, ask_qty) = bids[0], asks[0]
    new = (bid, bid_qty, ask, ask_qty)
    if h.quote is not None and new != h.quote:
        old = h.quote
        e = (bid >= old[0]) * bid_qty - (bid <= old[0]) * old[1] - (ask <= old[2]) * ask_qty + (ask >= old[2]) * old[3]
        h.flow.append((h.grid, e * LOT * (bid + ask) / 2 * TICK))
    h.quote = new


def reference(log: EventLog, every: int = 40) -> tuple[list[int], list[dict[str, float]]]:
    """Return (seq, features by name) at every 400 ms, without the engine's code."""
    h = History()
    seqs, rows = [], []
    for i in range(len(log.offsets)):
        record = log.record(i)
        head, slots = header_of(record), slots_of(record)
        kind = head["kind"]
        if kind == Kind.TICK:
            h.grid = int(head["recv_ns"]) // TICK_NS
            if h.quote:
                h.mids[h.grid] = h.quote[0] + h.quote[2]
            if h.grid % every == 0 and h.quote:
                seqs.append(int(head["seq"]))
                rows.append(features(h))
        elif kind == Kind.TRADE:
            price, qty = slots[0].tolist()
            sign = -1 if head["flags"] & Flag.SELL else 1
            h.trades.append((h.grid, sign * price * TICK * qty * LOT, sign * qty))
        elif kind == Kind.BOOK_TICKER:
            h.overlay = (int(head["a"]), *slots[0].tolist(), *slots[1].tolist())
            if h.bids:
                take_book(h)
        elif kind in (Kind.DEPTH_SNAPSHOT, Kind.DEPTH_DIFF):
            take_depth(h, head, slots)
    return seqs, rows


def take_depth(h: History, head: Any, slots: np.ndarray) -> None:
    if head["kind"] == Kind.DEPTH_SNAPSHOT:
        h.bids, h.asks = {}, {}
    elif not h.bids or head["b"] < h.update_id:
        return
    h.update_id = int(head["b"])
    n_bids = int(slots[0, 1])
    for side, part in ((h.bids, slots[1 : 1 + n_bids]), (h.asks, slots[1 + n_bids :])):
        for price, qty in part.tolist():
            side[price] = qty
            if qty == 0:
                del side[price]
    take_book(h)


def decayed(items: list[tuple[int, float]], now: int, half_life_s: float) -> float:
    return sum(value * 2.0 ** (-(now - grid) * 0.01 / half_life_s) for grid, value in items)


def features(h: History) -> dict[str, float]:
    assert h.quote is not None
    bid, bid_qty, ask, ask_qty = h.quote
    mid = (bid + ask) / 2
    bids, asks = levels(h)
    five_b, five_a = sum(q for _, q in bids), sum(q for _, q in asks)
    vwap_b, vwap_a = sum(p * q for p, q in bids) / five_b, sum(p * q for p, q in asks) / five_a
    per_tick = (1 - 2.0 ** (-0.01 / 5)) / 0.01
    counts = [(grid, 1.0) for grid, _, _ in h.trades]
    out = {
        "spread_ticks": ask - bid,
        "spread_bp": (ask - bid) / mid * 1e4,
        "imbalance_1": (bid_qty - ask_qty) / (bid_qty + ask_qty),
        "imbalance_5": (five_b - five_a) / (five_b + five_a),
        "weighted_mid_bp": ((bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty) / mid - 1) * 1e4,
        "weighted_mid_5_bp": ((vwap_b * five_a + vwap_a * five_b) / (five_a + five_b) / mid - 1) * 1e4,
        "flow_1s": decayed([(g, v) for g, v, _ in h.trades], h.grid, 1),
        "flow_10s": decayed([(g, v) for g, v, _ in h.trades], h.grid, 10),
        "trade_intensity": decayed(counts, h.grid, 5) * per_tick,
        "trade_size": decayed([(g, abs(v)) for g, v, _ in h.trades], h.grid, 10) / decayed(counts, h.grid, 10),
        "ofi_1s": decayed(h.flow, h.grid, 1),
        "quote_rate": decayed([(g, 1.0) for g, _ in h.flow], h.grid, 1) * (1 - 2.0**-0.01) / 0.01,
        "depth_5": (five_b + five_a) * LOT * mid * TICK,
    }
    for name, back in (("return_250ms", 25), ("return_1s", 100), ("return_5s", 500)):
        if h.grid - back in h.mids:
            out[name] = (mid * 2 / h.mids[h.grid - back] - 1) * 1e4
    return out | buckets(h)


def buckets(h: History) -> dict[str, float]:
    """Volatility and Kyle's lambda over 250 ms buckets, at the last bucket that has ended."""
    end = h.grid // 25 * 25
    ends = [g for g in range(end - 25 * 239, end + 1, 25) if g in h.mids and g - 25 in h.mids]
    returns = [(h.mids[g] / h.mids[g - 25] - 1) * 1e4 for g in ends]
    weights = [2.0 ** (-(end - g) * 0.01 / 10) for g in ends]
    out = {}
    if ends:
        out["volatility"] = np.sqrt(np.dot(weights, np.square(returns)) / sum(weights) * 4)
    out["kyle_lambda"] = 0.0
    if len(ends) >= 20:
        # a trade after TICK g and before TICK g + 25 carries a grid number of g .. g + 24
        volume = [sum(lots for grid, _, lots in h.trades if g - 25 <= grid < g) for g in ends]
        change = [(h.mids[g] - h.mids[g - 25]) / 2 for g in ends]
        slope = np.linalg.lstsq(np.column_stack([np.ones(len(ends)), volume]), np.array(change), rcond=None)[0][1]
        mid = h.mids[end] / 2
        out["kyle_lambda"] = slope / mid * 1e4 / (LOT * mid * TICK) * 1e6
    return out


@pytest.fixture(scope="module")
def table(market_log: EventLog) -> FeatureTable:
    return compute(market_log.buffer, market_log.offsets, 400)


@pytest.fixture(scope="module")
def expected(market_log: EventLog) -> tuple[list[int], list[dict[str, float]]]:
    return reference(market_log)


@pytest.mark.parametrize("name", NAMES)
def test_feature_follows_its_definition(
    name: str, table: FeatureTable, expected: tuple[list[int], list[dict[str, float]]]
) -> None:
    rows = {int(seq): i for i, seq in enumerate(table.seq)}
    values = table.column(name)
    compared = 0
    distinct = set()
    for seq, row in zip(*expected, strict=True):
        if name not in row:
            continue
        assert values[rows[seq]] == pytest.approx(row[name], rel=1e-9, abs=1e-9), seq
        compared += 1
        distinct.add(round(row[name], 9))
    assert compared >= 30
    if not name.startswith("spread"):  # hardly moves in this market: see test_kernels
        assert len(distinct) > 3  # a constant would prove nothing
