"""Bars of the mid and the indicators on them.

A bar of 1 s (5 s) ends at the TICK whose engine time is a whole second (5 s); it opens at the close before it, its
high and low are those of every mid in between, its volume and value those of the trades. Values change when a bar
ends. Until a window is full it is taken over the bars there are; a bar end without a usable book, or a bar that is
missing, begins the history anew. Neutral values then: 50 for RSI and the stochastics, 0.5 for bollinger_b, else 0.
"""

from __future__ import annotations

from bot4_live.features.declared.feature import Feature, S

_BN = "Barndorff-Nielsen & Shephard 2004, J. Financial Econometrics 2(1)"
_WILDER = "Wilder 1978, New Concepts in Technical Trading Systems"

BARS: tuple[Feature, ...] = (
    Feature(
        "ema_60s_bp", "bar", "rolling", 60 * S, "bp",
        "close / EMA of closes - 1; span of 60 bars of 1 s (weight 2 / 61), begun at the first close",
        "Appel 2005, Technical Analysis, chapter 8 (EMA by span)",
    ),
    Feature(
        "rsi_14", "bar", "rolling", 14 * S, "0..100",
        "100 gains / (gains + losses), Wilder's means over 14 bars of 1 s (plain means before 14)",
        f"{_WILDER}, section VI",
    ),
    Feature(
        "bollinger_b", "bar", "rolling", 20 * S, "ratio",
        "(close - lower) / (upper - lower), bands at mean +- 2 population standard deviations of 20 closes of 1 s",
        "Bollinger 2001, Bollinger on Bollinger Bands, %b",
    ),
    Feature(
        "bollinger_width_bp", "bar", "rolling", 20 * S, "bp", "(upper - lower) / mean of the same bands",
        "Bollinger 2001, BandWidth",
    ),
    Feature(
        "macd_bp", "bar", "rolling", 26 * S, "bp", "(EMA of 12 - EMA of 26 closes of 1 s) / close",
        "Appel 2005, Technical Analysis, chapter 8",
    ),
    Feature(
        "macd_histogram_bp", "bar", "rolling", 35 * S, "bp", "(MACD - its EMA of 9 bars) / close",
        "Appel 2005, Technical Analysis, chapter 8",
    ),
    Feature(
        "stochastic_k", "bar", "rolling", 14 * S, "0..100",
        "100 (close - lowest low) / (highest high - lowest low) of 14 bars of 1 s", "Lane 1984, Stocks & Commodities 2",
    ),
    Feature(
        "stochastic_d", "bar", "rolling", 16 * S, "0..100", "mean of stochastic_k at the last 3 bars",
        "Lane 1984, Stocks & Commodities 2",
    ),
    Feature(
        "atr_14_bp", "bar", "rolling", 14 * S, "bp",
        "Wilder's mean over 14 bars of 1 s of high - low (a bar opens at the close before: the true range), of close",
        f"{_WILDER}, section III",
    ),
    Feature(
        "roc_30s_bp", "bar", "lookback", 30 * S, "bp", "close / close 30 bars of 1 s before (or the oldest) - 1",
        "definition",
    ),
    Feature(
        "vwap_60s_bp", "bar", "rolling", 60 * S, "bp",
        "close / volume-weighted mean price of the trades in 60 bars of 1 s, - 1; 0 without trades",
        "Berkowitz, Logue & Noser 1988, J. Finance 43(1)",
    ),
    Feature(
        "volume_z_60s", "bar", "rolling", 60 * S, "standard deviations",
        "(volume of the last bar of 1 s - mean) / population standard deviation of 60 bars", "definition",
    ),
    Feature(
        "realised_60s", "bar", "rolling", 60 * S, "bp/sqrt(s)", "root of the mean of 60 squared returns of 1 s",
        "Andersen & Bollerslev 1998, International Economic Review 39(4)",
    ),
    Feature(
        "realised_300s", "bar", "rolling", 300 * S, "bp/sqrt(s)",
        "root of a fifth of the mean of 60 squared returns of 5 s",
        "Andersen & Bollerslev 1998, International Economic Review 39(4)",
    ),
    Feature(
        "bipower_60s", "bar", "rolling", 60 * S, "bp/sqrt(s)",
        "root of pi / 2 times the mean product of neighbouring absolute returns, 60 of 1 s: volatility without jumps",
        _BN,
    ),
    Feature(
        "parkinson_60s", "bar", "rolling", 60 * S, "bp/sqrt(s)",
        "root of the mean of ln(high / low)^2 / (4 ln 2) over 60 bars of 1 s", "Parkinson 1980, J. Business 53(1)",
    ),
    Feature(
        "garman_klass_60s", "bar", "rolling", 60 * S, "bp/sqrt(s)",
        "root of the mean of 0.5 ln(high / low)^2 - (2 ln 2 - 1) ln(close / open)^2 over 60 bars of 1 s, not below 0",
        "Garman & Klass 1980, J. Business 53(1) (practical estimator)",
    ),
    Feature(
        "autocovariance_60s", "bar", "rolling", 60 * S, "bp^2",
        "covariance of neighbouring returns of 1 s in the last 60; negative where prices bounce",
        "Roll 1984, J. Finance 39(4)",
    ),
    Feature(
        "amihud_60s", "bar", "rolling", 60 * S, "bp per million quote",
        "mean of |return| / traded notional over those of the last 60 bars of 1 s that have trades",
        "Amihud 2002, J. Financial Markets 5(1)",
    ),
    Feature("rsi_14_5s", "bar", "rolling", 70 * S, "0..100", "rsi_14 on bars of 5 s", f"{_WILDER}, section VI"),
)  # fmt: skip
