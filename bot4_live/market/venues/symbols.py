"""One way to write an instrument, whatever its venue calls it.

`BASE-QUOTE` is spot; `-PERP` a perpetual; `-YYYYMMDD` a dated future; `-YYYYMMDD-STRIKE-C` (or P) an option.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

_KRAKEN_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}  # v1 names; v2 already uses the common ones
_DATE = re.compile(r"\d{1,2}[A-Z]{3}\d{2}")
_SIX = re.compile(r"\d{6}", re.ASCII)
# What Binance's symbols end with; USD after those that end with it.
_BINANCE_QUOTES = (
    "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USD1", "BFUSD", "BTC", "ETH", "BNB", "SOL", "DOGE", "XRP", "TRX",
    "DAI", "EURI", "EUR", "GBP", "AUD", "TRY", "BRL", "JPY", "ARS", "COP", "MXN", "PLN", "RON", "CZK", "UAH", "ZAR",
    "RUB", "NGN", "IDRT", "BIDR", "BVND", "VAI", "USD",
)  # fmt: skip


def canonical(venue: str, name: str) -> str:
    """Return the common name of a venue's instrument; a name without a known form stays as it is."""
    rule = _RULES.get(venue)
    return rule(name) if rule is not None else name


def _kraken(name: str) -> str:
    return "-".join(_KRAKEN_ASSETS.get(asset, asset) for asset in name.split("/"))


def _binance(name: str, perpetual: bool) -> str:
    """Split what the venue writes as one word; one that ends with no known quote currency stays as it is."""
    pair, _, kind = name.partition("_")
    quote = next((q for q in _BINANCE_QUOTES if pair.endswith(q) and len(pair) > len(q)), "")
    if not quote or "-" in name or (kind and not perpetual):
        return name
    parts = [pair.removesuffix(quote), quote]
    if _SIX.fullmatch(kind):
        parts.append(f"20{kind}")
    elif kind in ("", "PERP"):
        parts += ["PERP"] if perpetual else []
    else:
        return name
    return "-".join(parts)


def _binance_spot(name: str) -> str:
    return _binance(name, perpetual=False)


def _binance_futures(name: str) -> str:
    return _binance(name, perpetual=True)


def _okx(name: str) -> str:
    parts = name.split("-")
    if len(parts) == 3 and parts[2] == "SWAP":
        parts[2] = "PERP"
    elif len(parts) >= 3 and _SIX.fullmatch(parts[2]):
        parts[2] = "20" + parts[2]
    return "-".join(parts)


def _deribit(name: str) -> str:
    parts = name.split("-")
    base, _, quote = parts[0].partition("_")
    parts[0] = f"{base}-{quote or 'USD'}"
    if len(parts) == 1:
        return parts[0] if quote else name
    if parts[1] == "PERPETUAL":
        parts[1] = "PERP"
    elif _DATE.fullmatch(parts[1]):
        try:
            parts[1] = datetime.strptime(parts[1], "%d%b%y").strftime("%Y%m%d")
        except ValueError:
            return name
    else:
        return name
    if len(parts) > 2:
        parts[2] = parts[2].replace("d", ".")  # 0d5 is a strike of 0.5
    return "-".join(parts)


_RULES: dict[str, Callable[[str], str]] = {
    "kraken": _kraken, "okx": _okx, "deribit": _deribit,
    "binance_spot": _binance_spot, "binance_usdm": _binance_futures, "binance_coinm": _binance_futures,
}  # fmt: skip
