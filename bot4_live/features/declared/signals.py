"""Signals from the book and the prints (SPEC D17). Each is a measurement; whether it predicts, the data must say.

A wall is the largest of a side's best 50 levels (the nearest of equals), if it is at least 5 times their mean size;
it is looked for at every TICK on the grid of 100 ms.
"""

from __future__ import annotations

from bot4_live.features.declared.feature import MS, Feature, S

_SPOOF = "after Lee, Eom & Park 2013, J. Financial Markets 16(2)"
_QUEUE = "after Cont, Stoikov & Talreja 2010, Operations Research 58(3) (queues that deplete)"
_PLACE = "after Moallemi & Yuan 2016, A Model for Queue Position Valuation in a Limit Order Book"
_QUANTILE = "Robbins & Monro 1951, Annals of Mathematical Statistics 22(3), on the logarithm of the quantile"

SIGNALS: tuple[Feature, ...] = (
    Feature("wall_bid_bp", "signal", "now", 0, "bp", "distance of the bids' wall (support) from mid; 0 = none", "D17"),
    Feature("wall_bid_size", "signal", "now", 0, "ratio", "its size / mean size of the levels; 0 = none", "D17"),
    Feature("wall_ask_bp", "signal", "now", 0, "bp", "distance of the asks' wall (resistance); 0 = none", "D17"),
    Feature("wall_ask_size", "signal", "now", 0, "ratio", "its size / mean size of the levels; 0 = none", "D17"),
    Feature(
        "spoof_bid", "signal", "half-life", 10 * S, "quote",
        "notional taken out of bid walls that lost at least 80 % within 100 ms while neither a trade nor the best "
        "price came as far, decayed: large orders that were withdrawn, not filled", _SPOOF,
    ),
    Feature("spoof_ask", "signal", "half-life", 10 * S, "quote", "the same of ask walls", _SPOOF),
    Feature(
        "large_flow_10s", "signal", "half-life", 10 * S, "quote",
        "aggressor buys - sells of large prints, decayed: trades of at least 5 times trade_size as it was before them",
        "D17",
    ),
    Feature(
        "excitation", "signal", "half-life", 250 * MS, "ratio",
        "trades a second with half-life 250 ms / the same with 10 s: how far trades cluster now",
        "after Hawkes 1971, Biometrika 58(1) (exponential kernel)",
    ),
    Feature(
        "touch_cancel_share", "signal", "half-life", 10 * S, "ratio 0..1",
        "share of what left the best prices that no trade explains: 1 - traded / removed lots, both decayed, not "
        "below 0; a best price that is given up counts as removed",
        "definition",
    ),
    Feature(
        "queue_bid_s", "signal", "half-life", 10 * S, "s",
        "best bid size / lots a second that leave the best bid (decayed): when an order that joins now would be first; "
        "at most 60",
        _QUEUE,
    ),
    Feature("queue_ask_s", "signal", "half-life", 10 * S, "s", "the same of the best ask", _QUEUE),
    Feature(
        "queue_place_bid", "signal", "lookback", 60 * S, "ratio 0..1",
        "share of the best bid's size that is before an order of no size which joined when that became the best price "
        "or when the order before it was filled (the window is only a name for that): a trade takes its lots from "
        "before the order, a cancellation the order's share of its lots; 1 = at the end, 0 = next",
        f"{_PLACE} (cancellations spread evenly over the queue)",
    ),
    Feature("queue_place_ask", "signal", "lookback", 60 * S, "ratio 0..1", "the same of the best ask", _PLACE),
    Feature(
        "fill_bid", "signal", "half-life", 10 * S, "probability",
        "chance that an order joining the best bid is filled before the best bid rises away from it: "
        "r / (r + n * best bid size), with r the lots that left the best bid and n the times it rose, both decayed. "
        "Assumes that the wait for the queue to go and the wait for the price to leave are exponential, independent, "
        "at the rates of late; 0 where neither was seen",
        f"{_QUEUE}; competing exponential waits at empirical rates instead of its Laplace transforms",
    ),
    Feature("fill_ask", "signal", "half-life", 10 * S, "probability", "the same of the best ask, which falls", _QUEUE),
    Feature(
        "print_flow_10s", "signal", "half-life", 10 * S, "quote",
        "aggressor buys - sells of the largest prints, decayed: those that reach the running 95 % quantile of notional "
        "as it was before them; it steps by 1 / n of itself at the n-th print, at least 1/20 and at most 1/2, times "
        "0.95 up or 0.05 down",
        _QUANTILE,
    ),
    Feature(
        "print_size_ratio", "signal", "rolling", S, "ratio",
        "running 95 % quantile of notional / running median (steps 0.5 up or down): how heavy the tail of sizes is. "
        "The window is some hundred prints (the second only a name for it)",
        _QUANTILE,
    ),
    Feature(
        "print_tail_index", "signal", "half-life", 60 * S, "index 1..100",
        "m / (m - 1), m the decayed mean of notional / running 95 % quantile of the prints that reach it: the index of "
        "a Pareto tail; small = heavy; 0 before the first. A mean instead of Hill's mean logarithm, so it is biased "
        "where the true index is near 1",
        "van der Wijk's law (Cowell 2011, Measuring Inequality); against Hill 1975, Annals of Statistics 3(5)",
    ),
    Feature(
        "trade_fano", "signal", "half-life", 10 * S, "ratio",
        "variance / mean of the number of trades in 100 ms, decayed: 1 for a Poisson process, more where trades "
        "cluster; 0 without trades",
        "Fano 1947, Physical Review 72(1)",
    ),
)  # fmt: skip
