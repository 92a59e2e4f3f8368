"""What a request to Binance USD-M costs, and how urgent it is.

Weights: Binance USD-M API, "Request Weight" of each call.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot4_live.execution.rest_budget import Priority

_DEPTH = ((50, 2), (100, 5), (500, 10), (1000, 20))  # (levels up to, weight)
_DEPTH_LEVELS = 500  # without `limit`

# (method, last part of the path) -> (weight, priority); versions of a path cost the same.
_COSTS: dict[tuple[str, str], tuple[int, Priority]] = {
    ("POST", "order"): (0, Priority.ORDER),  # counted as an order instead
    ("DELETE", "order"): (1, Priority.CANCEL),
    ("DELETE", "allOpenOrders"): (1, Priority.CANCEL),
    ("DELETE", "algoOpenOrders"): (1, Priority.CANCEL),
    ("POST", "countdownCancelAll"): (10, Priority.CANCEL),
    ("GET", "allOrders"): (5, Priority.QUERY),
    ("GET", "userTrades"): (5, Priority.QUERY),
    ("GET", "account"): (5, Priority.QUERY),
    ("GET", "balance"): (5, Priority.QUERY),
    ("GET", "positionRisk"): (5, Priority.QUERY),
    ("GET", "income"): (30, Priority.QUERY),
    ("GET", "dual"): (30, Priority.QUERY),
    ("GET", "multiAssetsMargin"): (30, Priority.QUERY),
    ("GET", "commissionRate"): (20, Priority.QUERY),
    ("GET", "symbolConfig"): (5, Priority.QUERY),
    ("GET", "accountConfig"): (5, Priority.QUERY),
    ("GET", "trades"): (5, Priority.QUERY),
    ("GET", "aggTrades"): (20, Priority.HISTORY),
    ("GET", "fundingRate"): (1, Priority.HISTORY),
    ("GET", "bookTicker"): (2, Priority.QUERY),
}
_KLINES = ((99, 1), (499, 2), (1000, 5))  # (candles up to, weight), 10 beyond
_KLINES_LIMIT = 500
_OTHER = (1, Priority.QUERY)
# Without a symbol these answer for all of them and cost more.
_ALL = {"openOrders": 40, "bookTicker": 5, "price": 2, "premiumIndex": 10}


def cost(method: str, path: str, params: Mapping[str, str | int]) -> tuple[int, Priority]:
    """Return (weight, priority) of a request."""
    name = path[path.rfind("/") + 1 :]
    if name == "depth":
        levels = int(params.get("limit", _DEPTH_LEVELS))
        return next((weight for most, weight in _DEPTH if levels <= most), _DEPTH[-1][1]), Priority.SNAPSHOT
    if name == "klines":
        candles = int(params.get("limit", _KLINES_LIMIT))
        return next((weight for most, weight in _KLINES if candles <= most), 10), Priority.HISTORY
    weight, priority = _COSTS.get((method, name), _OTHER)
    if name in _ALL and method == "GET" and not params.get("symbol"):
        weight = _ALL[name]
    return weight, priority


def counted(path: str) -> bool:
    """Return whether the venue counts requests to `path`; the simulated exchange's own controls are free."""
    return not path.startswith("/bot4/")
