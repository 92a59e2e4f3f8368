"""Instruments: tick, lot and filters with a version; integers are meaningful only with them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from bot4_live.events import Kind, header_of, new_record, slots_of

E8 = 100_000_000


def to_e8(value: str | Decimal) -> int:
    """Return a decimal as an integer count of 1e-8. Raises ValueError when digits would be lost."""
    scaled = Decimal(value) * E8
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{value} has more than 8 decimals")
    return int(scaled)


@dataclass(frozen=True)
class Instrument:
    """One tradable symbol of one venue. All `_e8` are 1e-8 of the unit; fees are fractions (2 bp = 20_000).

    `contract_e8` is what a quantity of 1 is worth: base currency (1 of spot and of coin-sized futures, `ctVal` of an
    OKX swap), or, where `inverse`, quote currency (100 USD of Binance's BTCUSD_PERP, 1 USD of Deribit's perpetuals).
    """

    id: int
    version: int
    venue: str
    symbol: str
    tick_e8: int
    lot_e8: int
    min_qty: int = 1
    max_qty: int = 1_000_000
    min_notional_e8: int = 5 * E8
    maker_fee_e8: int = 20_000
    taker_fee_e8: int = 50_000
    price_digits: int = 2
    qty_digits: int = 3
    contract_e8: int = E8
    inverse: bool = False
    funding_interval_s: int = 0  # 0: none, or not said

    @property
    def market(self) -> str:
        """Return the name used in partitions: `venue:SYMBOL`."""
        return f"{self.venue}:{self.symbol}"

    @property
    def unit_e8(self) -> int:
        """Return the value of one lot moved by one tick, in 1e-8 quote: notional_e8 = ticks * lots * unit_e8."""
        value, rest = divmod(self.tick_e8 * self.lot_e8, E8)
        if rest:
            raise ValueError(f"{self.market}: tick x lot is finer than 1e-8")
        return value

    def price(self, ticks: int) -> Decimal:
        """Return a price in quote currency."""
        return (Decimal(ticks) * self.tick_e8 / E8).quantize(Decimal(1).scaleb(-self.price_digits))

    def qty(self, lots: int) -> Decimal:
        """Return a quantity in base currency."""
        return (Decimal(lots) * self.lot_e8 / E8).quantize(Decimal(1).scaleb(-self.qty_digits))

    def notional(self, lots: int, ticks: int) -> Decimal:
        """Return the value in quote currency of `lots` at a price, exactly. An inverse contract's needs no price."""
        contracts = lots * self.lot_e8 * self.contract_e8
        # Made of text: arithmetic of Decimals would round to 28 digits.
        return Decimal(f"{contracts}e-16" if self.inverse else f"{contracts * ticks * self.tick_e8}e-24")

    def base_qty(self, lots: int, ticks: int) -> Fraction:
        """Return `lots` in base currency, exactly; of an inverse contract it is its value over the price.

        Raises ValueError for an inverse contract without a price.
        """
        value = Fraction(lots * self.lot_e8 * self.contract_e8, E8 * E8)
        if not self.inverse:
            return value
        if ticks <= 0:
            raise ValueError(f"{self.market} is an inverse contract: its size in coins needs a price")
        return value * E8 / (ticks * self.tick_e8)

    def ticks(self, price: str | Decimal) -> int:
        """Return a price in ticks. Raises ValueError when it is not a multiple of the tick."""
        ticks, rest = divmod(to_e8(price), self.tick_e8)
        if rest:
            raise ValueError(f"price {price} is not a multiple of {self.symbol}'s tick")
        return ticks

    def lots(self, qty: str | Decimal) -> int:
        """Return a quantity in lots. Raises ValueError when it is not a multiple of the lot."""
        lots, rest = divmod(to_e8(qty), self.lot_e8)
        if rest:
            raise ValueError(f"quantity {qty} is not a multiple of {self.symbol}'s lot")
        return lots

    def describe(self, name: str = "") -> dict[str, int | str]:
        """Return what a segment header says of it; `name` is the venue's own, where that is not its symbol."""
        return dict(vars(self)) | {"market": self.market, "name": name or self.symbol}

    def record(self, recv_ns: int) -> np.ndarray:
        """Return the INSTRUMENT event that tells the engine of this version."""
        record = new_record(Kind.INSTRUMENT, 5)
        head, slots = header_of(record), slots_of(record)
        head["instrument"], head["inst_version"], head["recv_ns"] = self.id, self.version, recv_ns
        slots[:] = [
            (self.tick_e8, self.lot_e8),
            (self.min_qty, self.max_qty),
            (self.min_notional_e8, self.maker_fee_e8),
            (self.taker_fee_e8, self.price_digits),
            (self.qty_digits, self.funding_interval_s),
        ]
        return record


# Binance USD-M BTCUSDT as its exchangeInfo of August 2024 gave it (tick 0.10, lot 0.001, notional 100; VIP 0 fees).
BTCUSDT_USDM = Instrument(
    id=0, version=1, venue="binance_usdm", symbol="BTCUSDT", tick_e8=E8 // 10, lot_e8=E8 // 1000,
    min_qty=1, max_qty=1_000_000, min_notional_e8=100 * E8, price_digits=2, qty_digits=3,
)  # fmt: skip
