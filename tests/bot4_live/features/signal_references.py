"""The signals of queues and prints by their definitions over a whole history; see `references.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

REFERENCES: dict[str, Callable[[Any, Any], float | None]] = {}


def reference(name: str, *arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a reference; `arguments` are bound after the history and the look."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        assert name not in REFERENCES
        REFERENCES[name] = lambda h, look: function(h, look, *arguments)
        return function

    return register


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Work something out once for a whole history (and its arguments)."""

    def remembered(h: Any, *arguments: Any) -> Any:
        if (function, arguments) not in h.known:
            h.known[function, arguments] = function(h, *arguments)
        return h.known[function, arguments]

    return remembered


def decayed(items: list[tuple[int, float]], now: int, half_life_s: float) -> float:
    past = np.array([item for item in items if item[0] < now], float).reshape(-1, 2)
    return float(np.dot(past[:, 1], np.exp2(-(now - past[:, 0]) * 0.01 / half_life_s)))


# Queues.


def side_of(quote: Any, side: str) -> tuple[int, int]:
    """Return (price, size), a higher price being nearer to the other side."""
    return (quote.bid, quote.bid_qty) if side == "bid" else (-quote.ask, quote.ask_qty)


@once
def places(h: Any, side: str) -> list[tuple[int, float]]:
    """Return (grid, share before the order) after each event, with the queue kept as what is before and behind it."""
    sign, towards = (-1, 1) if side == "bid" else (1, -1)
    price = before = behind = owed = 0.0
    now = 0
    out = []
    for event in sorted([*h.quotes, *(t for t in h.trades if t.sign == sign)], key=lambda e: e.ns):
        if event.grid != now:  # a trade that no quote has shown so far is taken for lots that are still there
            now, behind, owed = event.grid, behind + owed, 0.0
        if hasattr(event, "lots"):
            if price and event.price * towards == price:
                owed += event.lots
                if before >= event.lots:
                    before -= event.lots
                else:  # filled: joins again behind everything
                    before, behind = max(before + behind - event.lots, 0.0), 0.0
        else:
            new, size = side_of(event, side)
            shown = before + behind + owed
            if new != price:
                price, before, behind, owed = new, size, 0.0, 0.0
            elif size >= shown:
                behind += size - shown
            else:
                explained = min(owed, shown - size)
                owed -= explained
                cancelled = shown - size - explained
                if cancelled > 0:
                    kept = 1 - cancelled / (before + behind)
                    before, behind = before * kept, behind * kept
        if price:
            out.append((event.grid, before / (before + behind + owed) if before else 0.0))
    return out


@reference("queue_place_bid", "bid")
@reference("queue_place_ask", "ask")
def queue_place(h: Any, look: Any, side: str) -> float:
    return [share for grid, share in places(h, side) if grid < look.grid][-1]


@reference("fill_bid", "bid")
@reference("fill_ask", "ask")
def fill(h: Any, look: Any, side: str) -> float:
    gone, left = [], []
    for q in h.quotes:
        if q.old is None:
            continue
        (price, size), (old, before) = side_of(q, side), side_of(q.old, side)
        gone.append((q.grid, float(before if price < old else max(before - size, 0) if price == old else 0)))
        left.append((q.grid, float(price > old)))
    rate, leaving = decayed(gone, look.grid, 10), decayed(left, look.grid, 10)
    wait = side_of(look.quote, side)[1] / rate if rate else np.inf
    return 1 / (1 + leaving * wait) if rate else 0.0


# Prints.


@once
def quantiles(h: Any) -> list[tuple[float, float, bool]]:
    """Return (q50, q95, whether it reached q95) after each print."""
    out = []
    q = {0.5: h.trades[0].notional, 0.95: h.trades[0].notional}
    for n, t in enumerate(h.trades, 1):
        reached = n > 1 and t.notional >= q[0.95]
        step = min(max(1 / n, 1 / 20), 1 / 2)
        large = q[0.95]
        for p in q:
            q[p] *= 1 + step * (p if t.notional >= q[p] else p - 1)
        out.append((q[0.5], q[0.95], t.notional / large if reached else 0.0))
    return out


def seen(h: Any, look: Any) -> list[Any]:
    """Return (trade, its quantiles) of every print before the look."""
    return [(t, q) for t, q in zip(h.trades, quantiles(h), strict=True) if t.grid < look.grid]


@reference("print_flow_10s")
def print_flow(h: Any, look: Any) -> float:
    return decayed([(t.grid, t.sign * t.notional) for t, q in seen(h, look) if q[2]], look.grid, 10)


@reference("print_size_ratio")
def print_size_ratio(h: Any, look: Any) -> float:
    _, (median, large, _) = seen(h, look)[-1]
    return large / median


@reference("print_tail_index")
def print_tail_index(h: Any, look: Any) -> float:
    tail = [(t.grid, q[2]) for t, q in seen(h, look) if q[2]]
    if not tail:
        return 0.0
    m = decayed(tail, look.grid, 60) / decayed([(grid, 1.0) for grid, _ in tail], look.grid, 60)
    return min(m / (m - 1), 100) if m > 1 else 100


@reference("trade_fano")
def trade_fano(h: Any, look: Any) -> float:
    first = -(-h.first // 10) * 10
    # a trade after TICK g and before TICK g + 1 carries a grid number of g
    ends = np.arange(first, look.grid // 10 * 10 + 1, 10)
    grids = np.sort([t.grid for t in h.trades])
    counts = (np.searchsorted(grids, ends) - np.searchsorted(grids, ends - 10)).astype(float)
    weights = np.exp2(-(ends[-1] - ends) * 0.01 / 10)
    mean = np.average(counts, weights=weights)
    return float(np.average((counts - mean) ** 2, weights=weights) / mean)
