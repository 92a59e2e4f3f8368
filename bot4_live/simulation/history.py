"""What a served market can be asked about its past: candles, aggregate trades and funding, up to now.

Before the exchange began they are generated (`past.py`) or, for candles, read from a file; from then on they are those
of the trades that were served.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from bot4_live.instrument import Instrument
from bot4_live.simulation.past import FUNDING_MS, MINUTE_MS, Past, Trades

PRICED = ("open", "high", "low", "close", "value", "bought_value")
KEPT_TRADES = 50_000
KEPT_MINUTES = 20_000
LOOKED_AT = 20_000  # frames
_TRADE_ID = re.compile(rb'"e":"trade".*?"t":(\d+)')
CHUNK_MS = 1440 * MINUTE_MS


@dataclass(slots=True)
class Candle:
    """A candle in ticks and lots; `value` is the sum of ticks x lots, `bought` and `bought_value` the takers' buys."""

    at_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    value: int = 0
    trades: int = 0
    bought: int = 0
    bought_value: int = 0

    def add(self, other: Candle) -> None:
        """Take in what came after."""
        self.high, self.low, self.close = max(self.high, other.high), min(self.low, other.low), other.close
        self.volume += other.volume
        self.value += other.value
        self.trades += other.trades
        self.bought += other.bought
        self.bought_value += other.bought_value


@dataclass(slots=True)
class Print:
    """One aggregate trade: here each trade is one."""

    id: int
    at_ms: int
    ticks: int
    lots: int
    sells: bool


@dataclass
class MarketHistory:
    """The history of one market. Times are ms as clients see them."""

    instrument: Instrument
    past: Past
    from_file: dict[int, Candle] | None = None  # by minute; then there are no generated candles
    trades: deque[Print] = field(default_factory=lambda: deque(maxlen=KEPT_TRADES))
    minutes: dict[int, Candle] = field(default_factory=dict)
    scale: int = 1  # ticks of now in one of the past's

    def __post_init__(self) -> None:
        """Order the file's minutes."""
        self._times = sorted(self.from_file or ())

    def add(self, trade: Print) -> None:
        """Take in a trade that is served now."""
        self.trades.append(trade)
        value, bought = trade.ticks * trade.lots, 0 if trade.sells else trade.lots
        new = Candle(
            trade.at_ms // MINUTE_MS * MINUTE_MS, trade.ticks, trade.ticks, trade.ticks, trade.ticks, trade.lots, value,
            1, bought, value if bought else 0,
        )  # fmt: skip
        known = self.minutes.setdefault(new.at_ms, new)
        if known is not new:
            known.add(new)
        elif len(self.minutes) > KEPT_MINUTES:
            del self.minutes[next(iter(self.minutes))]

    def refine(self, instrument: Instrument) -> None:
        """Go on with an instrument whose tick is finer, a whole number of times; all prices are counted in it."""
        factor = self.instrument.tick_e8 // instrument.tick_e8
        self.instrument, self.scale = instrument, self.scale * factor
        for trade in self.trades:
            trade.ticks *= factor
        for candle in (*self.minutes.values(), *(self.from_file or {}).values()):
            for name in PRICED:
                setattr(candle, name, getattr(candle, name) * factor)

    def candles(self, first_ms: int, last_ms: int, interval_ms: int, now_ms: int) -> Iterator[Candle]:
        """Yield candles with first_ms <= open time <= last_ms, in order; one without trades has the last price.

        A minute of the past in which nobody could trade has none, nor does an interval of only such minutes.
        """
        first = max(-(-first_ms // interval_ms) * interval_ms, self.begin_ms // interval_ms * interval_ms)
        last = min(last_ms, now_ms) // interval_ms * interval_ms + interval_ms
        current: Candle | None = None
        for minute in self._minutes(first, last, now_ms):
            at = minute.at_ms // interval_ms * interval_ms
            if current is not None and current.at_ms == at:
                current.add(minute)
                continue
            if current is not None:
                yield current
            minute.at_ms = at
            current = minute
        if current is not None:
            yield current

    @property
    def begin_ms(self) -> int:
        """Return its first moment."""
        return self._times[0] if self._times else self.past.begin_ms

    def _minutes(self, first_ms: int, to_ms: int, now_ms: int) -> Iterator[Candle]:
        """Yield minutes with first_ms <= open time < to_ms, each a new object."""
        end = self.past.end_ms
        begin = edge = end // MINUTE_MS * MINUTE_MS  # the minute in which the past becomes the market
        last: Candle | None = None
        for last in self._old(first_ms, min(to_ms, end)):
            if last.at_ms == edge:
                begin = edge + MINUTE_MS
                if edge in self.minutes:
                    last.add(self.minutes[edge])
            yield last
        for at in range(max(first_ms, begin), min(to_ms, now_ms + 1), MINUTE_MS):
            if at in self.minutes:
                last = replace(self.minutes[at])
            else:
                price = last.close if last is not None else self._price_before(at)
                last = Candle(at, price, price, price, price)
            yield last

    def _price_before(self, at_ms: int) -> int:
        """Return the last price of the market before a minute, the past's where there was none."""
        known = [at for at in self.minutes if at < at_ms]
        return self.minutes[max(known)].close if known else self.past.ticks * self.scale

    def _scaled(self, found: Trades) -> Trades:
        return replace(found, ticks=found.ticks * self.scale)

    def _old(self, first_ms: int, to_ms: int) -> Iterator[Candle]:
        """Yield the minutes of the past, made a day at a time as they are taken."""
        if self.from_file is not None:
            wanted = self._times[bisect_left(self._times, first_ms) : bisect_left(self._times, to_ms)]
            yield from (replace(self.from_file[at]) for at in wanted)
            return
        for at in range(first_ms, to_ms, CHUNK_MS):
            yield from _candles(self._scaled(self.past.between(at, min(at + CHUNK_MS, to_ms))))

    def prints(self, first_id: int, limit: int) -> list[Print]:
        """Return up to `limit` trades from an id on."""
        found = _prints(self._scaled(self.past.trades(first_id, first_id + limit - 1)))
        live = (trade for trade in self.trades if trade.id >= first_id)
        return found + list(islice(live, limit - len(found)))

    def prints_between(self, from_ms: int, to_ms: int, limit: int) -> list[Print]:
        """Return the first `limit` trades at from_ms <= time <= to_ms."""
        found = _prints(self._scaled(self.past.between(from_ms, to_ms + 1)))[:limit]
        live = (trade for trade in self.trades if from_ms <= trade.at_ms <= to_ms)
        return found + list(islice(live, limit - len(found)))

    def recent(self, limit: int) -> list[Print]:
        """Return the last `limit` trades."""
        live = list(islice(reversed(self.trades), limit))[::-1]
        end = self.past.next_id
        return _prints(self._scaled(self.past.trades(end - limit + len(live), end - 1))) + live

    def fundings(self, from_ms: int, to_ms: int) -> list[tuple[int, int, int]]:
        """Return (time, rate in 1e-8, price in ticks) of the settlements at from_ms <= time <= to_ms."""
        first = -(-max(from_ms, self.past.begin_ms) // FUNDING_MS) * FUNDING_MS
        at = np.arange(first, to_ms + 1, FUNDING_MS, dtype=np.int64)
        prices = self.past.price(np.minimum(at, self.past.end_ms)) * self.scale
        return list(zip(at.tolist(), self.past.funding(at).tolist(), prices.tolist(), strict=True))


def first_trade_id(frames: Iterable[tuple[int, bytes]]) -> int:
    """Return the id of a market's first trade, before which its past ends; where it does not trade soon, any large."""
    for _, raw in islice(frames, LOOKED_AT):
        found = _TRADE_ID.search(raw)
        if found is not None:
            return int(found[1])
    return 1 << 40


def _prints(found: Trades) -> list[Print]:
    return [Print(*row) for row in zip(*(column.tolist() for column in vars(found).values()), strict=True)]


def _candles(found: Trades) -> Iterator[Candle]:
    """Return the minutes of trades in order."""
    if not len(found.ids):
        return
    minute = found.times_ms // MINUTE_MS
    starts = np.flatnonzero(np.r_[True, minute[1:] != minute[:-1]])
    ends = np.r_[starts[1:], len(minute)]
    value = found.ticks * found.lots
    columns = (
        minute[starts] * MINUTE_MS, found.ticks[starts], np.maximum.reduceat(found.ticks, starts),
        np.minimum.reduceat(found.ticks, starts), found.ticks[ends - 1], np.add.reduceat(found.lots, starts),
        np.add.reduceat(value, starts), ends - starts, np.add.reduceat(np.where(found.sells, 0, found.lots), starts),
        np.add.reduceat(np.where(found.sells, 0, value), starts),
    )  # fmt: skip
    yield from (Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def read_candles(path: Path, instrument: Instrument) -> dict[int, Candle]:
    """Return the minutes of a CSV file by open time: `time_ms,open,high,low,close,volume`, with or without that header.

    Raises OSError, or ValueError with the line of what is no candle of this instrument.
    """
    found: dict[int, Candle] = {}
    with path.open(newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if number == 1 and row[:1] == ["time_ms"]:
                continue
            try:
                at, (o, h, low, c), volume = int(row[0]), map(instrument.ticks, row[1:5]), instrument.lots(row[5])
            except (ValueError, IndexError, ArithmeticError) as error:
                raise ValueError(f"{path}: line {number} is no candle of {instrument.symbol}: {error}") from None
            if at % MINUTE_MS or not low <= min(o, c) <= max(o, c) <= h:
                raise ValueError(f"{path}: line {number}: not the start of a minute, or high and low do not hold")
            found[at] = Candle(at, o, h, low, c, volume, volume * (o + c) // 2, 1)
    if not found:
        raise ValueError(f"{path} holds no candles; expected lines of time_ms,open,high,low,close,volume")
    return found
