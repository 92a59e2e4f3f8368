"""Signals from the book and the prints (SPEC D17). Each is a measurement; whether it predicts, the data must say.

A wall is the largest of a side's best 50 levels (the nearest of equals), if it is at least 5 times their mean size;
it is looked for at every TICK on the grid of 100 ms.
"""

from __future__ import annotations

from bot4_live.features.declared.feature import MS, Feature, S

_SPOOF = "after Lee, Eom & Park 2013, J. Financial Markets 16(2)"
_QUEUE = "after Cont, Stoikov & Talreja 2010, Operations Research 58(3) (queues that deplete)"

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
)  # fmt: skip
