"""Each feature by its definition over a whole history up to a look, with numpy's and the math library's own functions.

`REFERENCES` maps every feature's name to `function(h, look)`; it returns None where a look-back is not filled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

LOT, TICK = 0.001, 0.1
REFERENCES: dict[str, Callable[[Any, Any], float | None]] = {}


def reference(name: str, *arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a reference; `arguments` are bound after the history and the look."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        assert name not in REFERENCES
        REFERENCES[name] = lambda h, look: function(h, look, *arguments)
        return function

    return register


def mid(look: Any) -> float:
    return (look.quote.bid + look.quote.ask) / 2


def trades(h: Any, look: Any) -> list[Any]:
    return [t for t in h.trades if t.ns <= look.ns and t.grid < look.grid]


def quotes(h: Any, look: Any) -> list[Any]:
    """Changes of usable best quotes."""
    return [q for q in h.quotes if q.grid < look.grid and q.old is not None]


def decayed(items: list[tuple[int, float]], now: int, half_life_s: float) -> float:
    grids, values = np.array(items, float).reshape(-1, 2).T
    return float(np.dot(values, np.exp2(-(now - grids) * 0.01 / half_life_s)))


def per_second(half_life_s: float) -> float:
    return (1 - 2.0 ** (-0.01 / half_life_s)) / 0.01


# The book now.


@reference("spread_ticks")
def spread_ticks(h: Any, look: Any) -> float:
    return look.quote.ask - look.quote.bid


@reference("spread_bp")
def spread_bp(h: Any, look: Any) -> float:
    return (look.quote.ask - look.quote.bid) / mid(look) * 1e4


@reference("imbalance_1", 1)
@reference("imbalance_3", 3)
@reference("imbalance_5", 5)
@reference("imbalance_10", 10)
def imbalance(h: Any, look: Any, n: int) -> float:
    bids, asks = (sum(q for _, q in side[:n]) for side in (look.bids, look.asks))
    return (bids - asks) / (bids + asks)


@reference("weighted_mid_bp", 1)
@reference("weighted_mid_5_bp", 5)
def weighted_mid(h: Any, look: Any, n: int) -> float:
    (b, vb), (a, va) = (
        (sum(q for _, q in side[:n]), np.average([p for p, _ in side[:n]], weights=[q for _, q in side[:n]]))
        for side in (look.bids, look.asks)
    )
    return ((vb * a + va * b) / (a + b) / mid(look) - 1) * 1e4


@reference("depth_5")
def depth_5(h: Any, look: Any) -> float:
    return sum(q for _, q in look.bids[:5] + look.asks[:5]) * LOT * mid(look) * TICK


@reference("depth_slope_bid", "bids")
@reference("depth_slope_ask", "asks")
def depth_slope(h: Any, look: Any, side: str) -> float:
    levels = getattr(look, side)[:10]
    return sum(q for _, q in levels) * LOT * mid(look) * TICK / (abs(levels[-1][0] / mid(look) - 1) * 1e4)


@reference("size_levels")
def size_levels(h: Any, look: Any) -> float:
    sizes = np.array([q for _, q in look.bids[:10] + look.asks[:10]], float)
    return 1 / np.square(sizes / sizes.sum()).sum()


@reference("pressure")
def pressure(h: Any, look: Any) -> float:
    bids, asks = (sum(q / abs(p - mid(look)) for p, q in side[:10]) for side in (look.bids, look.asks))
    return (bids - asks) / (bids + asks)


# Looks back.


@reference("return_250ms", 25)
@reference("return_1s", 100)
@reference("return_5s", 500)
def look_back(h: Any, look: Any, back: int) -> float | None:
    before = h.mids.get(look.grid - back)
    return None if before is None else (mid(look) * 2 / before - 1) * 1e4


def bucket_ends(h: Any, look: Any) -> list[int]:
    end = look.grid // 25 * 25
    return [g for g in range(end - 25 * 239, end + 1, 25) if g in h.mids and g - 25 in h.mids]


@reference("volatility")
def volatility(h: Any, look: Any) -> float | None:
    end = look.grid // 25 * 25
    ends = [g for g in range(end - 25 * 3000, end + 1, 25) if g in h.mids and g - 25 in h.mids]
    returns = [(h.mids[g] / h.mids[g - 25] - 1) * 1e4 for g in ends]
    weights = [2.0 ** (-(end - g) * 0.01 / 10) for g in ends]
    return math.sqrt(np.dot(weights, np.square(returns)) / sum(weights) * 4) if ends else None


@reference("kyle_lambda")
def kyle_lambda(h: Any, look: Any) -> float:
    ends = bucket_ends(h, look)
    if len(ends) < 20:
        return 0.0
    # a trade after TICK g and before TICK g + 25 carries a grid number of g .. g + 24
    volume = [sum(t.lots * t.sign for t in h.trades if g - 25 <= t.grid < g) for g in ends]
    change = [(h.mids[g] - h.mids[g - 25]) / 2 for g in ends]
    slope = np.linalg.lstsq(np.column_stack([np.ones(len(ends)), volume]), np.array(change), rcond=None)[0][1]
    last = h.mids[look.grid // 25 * 25] / 2
    return slope / last * 1e4 / (LOT * last * TICK) * 1e6


# Trades and flows.


@reference("flow_250ms", 0.25)
@reference("flow_1s", 1)
@reference("flow_10s", 10)
def flow(h: Any, look: Any, half_life_s: float) -> float:
    return decayed([(t.grid, t.sign * t.notional) for t in trades(h, look)], look.grid, half_life_s)


def count(h: Any, look: Any, half_life_s: float) -> float:
    return decayed([(t.grid, 1.0) for t in trades(h, look)], look.grid, half_life_s)


def volume(h: Any, look: Any) -> float:
    return decayed([(t.grid, t.notional) for t in trades(h, look)], look.grid, 10)


@reference("trade_intensity")
def trade_intensity(h: Any, look: Any) -> float:
    return count(h, look, 5) * per_second(5)


@reference("trade_size")
def trade_size(h: Any, look: Any) -> float:
    return volume(h, look) / count(h, look, 10)


@reference("trade_imbalance_10s")
def trade_imbalance(h: Any, look: Any) -> float:
    return flow(h, look, 10) / volume(h, look)


@reference("excitation")
def excitation(h: Any, look: Any) -> float:
    return count(h, look, 0.25) * per_second(0.25) / (count(h, look, 10) * per_second(10))


@reference("ofi_250ms", 0.25)
@reference("ofi_1s", 1)
def ofi(h: Any, look: Any, half_life_s: float) -> float:
    items = []
    for q in quotes(h, look):
        o = q.old
        e = (q.bid >= o.bid) * q.bid_qty - (q.bid <= o.bid) * o.bid_qty
        e += (q.ask >= o.ask) * o.ask_qty - (q.ask <= o.ask) * q.ask_qty
        items.append((q.grid, e * LOT * (q.bid + q.ask) / 2 * TICK))
    return decayed(items, look.grid, half_life_s)


@reference("ofi_5_1s")
def ofi_5(h: Any, look: Any) -> float:
    return decayed([(grid, e) for grid, e in h.multi if grid < look.grid], look.grid, 1)


@reference("quote_rate")
def quote_rate(h: Any, look: Any) -> float:
    return decayed([(q.grid, 1.0) for q in quotes(h, look)], look.grid, 1) * per_second(1)


@reference("run_length")
def run_length(h: Any, look: Any) -> float:
    signs = [t.sign for t in trades(h, look)]
    run = next((i for i, sign in enumerate(reversed(signs)) if sign != signs[-1]), len(signs))
    return run * signs[-1]


def once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Work something out once for a whole history; a reference then takes what lies before its look."""

    def remembered(h: Any) -> Any:
        if function not in h.known:
            h.known[function] = function(h)
        return h.known[function]

    return remembered


@once
def grids_and_sizes(h: Any) -> Any:
    return np.array([(t.grid, t.notional) for t in h.trades]).T


def mean_notionals(h: Any, n: int, now: int) -> float:
    """Return the decayed mean notional of the first `n` trades."""
    grids, sizes = grids_and_sizes(h)
    weights = np.exp2(-(now - grids[:n]) * 0.01 / 10)
    return float(np.dot(sizes[:n], weights) / weights.sum())


@once
def large_prints(h: Any) -> list[tuple[int, float]]:
    items = []
    for i, t in enumerate(h.trades):
        if i and t.notional >= 5 * mean_notionals(h, i, t.grid):
            items.append((t.grid, t.sign * t.notional))
    return items


@reference("large_flow_10s")
def large_flow(h: Any, look: Any) -> float:
    return decayed([item for item in large_prints(h) if item[0] < look.grid], look.grid, 10)


@once
def volume_buckets(h: Any) -> list[tuple[int, float, float]]:
    """Return (grid of the end, |buys - sells|, volume) of each."""
    found: list[tuple[int, float, float]] = []
    bucket: list[float] = []
    size = 0.0
    for i, t in enumerate(h.trades):
        if not bucket:
            size = 20 * mean_notionals(h, i + 1, t.grid)
        bucket.append(t.sign * t.notional)
        if np.abs(bucket).sum() >= size:
            found.append((t.grid, abs(sum(bucket)), float(np.abs(bucket).sum())))
            bucket = []
    return found


@reference("vpin")
def vpin(h: Any, look: Any) -> float:
    past = [(gap, total) for grid, gap, total in volume_buckets(h) if grid < look.grid][-50:]
    return sum(gap for gap, _ in past) / sum(total for _, total in past) if past else 0.0


@reference("effective_spread_bp")
def effective_spread(h: Any, look: Any) -> float:
    past = [t for t in trades(h, look) if t.mid2]
    paid = [(t.grid, 2e4 * t.sign * (t.price / (t.mid2 / 2) - 1)) for t in past]
    return decayed(paid, look.grid, 10) / decayed([(t.grid, 1.0) for t in past], look.grid, 10)


@reference("realised_spread_bp")
def realised_spread(h: Any, look: Any) -> float:
    past = [t for t in trades(h, look) if t.grid + 101 <= look.grid and t.grid + 101 in h.mids]
    if not past:
        return 0.0
    paid = [(t.grid + 101, 2e4 * t.sign * (t.price / (h.mids[t.grid + 101] / 2) - 1)) for t in past]
    return decayed(paid, look.grid, 10) / decayed([(t.grid + 101, 1.0) for t in past], look.grid, 10)


@reference("since_trade_s")
def since_trade(h: Any, look: Any) -> float:
    return min((look.ns - max(t.ns for t in trades(h, look))) / 1e9, 60)


@reference("since_move_s")
def since_move(h: Any, look: Any) -> float:
    moves = [q.ns for q in quotes(h, look) if q.bid + q.ask != q.old.bid + q.old.ask]
    return min((look.ns - max(moves)) / 1e9, 60) if moves else 60


def removed(h: Any, look: Any, side: str) -> float:
    items = []
    for q in quotes(h, look):
        o = q.old
        price, before, qty, old = (
            (q.bid, o.bid, q.bid_qty, o.bid_qty) if side == "bid" else (-q.ask, -o.ask, q.ask_qty, o.ask_qty)
        )
        items.append((q.grid, float(old if price < before else max(old - qty, 0) if price == before else 0)))
    return decayed(items, look.grid, 10)


@reference("touch_cancel_share")
def touch_cancel_share(h: Any, look: Any) -> float:
    gone = removed(h, look, "bid") + removed(h, look, "ask")
    lots = decayed([(t.grid, t.lots) for t in trades(h, look)], look.grid, 10)
    return max(1 - lots / gone, 0) if gone else 0.0


@reference("queue_bid_s", "bid")
@reference("queue_ask_s", "ask")
def queue(h: Any, look: Any, side: str) -> float:
    gone = removed(h, look, side) * per_second(10)
    qty = look.quote.bid_qty if side == "bid" else look.quote.ask_qty
    return min(qty / gone, 60) if gone else 60


# Walls.


def wall(levels: list[tuple[int, int]]) -> tuple[int, float]:
    """Return (price, size / mean) of a side's wall, (0, 0) for none."""
    sizes = np.array([q for _, q in levels[:50]], float)
    if len(sizes) < 10 or sizes.max() < 5 * sizes.mean():
        return 0, 0.0
    return levels[int(sizes.argmax())][0], sizes.max() / sizes.mean()


@reference("wall_bid_bp", "bids", True)
@reference("wall_bid_size", "bids", False)
@reference("wall_ask_bp", "asks", True)
@reference("wall_ask_size", "asks", False)
def wall_now(h: Any, look: Any, side: str, distance: bool) -> float:
    price, size = wall(getattr(look, side))
    if not distance:
        return size
    return abs(price / mid(look) - 1) * 1e4 if price else 0.0


@once
def withdrawals(h: Any) -> dict[str, list[tuple[int, float]]]:
    """Return (grid, notional) of the walls that were gone at the next look and that no price had reached."""
    items: dict[str, list[tuple[int, float]]] = {"bids": [], "asks": []}
    for grid in sorted(h.looks):
        before, now = h.looks.get(grid - 10), h.looks[grid]
        for side, sign in (("bids", 1), ("asks", -1)):
            price, _ = wall(getattr(before, side)) if before else (0, 0.0)
            if not price:
                continue
            then = dict(getattr(before, side))[price]
            left = dict(getattr(now, side)).get(price, 0)
            came = [getattr(before, side)[0][0], *(t.price for t in h.trades if grid - 10 <= t.grid < grid)]
            came += [q.bid if sign > 0 else q.ask for q in h.quotes if grid - 10 <= q.grid < grid]
            if left <= 0.2 * then and all((p - price) * sign > 0 for p in came):
                items[side].append((grid, (then - left) * LOT * price * TICK))
    return items


@reference("spoof_bid", "bids")
@reference("spoof_ask", "asks")
def spoof(h: Any, look: Any, side: str) -> float:
    return decayed([item for item in withdrawals(h)[side] if item[0] <= look.grid], look.grid, 10)
