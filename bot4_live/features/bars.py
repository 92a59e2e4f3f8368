"""Bars of the mid and the indicators on them, see `declared.bars` for each definition.

The windows are taken anew from the rings whenever a bar ends (once a second), so no rounding error lives longer than a
bar, and an event costs a few comparisons. Wilder's means and the EMAs are recursive by definition.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numba import njit

from bot4_live.features.numbers import decayed, log_ratio, mid_return
from bot4_live.features.registry import index
from bot4_live.features.state import BARS, WINDOW_BARS

EMA_60, RSI, RSI_5S = index("ema_60s_bp"), index("rsi_14"), index("rsi_14_5s")
BOLLINGER_B, BOLLINGER_WIDTH = index("bollinger_b"), index("bollinger_width_bp")
MACD, MACD_HISTOGRAM = index("macd_bp"), index("macd_histogram_bp")
STOCHASTIC_K, STOCHASTIC_D = index("stochastic_k"), index("stochastic_d")
ATR, ROC, VWAP, VOLUME_Z = index("atr_14_bp"), index("roc_30s_bp"), index("vwap_60s_bp"), index("volume_z_60s")
REALISED, REALISED_300S, BIPOWER = index("realised_60s"), index("realised_300s"), index("bipower_60s")
PARKINSON, GARMAN_KLASS = index("parkinson_60s"), index("garman_klass_60s")
AUTOCOVARIANCE, AMIHUD, SPREAD_TO_MEDIAN = index("autocovariance_60s"), index("amihud_60s"), index("spread_to_median")

_WRAP = BARS - 1
_HALF_PI = float.fromhex("0x1.921fb54442d18p+0")
with localcontext() as _context:
    _context.prec = 40
    _LN2 = float(Decimal(2).ln())


@njit(cache=True)
def bar_price(s: Any, mid2: int) -> None:
    """Take a changed mid into the running bar; `s` is a Record of BAR_STATE."""
    if s.open == 0:
        s.open = mid2
        s.high = mid2
        s.low = mid2
    elif mid2 > s.high:
        s.high = mid2
    elif mid2 < s.low:
        s.low = mid2


@njit(cache=True)
def bar_trade(s: Any, price: int, qty: int) -> None:
    """Take a trade into the running bar."""
    s.lots += qty
    s.value += float(price) * qty


@njit(cache=True)
def bars_forget(s: Any) -> None:
    """Begin the history anew."""
    s.n = 0
    s.open = 0
    s.lots = 0
    s.value = 0.0
    s.median = 0.0


@njit(cache=True)
def _toward(mean: float, value: float, share: float) -> float:
    """Return a recursive mean stepped towards `value`; a quiet market ends at 0, not in denormals."""
    return decayed(mean + (value - mean) * share, 1.0)


@njit(cache=True)
def _close(s: Any, mid2: int, spread: int) -> None:
    """Put the running bar into the rings and begin the next; step the recursive means."""
    at = s.n & _WRAP
    s.opens[at] = s.open
    s.highs[at] = s.high
    s.lows[at] = s.low
    s.closes[at] = mid2
    s.volumes[at] = s.lots
    s.values[at] = s.value
    s.spreads[at] = spread
    change = mid2 - s.open  # the first bar's change is its own, from the first mid
    gain = float(max(change, 0))
    loss = float(max(-change, 0))
    size = float(s.high - s.low)
    if s.n == 0:
        s.ema_12 = mid2
        s.ema_26 = mid2
        s.ema_60 = mid2
        s.signal = 0.0
        s.gain = 0.0
        s.loss = 0.0
        s.range = 0.0
    s.n += 1
    share = 1.0 / min(s.n, 14)
    s.gain = _toward(s.gain, gain, share)
    s.loss = _toward(s.loss, loss, share)
    s.range = _toward(s.range, size, share)
    s.ema_12 += (mid2 - s.ema_12) * (2.0 / 13.0)
    s.ema_26 += (mid2 - s.ema_26) * (2.0 / 27.0)
    s.ema_60 += (mid2 - s.ema_60) * (2.0 / 61.0)
    s.signal = _toward(s.signal, s.ema_12 - s.ema_26, 0.2)
    s.open = mid2
    s.high = mid2
    s.low = mid2
    s.lots = 0
    s.value = 0.0


@njit(cache=True)
def _rsi(s: Any) -> float:
    """Return Wilder's RSI, 50 where nothing moved. A mean this small is the dust of decays, not a move."""
    total = s.gain + s.loss
    if s.n == 0 or total < 1e-9:
        return 50.0
    return 100.0 * s.gain / total


@njit(cache=True)
def _stochastic(s: Any, last: int) -> float:
    """Return %K of the 14 bars that end with bar number `last`."""
    high = s.highs[last & _WRAP]
    low = s.lows[last & _WRAP]
    for i in range(max(last - 13, 0), last):
        high = max(high, s.highs[i & _WRAP])
        low = min(low, s.lows[i & _WRAP])
    if high <= low:
        return 50.0
    return 100.0 * (s.closes[last & _WRAP] - low) / (high - low)


@njit(cache=True)
def _bands(x: np.ndarray, s: Any, close: int) -> None:
    """Set the Bollinger features from the last 20 closes, as differences from the last: exact integers."""
    k = min(s.n, 20)
    total = 0
    squares = 0
    for i in range(s.n - k, s.n):
        d = s.closes[i & _WRAP] - close
        total += d
        squares += d * d
    spread = k * squares - total * total
    x[BOLLINGER_B] = 0.5
    x[BOLLINGER_WIDTH] = 0.0
    if spread > 0:
        deviation = np.sqrt(float(spread)) / k
        mean = total / k
        x[BOLLINGER_B] = (2.0 * deviation - mean) / (4.0 * deviation)
        x[BOLLINGER_WIDTH] = 4e4 * deviation / (close + mean)


@njit(cache=True)
def _volumes(x: np.ndarray, s: Any, close: int, notional: float) -> None:
    """Set VWAP, volume z-score and Amihud's ratio; `notional` is the quote currency of a tick times a lot."""
    k = min(s.n, WINDOW_BARS)
    value = 0.0
    lots = 0.0
    squares = 0.0
    ratio = 0.0
    traded = 0
    for i in range(s.n - k, s.n):
        at = i & _WRAP
        volume = float(s.volumes[at])
        lots += volume
        squares += volume * volume
        value += s.values[at]
        if s.values[at] > 0.0:
            traded += 1
            ratio += abs(mid_return(s.closes[at], s.opens[at])) / s.values[at]
    x[VWAP] = 1e4 * (0.5 * close * lots / value - 1.0) if value > 0.0 else 0.0
    x[AMIHUD] = 1e6 * ratio / traded / notional if traded > 0 and notional > 0.0 else 0.0
    mean = lots / k
    variance = squares / k - mean * mean
    # below that, what is left is rounding: all volumes are equal
    enough = variance > 1e-12 * mean * mean
    x[VOLUME_Z] = (s.volumes[(s.n - 1) & _WRAP] - mean) / np.sqrt(variance) if enough else 0.0


@njit(cache=True)
def _mean_square(s: Any) -> float:
    """Return the mean of the last 60 squared returns in bp^2."""
    k = min(s.n, WINDOW_BARS)
    total = 0.0
    for i in range(s.n - k, s.n):
        r = mid_return(s.closes[i & _WRAP], s.opens[i & _WRAP])
        total += r * r
    return total / k


@njit(cache=True)
def _variations(x: np.ndarray, s: Any) -> None:
    """Set bipower variation, the range estimators and the autocovariance over the last 60 bars."""
    k = min(s.n, WINDOW_BARS)
    ranges = 0.0
    closes = 0.0
    products = 0.0
    absolute = 0.0
    first = 0.0
    second = 0.0
    before = 0.0
    for i in range(s.n - k, s.n):
        at = i & _WRAP
        r = mid_return(s.closes[at], s.opens[at])
        high = log_ratio(s.highs[at], s.lows[at])
        end = log_ratio(s.closes[at], s.opens[at])
        ranges += high * high
        closes += end * end
        if i > s.n - k:
            products += r * before
            absolute += abs(r) * abs(before)
            first += before
            second += r
        before = r
    x[PARKINSON] = 1e4 * np.sqrt(ranges / k / (4.0 * _LN2))
    x[GARMAN_KLASS] = 1e4 * np.sqrt(max(0.5 * ranges / k - (2.0 * _LN2 - 1.0) * closes / k, 0.0))
    x[BIPOWER] = 0.0
    x[AUTOCOVARIANCE] = 0.0
    if k > 1:
        pairs = k - 1
        x[BIPOWER] = np.sqrt(_HALF_PI * absolute / pairs)
        x[AUTOCOVARIANCE] = products / pairs - (first / pairs) * (second / pairs)


@njit(cache=True)
def _median_spread(s: Any) -> float:
    """Return the median of the last 60 spreads in ticks, by insertion into the scratch."""
    k = min(s.n, WINDOW_BARS)
    for i in range(k):
        value = s.spreads[(s.n - k + i) & _WRAP]
        j = i
        while j > 0 and s.sorted[j - 1] > value:
            s.sorted[j] = s.sorted[j - 1]
            j -= 1
        s.sorted[j] = value
    return 0.5 * (s.sorted[(k - 1) // 2] + s.sorted[k // 2])


@njit(cache=True)
def spread_to_median(x: np.ndarray, s: Any, spread: int) -> None:
    """Set the spread's ratio to its median."""
    x[SPREAD_TO_MEDIAN] = spread / s.median if s.median > 0.0 else 1.0


@njit(cache=True)
def _neutral(x: np.ndarray) -> None:
    """Set what indicators say of no bar at all."""
    x[EMA_60] = x[MACD] = x[MACD_HISTOGRAM] = x[BOLLINGER_WIDTH] = x[ATR] = x[ROC] = 0.0
    x[VWAP] = x[VOLUME_Z] = x[REALISED] = x[BIPOWER] = x[PARKINSON] = x[GARMAN_KLASS] = 0.0
    x[AUTOCOVARIANCE] = x[AMIHUD] = 0.0
    x[RSI] = x[STOCHASTIC_K] = x[STOCHASTIC_D] = 50.0
    x[BOLLINGER_B] = 0.5
    x[SPREAD_TO_MEDIAN] = 1.0


@njit(cache=True)
def end_bar_1s(f: Any, whole: bool) -> None:
    """End the bar of 1 s; without a usable book, or when a bar was missed (not `whole`), begin anew."""
    s = f.bars_1s
    if f.mid2 <= 0 or not whole:
        bars_forget(s)
        _neutral(f.x)
        if f.mid2 > 0:
            bar_price(s, f.mid2)
        return
    mid2 = f.mid2
    _close(s, mid2, f.ask_px - f.bid_px)
    last = s.n - 1
    f.x[EMA_60] = 1e4 * (mid2 - s.ema_60) / s.ema_60
    f.x[RSI] = _rsi(s)
    f.x[MACD] = 1e4 * (s.ema_12 - s.ema_26) / mid2
    f.x[MACD_HISTOGRAM] = 1e4 * (s.ema_12 - s.ema_26 - s.signal) / mid2
    f.x[STOCHASTIC_K] = _stochastic(s, last)
    k = min(s.n, 3)
    total = 0.0
    for i in range(s.n - k, s.n):
        total += _stochastic(s, i)
    f.x[STOCHASTIC_D] = total / k
    f.x[ATR] = 1e4 * s.range / mid2
    f.x[ROC] = mid_return(mid2, s.closes[max(last - 30, 0) & _WRAP])
    _bands(f.x, s, mid2)
    _volumes(f.x, s, mid2, f.tick * f.lot)
    f.x[REALISED] = np.sqrt(_mean_square(s))
    _variations(f.x, s)
    s.median = _median_spread(s)
    spread_to_median(f.x, s, f.ask_px - f.bid_px)


@njit(cache=True)
def end_bar_5s(f: Any, whole: bool) -> None:
    """End the bar of 5 s, by the same rules."""
    s = f.bars_5s
    if f.mid2 <= 0 or not whole:
        bars_forget(s)
        f.x[RSI_5S] = 50.0
        f.x[REALISED_300S] = 0.0
        if f.mid2 > 0:
            bar_price(s, f.mid2)
        return
    _close(s, f.mid2, f.ask_px - f.bid_px)
    f.x[RSI_5S] = _rsi(s)
    f.x[REALISED_300S] = np.sqrt(_mean_square(s) * 0.2)
