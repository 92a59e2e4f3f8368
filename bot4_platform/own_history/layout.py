"""The documented schema of history files: which columns a kind has, and what the lake calls them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of history: its table, its columns in a file, and which of them count ticks and which lots.

    `prices` and `quantities` name the lake's column for each of the file's. `optional` columns may be missing.
    """

    table: str
    prices: dict[str, str]
    quantities: dict[str, str]
    other: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Return the columns of a file, in order."""
        return ["time", *self.other, *self.prices, *self.quantities, *(c for c in self.optional if c not in self.other)]


KINDS = {
    "candles": Kind(
        "imported_candles",
        {"open": "open", "high": "high", "low": "low", "close": "close"},
        {"volume": "volume"},
        optional=("trades",),
    ),
    "trades": Kind(
        "imported_trades", {"price": "price"}, {"qty": "qty"}, other=("id", "side"), optional=("id",)
    ),
    "quotes": Kind(
        "imported_quotes", {"bid": "bid_px", "ask": "ask_px"}, {"bid_qty": "bid_qty", "ask_qty": "ask_qty"}
    ),
}  # fmt: skip

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def interval_s(text: str) -> int:
    """Return an interval such as 1m, 4h or 1d in seconds. Raises ValueError unless it divides a day."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not seconds or 86_400 % seconds:
        raise ValueError(f"{text!r} is no interval that divides a day; write 1m, 5m, 1h, 4h or 1d")
    return seconds


def decimals(step_e8: int) -> int:
    """Return how many decimals a tick or lot has (1e-8 units)."""
    return max(0, 8 - (len(str(step_e8)) - len(str(step_e8).rstrip("0"))))
