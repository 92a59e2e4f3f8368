"""Bar features by definition, over every bar of a history without gaps, with numpy, math and whole windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LOT, TICK = 0.001, 0.1
REFERENCES: dict[str, Callable[[Any, Any], float | None]] = {}


class Bars(NamedTuple):
    """Arrays over the bars that ended, oldest first; prices are doubled mids."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    lots: np.ndarray
    value: np.ndarray  # ticks * lots
    spread: np.ndarray


def reference(name: str, length: int = 100) -> Callable[[Callable[[Bars], float]], Callable[[Bars], float]]:
    """Register a function of the bars of `length` TICKs up to a look."""

    def register(function: Callable[[Bars], float]) -> Callable[[Bars], float]:
        assert name not in REFERENCES

        def apply(h: Any, look: Any) -> float | None:
            key = (look.grid, length)
            if key not in h.known:
                h.known[key] = bars(h, look, length)
            found = h.known[key]
            return None if found is None else function(found)

        REFERENCES[name] = apply
        return function

    return register


def bars(h: Any, look: Any, length: int) -> Bars | None:
    """Return all bars; the first begins with the first mid of the first bar that the log has whole TICKs of."""
    first = h.first // length * length
    rows = []
    for end in range(first + length, look.grid // length * length + 1, length):
        if end not in h.mids or (not rows and end - length in h.mids and end - length > h.first):
            return None
        mids = [q.bid + q.ask for q in h.quotes if end - length <= q.grid < end]
        opened = rows[-1][3] if rows else (h.mids.get(end - length) or mids[0])
        prints = [t for t in h.trades if end - length <= t.grid < end]
        rows.append((
            opened, max([opened, *mids]), min([opened, *mids]), h.mids[end], sum(t.lots for t in prints),
            sum(t.price * t.lots for t in prints), h.spreads[end],
        ))  # fmt: skip
    return Bars(*np.array(rows, float).T) if rows else None


def returns(b: Bars, n: int = 60) -> np.ndarray:
    """Return the last `n` returns in bp; the first bar's is from the first mid."""
    return ((b.close / b.open - 1) * 1e4)[-n:]


def emas(values: np.ndarray, span: int, begin: float) -> np.ndarray:
    out = []
    for value in values:
        begin = 2 / (span + 1) * value + (1 - 2 / (span + 1)) * begin
        out.append(begin)
    return np.array(out)


def wilder(values: np.ndarray, n: int = 14) -> float:
    """Wilder's mean: the plain mean of the first n, then (mean * (n - 1) + value) / n."""
    mean = float(values[:n].mean())
    for value in values[n:]:
        mean = (mean * (n - 1) + value) / n
    return mean


@reference("ema_60s_bp")
def ema_60(b: Bars) -> float:
    return (b.close[-1] / emas(b.close, 60, b.close[0])[-1] - 1) * 1e4


@reference("rsi_14")
@reference("rsi_14_5s", 500)
def rsi(b: Bars) -> float:
    change = b.close - b.open
    up, down = wilder(np.maximum(change, 0)), wilder(np.maximum(-change, 0))
    return 100 - 100 / (1 + up / down) if down else (100.0 if up else 50.0)


def bands(b: Bars) -> tuple[float, float]:
    return b.close[-20:].mean(), 2 * b.close[-20:].std()


@reference("bollinger_b")
def bollinger_b(b: Bars) -> float:
    middle, width = bands(b)
    return (b.close[-1] - (middle - width)) / (2 * width) if width else 0.5


@reference("bollinger_width_bp")
def bollinger_width(b: Bars) -> float:
    middle, width = bands(b)
    return 2 * width / middle * 1e4


def macds(b: Bars) -> np.ndarray:
    return emas(b.close, 12, b.close[0]) - emas(b.close, 26, b.close[0])


@reference("macd_bp")
def macd(b: Bars) -> float:
    return macds(b)[-1] / b.close[-1] * 1e4


@reference("macd_histogram_bp")
def macd_histogram(b: Bars) -> float:
    return (macds(b)[-1] - emas(macds(b), 9, 0.0)[-1]) / b.close[-1] * 1e4


@reference("stochastic_k")
def stochastic_k(b: Bars) -> float:
    high, low = b.high[-14:].max(), b.low[-14:].min()
    return 100 * (b.close[-1] - low) / (high - low) if high > low else 50.0


@reference("stochastic_d")
def stochastic_d(b: Bars) -> float:
    n = len(b.close)
    return float(np.mean([stochastic_k(Bars(*(a[:end] for a in b))) for end in range(max(n - 2, 1), n + 1)]))


@reference("atr_14_bp")
def atr(b: Bars) -> float:
    before = np.concatenate([b.open[:1], b.close[:-1]])
    true = np.maximum.reduce([b.high - b.low, abs(b.high - before), abs(b.low - before)])
    return wilder(true) / b.close[-1] * 1e4


@reference("roc_30s_bp")
def roc(b: Bars) -> float:
    return (b.close[-1] / b.close[-31:][0] - 1) * 1e4


@reference("vwap_60s_bp")
def vwap(b: Bars) -> float:
    return (b.close[-1] / 2 / (b.value[-60:].sum() / b.lots[-60:].sum()) - 1) * 1e4


@reference("volume_z_60s")
def volume_z(b: Bars) -> float:
    lots = b.lots[-60:]
    return (lots[-1] - lots.mean()) / lots.std() if lots.std() else 0.0


@reference("realised_60s")
def realised_60(b: Bars) -> float:
    return math.sqrt(np.square(returns(b)).mean())


@reference("realised_300s", 500)
def realised_300(b: Bars) -> float:
    return math.sqrt(np.square(returns(b)).mean() / 5)


@reference("bipower_60s")
def bipower(b: Bars) -> float:
    r = np.abs(returns(b))
    return math.sqrt(math.pi / 2 * (r[1:] * r[:-1]).mean()) if len(r) > 1 else 0.0


@reference("parkinson_60s")
def parkinson(b: Bars) -> float:
    return 1e4 * math.sqrt(np.square(np.log(b.high / b.low))[-60:].mean() / (4 * math.log(2)))


@reference("garman_klass_60s")
def garman_klass(b: Bars) -> float:
    high, end = np.log(b.high / b.low)[-60:], np.log(b.close / b.open)[-60:]
    return 1e4 * math.sqrt(max((0.5 * high**2 - (2 * math.log(2) - 1) * end**2).mean(), 0))


@reference("autocovariance_60s")
def autocovariance(b: Bars) -> float:
    r = returns(b)
    return float(np.cov(r[1:], r[:-1], bias=True)[0, 1]) if len(r) > 1 else 0.0


@reference("amihud_60s")
def amihud(b: Bars) -> float:
    value, r = b.value[-60:], np.abs(returns(b))
    return float((r[value > 0] / (value[value > 0] * LOT * TICK)).mean() * 1e6)


@reference("spread_to_median")
def spread_to_median(b: Bars) -> float:
    return b.spread[-1] / float(np.median(b.spread[-60:]))  # looked at where a bar ends: the spread then
