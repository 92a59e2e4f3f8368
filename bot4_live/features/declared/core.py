"""The first features: spread, imbalance, returns, volatility, decayed flows, Kyle's lambda."""

from __future__ import annotations

from bot4_live.features.declared.feature import MS, Feature, S

# Decays step on the engine's 10 ms TICKs, so a half-life is exact to that grid. "quote" is the quote currency.
CORE: tuple[Feature, ...] = (
    Feature("spread_ticks", "book", "now", 0, "tick", "best ask - best bid", "definition"),
    Feature("spread_bp", "book", "now", 0, "bp", "(best ask - best bid) / mid", "definition"),
    Feature(
        "imbalance_1", "book", "now", 0, "ratio -1..1",
        "(bid size - ask size) / (bid size + ask size) at the best prices",
        "Cartea, Jaimungal & Penalva 2015, Algorithmic and High-Frequency Trading, section 12.2",
    ),
    Feature(
        "imbalance_5", "book", "now", 0, "ratio -1..1", "the same on the summed sizes of the best 5 levels a side",
        "Cartea, Jaimungal & Penalva 2015, section 12.2, over 5 levels",
    ),
    Feature(
        "weighted_mid_bp", "book", "now", 0, "bp",
        "(bid * ask size + ask * bid size) / (bid size + ask size), against mid",
        "DOMAIN: weighted mid; not Stoikov's 2018 micro-price",
    ),
    Feature(
        "weighted_mid_5_bp", "book", "now", 0, "bp",
        "the same with each side's size-weighted mean price and total size over 5 levels, against mid",
        "DOMAIN: weighted mid over 5 levels",
    ),
    Feature(
        "return_250ms", "price", "lookback", 250 * MS, "bp", "mid now / mid at the TICK 250 ms before the last, - 1",
        "definition",
    ),
    Feature("return_1s", "price", "lookback", S, "bp", "the same over 1 s", "definition"),
    Feature("return_5s", "price", "lookback", 5 * S, "bp", "the same over 5 s", "definition"),
    Feature(
        "volatility", "price", "half-life", 10 * S, "bp/sqrt(s)",
        "root of the weighted mean of squared 250 ms mid returns, per square root of a second",
        "RiskMetrics Technical Document 1996, section 5.2 (zero mean EWMA, weights normalised)",
    ),
    Feature("flow_1s", "trade", "half-life", S, "quote", "aggressor buys - sells, decayed", "definition"),
    Feature("flow_10s", "trade", "half-life", 10 * S, "quote", "aggressor buys - sells, decayed", "definition"),
    Feature("trade_intensity", "trade", "half-life", 5 * S, "1/s", "trades a second, decayed", "definition"),
    Feature("trade_size", "trade", "half-life", 10 * S, "quote", "mean notional of a trade, decayed", "definition"),
    Feature(
        "ofi_1s", "flow", "half-life", S, "quote", "order flow imbalance e_n of the best quotes, decayed",
        "Cont, Kukanov & Stoikov 2014, J. Financial Econometrics 12(1), section 2.1 (e_n)",
    ),
    Feature(
        "kyle_lambda", "flow", "rolling", 60 * S, "bp per million quote",
        "OLS slope, with intercept, of mid change on net aggressor volume over the same 250 ms buckets; "
        "0 below 20 buckets",
        "Kyle 1985, Econometrica 53(6); DOMAIN: Kyle's lambda",
    ),
    Feature("quote_rate", "flow", "half-life", S, "1/s", "changes of the best quotes a second, decayed", "definition"),
    Feature("depth_5", "book", "now", 0, "quote", "notional at mid of the best 5 levels of both sides", "definition"),
)  # fmt: skip
