"""Rows of exchange history as the venue means them, their rules, and their way into ticks and lots."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from bot4_live.instrument import E8
from bot4_platform.sources.exchange.client import Units

MINUTE_MS = 60_000
LARGEST = 1 << 62
Wrong = tuple[str, str] | None


class CandleRow(msgspec.Struct, array_like=True, frozen=True):
    """A candle: open time in ms, then as the venue writes them."""

    at_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class TradeRow(msgspec.Struct, frozen=True):
    """A public trade; `side` is the aggressor's."""

    id: str
    timestamp: int
    price: Decimal
    amount: Decimal
    side: str


class FundingRow(msgspec.Struct, frozen=True):
    """A settled funding rate, a fraction a settlement; it may be below zero."""

    at_ms: int
    rate: Annotated[Decimal, msgspec.Meta(extra={"signed": True})]


def count(value: Decimal, unit_e8: int) -> int:
    """Return how many units a number is, exactly. Raises ValueError when it is no whole number of them."""
    scaled = value * E8
    whole = int(scaled)
    found, rest = divmod(whole, unit_e8)
    if whole != scaled or rest:
        raise ValueError(f"{value} is no multiple of {Decimal(unit_e8) / E8:f}")
    if found > LARGEST:
        raise ValueError(f"{value} is beyond all bounds")
    return found


def candle_rules(units: Units) -> list[Callable[[CandleRow], Wrong]]:
    """Return what must hold for a candle."""

    def shape(row: CandleRow) -> Wrong:
        if row.at_ms % MINUTE_MS:
            return "grid", f"{row.at_ms} is not the start of a minute"
        if row.low <= 0:
            return "price", "a price is 0"
        if not row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high:
            return "ohlc", "open or close is not between low and high"
        return None

    def counted(row: CandleRow) -> Wrong:
        for price in (row.open, row.high, row.low, row.close):
            if wrong := _counted("tick", price, units.tick_e8):
                return wrong
        return _counted("lot", row.volume, units.volume_e8)

    return [shape, counted]


def trade_rules(units: Units) -> list[Callable[[TradeRow], Wrong]]:
    """Return what must hold for a trade; ids are numbers, by which pages go on."""

    def shape(row: TradeRow) -> Wrong:
        if row.side not in ("buy", "sell"):
            return "schema", f"a side is buy or sell, not {row.side!r}"
        if not (row.id.isascii() and row.id.isdigit()):
            return "schema", f"an id is a number here, not {row.id[:40]!r}"
        if not row.price or not row.amount:
            return "price", "price or amount is 0"
        return _counted("tick", row.price, units.tick_e8) or _counted("lot", row.amount, units.lot_e8)

    return [shape]


def funding_rules() -> list[Callable[[FundingRow], Wrong]]:
    """Return what must hold for a funding rate."""
    return [lambda row: ("rate", f"a funding of {row.rate} is no rate") if abs(row.rate) >= 1 else None]


def digits(value: Decimal) -> tuple[int, int]:
    """Return a number as (digits, how many of them are decimals), as the venue wrote it."""
    exponent = int(value.as_tuple().exponent)
    decimals = max(0, -exponent)
    return int(value.scaleb(decimals)), decimals


def _counted(rule: str, value: Decimal, unit_e8: int) -> Wrong:
    try:
        count(value, unit_e8)
    except (ValueError, ArithmeticError) as error:
        return rule, str(error) or "no number of this kind"
    return None


def trade_parts(raw: Any) -> dict[str, Any]:
    """Return what we read of a trade that ccxt parsed."""
    return {name: raw[name] for name in TradeRow.__struct_fields__}
