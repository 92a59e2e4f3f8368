"""Order flow and trades. Half-lives step on the 10 ms TICKs; the mid is the one in force when the trade came."""

from __future__ import annotations

from bot4_live.features.declared.feature import MS, Feature, S

FLOW: tuple[Feature, ...] = (
    Feature("flow_250ms", "trade", "half-life", 250 * MS, "quote", "aggressor buys - sells, decayed", "definition"),
    Feature(
        "trade_imbalance_10s", "trade", "half-life", 10 * S, "ratio -1..1",
        "(aggressor buys - sells) / (buys + sells), decayed notional",
        "Chordia, Roll & Subrahmanyam 2002, J. Financial Economics 65(1)",
    ),
    Feature(
        "ofi_250ms", "flow", "half-life", 250 * MS, "quote", "order flow imbalance e_n of the best quotes, decayed",
        "Cont, Kukanov & Stoikov 2014, J. Financial Econometrics 12(1), section 2.1 (e_n)",
    ),
    Feature(
        "ofi_5_1s", "flow", "half-life", S, "quote",
        "the same summed over the best 5 levels a side, level by level, at mid, decayed",
        "Cont, Cucuringu & Zhang 2023, Quantitative Finance 23(10) (summed, not scaled by depth)",
    ),
    Feature(
        "run_length", "trade", "lookback", 60 * S, "trades",
        "trades in a row by the same aggressor, negative for sellers; 0 after 60 s without a trade",
        "Hasbrouck & Ho 1987, J. Finance 42(4) (continuation of order types)",
    ),
    Feature(
        "vpin", "trade", "rolling", S, "ratio 0..1",
        "sum of |buys - sells| / volume over the last 50 volume buckets. A bucket ends with the trade that brings its "
        "notional to 20 mean trades (trade_size when it began): no trade is split, the aggressor is known and time "
        "does not count (the window is in volume, the second only a name for it)",
        "after Easley, Lopez de Prado & O'Hara 2012, Review of Financial Studies 25(5)",
    ),
    Feature(
        "effective_spread_bp", "trade", "half-life", 10 * S, "bp",
        "2 sign (price - mid) / mid, mean of the trades, decayed; sign 1 for an aggressor who bought",
        "Huang & Stoll 1996, J. Financial Economics 41(3)",
    ),
    Feature(
        "realised_spread_bp", "trade", "half-life", 10 * S, "bp",
        "2 sign (price - mid a second later) / that mid, mean of the trades, decayed; known 1.00 to 1.01 s after them",
        "Huang & Stoll 1996, J. Financial Economics 41(3)",
    ),
    Feature(
        "since_trade_s", "trade", "lookback", 60 * S, "s",
        "time since the last trade as of the last TICK, 0 at a trade, at most 60 (also when there was none)",
        "definition",
    ),
    Feature(
        "since_move_s", "price", "lookback", 60 * S, "s",
        "time since the mid last changed as of the last TICK, 0 at a change, at most 60", "definition",
    ),
)  # fmt: skip
