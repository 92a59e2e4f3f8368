"""Our venues and ccxt's: names, and how a venue's pages go on."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Where ccxt calls a venue by another name than we do. Ours say which market of a venue: spot, USD-M, COIN-M.
NAMES = {"binance_usdm": "binanceusdm", "binance_coinm": "binancecoinm", "binance_spot": "binance"}
BUDGETED = "binance_usdm"  # its weights are shared with trading, by the budget of the address
PAGE = 500  # candles a page, where ccxt does not say


@dataclass(frozen=True)
class Venue:
    """A venue as ccxt knows it. `from_id`: the parameter by which past trades are asked for, "" where it has none."""

    name: str
    ccxt: str
    from_id: str = ""
    trades_page: int = 1000


def venue_of(market: str) -> Venue:
    """Return the venue of a market (`venue:SYMBOL`). Raises ValueError for one that ccxt does not know."""
    import ccxt

    name = market.partition(":")[0]
    known = NAMES.get(name, name)
    if known not in ccxt.exchanges:
        raise ValueError(f"ccxt knows no venue {name}; the market is to be one such as binance_usdm:BTCUSDT")
    if name.startswith("binance_"):
        return Venue(name, known, from_id="fromId")
    return Venue(name, known)


def plain(symbol: str) -> str:
    """Return a venue's own name of a market without what is not a letter or digit: BTC-USDT-SWAP, BTC/USD."""
    return re.sub(r"[^A-Z0-9]", "", symbol.upper())
