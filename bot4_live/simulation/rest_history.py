"""The simulated exchange's past by REST: klines, aggregate trades, funding rates.

Limits, ranges and weights: Binance USD-M API, "Kline/Candlestick Data", "Compressed/Aggregate Trades List", "Get
Funding Rate History". Ranges are inclusive at both ends; klines are told apart by their open time.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiohttp import web

from bot4_live.instrument import Instrument
from bot4_live.simulation import payloads
from bot4_live.simulation.errors import error, missing
from bot4_live.simulation.history import Candle, MarketHistory, Print
from bot4_live.simulation.order_request import claimed_limit, read_int, require_symbol
from bot4_live.simulation.past import MINUTE_MS
from bot4_live.simulation.rest import Call, route

INTERVALS = {
    f"{n}{unit}": n * size * MINUTE_MS
    for unit, size, counts in (("m", 1, (1, 3, 5, 15, 30)), ("h", 60, (1, 2, 4, 6, 8, 12)), ("d", 1440, (1,)))
    for n in counts
}
HOUR_MS = 3_600_000
KLINE_WEIGHTS = ((100, 1), (500, 2), (1001, 5))  # below this limit, weight; 10 from there on


def routes() -> list[web.RouteDef]:
    """Return the routes with Binance's weights."""
    return [
        route("GET", "/fapi/v1/klines", _klines, _kline_weight),
        route("GET", "/fapi/v1/aggTrades", _aggregate_trades, 20),
        route("GET", "/fapi/v1/fundingRate", _funding_rates),
    ]


def _kline_weight(params: dict[str, str]) -> int:
    limit = claimed_limit(params)
    return next((weight for below, weight in KLINE_WEIGHTS if limit < below), 10)


def _history(call: Call) -> MarketHistory:
    symbol = call.params.get("symbol", "")
    if symbol not in call.exchange.histories:
        require_symbol(call.params, call.exchange.instrument)
    return call.exchange.histories[symbol]


def _limit(call: Call, usual: int, most: int) -> int:
    limit = read_int(call.params, "limit")
    if limit is not None and not 0 < limit <= most:
        raise error("limit")
    return limit or usual


def _range(call: Call) -> tuple[int | None, int | None]:
    first, last = read_int(call.params, "startTime"), read_int(call.params, "endTime")
    if (first is not None and first < 0) or (last is not None and last < 0):
        raise error("time")
    if first is not None and last is not None and first > last:
        raise error("time_order")
    return first, last


def _klines(call: Call) -> Any:
    history, limit = _history(call), _limit(call, 500, 1500)
    name = call.params.get("interval", "")
    if not name:
        raise missing("interval")
    if name not in INTERVALS:
        raise error("interval")
    interval, (first, last) = INTERVALS[name], _range(call)
    last = call.now_ms if last is None else min(last, call.now_ms)
    if first is not None:
        found = list(islice(history.candles(first, last, interval, call.now_ms), limit))
    else:
        found = _last_candles(history, last, interval, limit, call)
    return [_kline(history.instrument, candle, interval) for candle in found]


def _last_candles(history: MarketHistory, last: int, interval: int, limit: int, call: Call) -> list[Candle]:
    """Return the last candles up to a time; where some are missing it looks further back."""
    span, found = limit, []
    while True:
        found = list(history.candles(max(0, last - span * interval), last, interval, call.now_ms))
        if len(found) >= limit or last - span * interval <= history.begin_ms:
            return found[-limit:]
        span *= 2


def _kline(instrument: Instrument, candle: Candle, interval_ms: int) -> list[Any]:
    prices = (str(instrument.price(ticks)) for ticks in (candle.open, candle.high, candle.low, candle.close))
    unit = instrument.unit_e8
    return [
        candle.at_ms, *prices, str(instrument.qty(candle.volume)), candle.at_ms + interval_ms - 1,
        payloads.money(candle.value * unit), candle.trades, str(instrument.qty(candle.bought)),
        payloads.money(candle.bought_value * unit), "0",
    ]  # fmt: skip


def _aggregate_trades(call: Call) -> Any:
    history, limit = _history(call), _limit(call, 500, 1000)
    first_id, (first, last) = read_int(call.params, "fromId"), _range(call)
    if first_id is not None:
        found = history.prints(max(0, first_id), limit)
    elif first is None and last is None:
        found = history.recent(limit)
    else:
        if first is None or last is None:  # with one end alone, the hour from or up to it
            first = last - HOUR_MS if first is None and last is not None else first or 0
            last = first + HOUR_MS if last is None else last
        if last - first > HOUR_MS:
            raise error("hour")
        found = history.prints_between(first, last, limit)
    return [_print(history.instrument, trade) for trade in found]


def _print(instrument: Instrument, trade: Print) -> dict[str, Any]:
    return {
        "a": trade.id, "p": str(instrument.price(trade.ticks)), "q": str(instrument.qty(trade.lots)), "f": trade.id,
        "l": trade.id, "T": trade.at_ms, "m": trade.sells,
    }  # fmt: skip


def _funding_rates(call: Call) -> Any:
    history, limit = _history(call), _limit(call, 100, 1000)
    first, last = _range(call)
    found = history.fundings(first or 0, min(call.now_ms, last if last is not None else call.now_ms))
    chosen = found[-limit:] if first is None else found[:limit]
    instrument = history.instrument
    return [
        {
            "symbol": instrument.symbol, "fundingTime": at, "fundingRate": payloads.money(rate),
            "markPrice": payloads.mark_price(instrument, 2 * ticks),
        }
        for at, rate, ticks in chosen
    ]  # fmt: skip
