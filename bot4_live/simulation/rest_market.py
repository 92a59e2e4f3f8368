"""Public market data of the simulated exchange."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from aiohttp import web

from bot4_live.simulation import payloads
from bot4_live.simulation.errors import ApiError
from bot4_live.simulation.further import FurtherMarket
from bot4_live.simulation.ladder import Ladder
from bot4_live.simulation.order_request import claimed_limit, read_int, require_symbol
from bot4_live.simulation.rest import Answer, Call, per_symbol, route
from bot4_live.simulation.venue import Venue

Market = Venue | FurtherMarket
DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


def routes() -> list[web.RouteDef]:
    """Return the public routes with Binance's weights."""
    return [
        route("GET", "/fapi/v1/ping", lambda call: {}),
        route("GET", "/fapi/v1/time", lambda call: {"serverTime": call.now_ms}),
        route("GET", "/fapi/v1/exchangeInfo", _exchange_info),
        route("GET", "/fapi/v1/depth", _depth, _depth_weight),
        route("GET", "/fapi/v1/trades", _trades, 5),
        route("GET", "/fapi/v1/ticker/bookTicker", _one_or_all(_book_ticker), per_symbol(2, 5)),
        route("GET", "/fapi/v1/ticker/price", _one_or_all(_price), per_symbol(1, 2)),
        route("GET", "/fapi/v2/ticker/price", _one_or_all(_price), per_symbol(1, 2)),
        route("GET", "/fapi/v1/premiumIndex", _one_or_all(_premium_index), per_symbol(1, 10)),
    ]


def _depth_weight(params: dict[str, str]) -> int:
    return DEPTH_WEIGHTS.get(claimed_limit(params), 1)


def _exchange_info(call: Call) -> Any:
    return payloads.exchange_info(call.exchange.instruments, call.now_ms, call.exchange.limits.weight_limit)


def _asked(call: Call) -> Market:
    """Return the market of the symbol that is asked for. Raises ApiError for none and for one that is not served."""
    further = call.exchange.further.get(call.params.get("symbol", ""))
    if further is None:
        require_symbol(call.params, call.exchange.instrument)
    return further or call.exchange.venue


def _depth(call: Call) -> Any:
    market = _asked(call)
    limit = read_int(call.params, "limit") or 500
    if limit not in DEPTH_WEIGHTS:
        raise ApiError(-4021, "Depth limit is not valid. Valid limits are: 5, 10, 20, 50, 100, 500, 1000.")
    book, instrument = market.book, market.instrument

    def levels(ladder: Ladder) -> list[tuple[str, str]]:
        return [(str(instrument.price(p)), str(instrument.qty(q))) for p, q in islice(ladder.levels(), limit)]

    return {
        "lastUpdateId": book.last_id,
        "E": call.now_ms,
        "T": call.now_ms,
        "bids": levels(book.bids),
        "asks": levels(book.asks),
    }


def _trades(call: Call) -> Any:
    trades = _asked(call).recent_trades
    return list(trades)[-min(1000, read_int(call.params, "limit") or 500) :]


def _one_or_all(row: Callable[[Call, Market], dict[str, Any]]) -> Answer:
    """Answer with the row of the symbol that is asked for, with a list of all rows without one."""

    def answer(call: Call) -> Any:
        if call.params.get("symbol"):
            return row(call, _asked(call))
        markets: list[Market] = [call.exchange.venue, *call.exchange.further.values()]
        return [row(call, market) for market in markets]

    return answer


def _book_ticker(call: Call, market: Market) -> dict[str, Any]:
    book, instrument = market.book, market.instrument
    (bid, bid_qty), (ask, ask_qty) = book.best(bids=True), book.best(bids=False)
    return {
        "symbol": instrument.symbol,
        "bidPrice": str(instrument.price(bid)),
        "bidQty": str(instrument.qty(bid_qty)),
        "askPrice": str(instrument.price(ask)),
        "askQty": str(instrument.qty(ask_qty)),
        "time": call.now_ms,
        "lastUpdateId": max(book.quote_id, book.last_id),
    }


def _price(call: Call, market: Market) -> dict[str, Any]:
    trades, mark = market.recent_trades, payloads.mark_price(market.instrument, market.book.mid2)
    last = trades[-1]["price"] if trades else mark
    return {"symbol": market.instrument.symbol, "price": last, "time": call.now_ms}


def _premium_index(call: Call, market: Market) -> dict[str, Any]:
    mark = payloads.mark_price(market.instrument, market.book.mid2)
    return {
        "symbol": market.instrument.symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": "0.00000000",
        "interestRate": "0.00010000",
        "nextFundingTime": (call.now_ms // 28_800_000 + 1) * 28_800_000,
        "time": call.now_ms,
    }
