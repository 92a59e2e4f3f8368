"""The digits of a capture's instrument, inferred from every number in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from bot4_live.instrument import BTCUSDT_USDM, E8, Instrument
from bot4_live.market.numbers import decimals

Level = tuple[str, str]


class _Body(msgspec.Struct):
    s: str = ""
    pu: int = -1
    u: int = -1
    U: int = -1
    b: str | list[Level] = ""
    a: str | list[Level] = ""
    B: str = ""
    A: str = ""
    p: str = ""
    q: str = ""
    bids: list[Level] = []
    asks: list[Level] = []


class _Frame(_Body):
    data: _Body | None = None


_decoder = msgspec.json.Decoder(_Frame)


class Digits:
    """Collects the most decimals seen in prices and quantities, ignoring zeros at the end."""

    def __init__(self) -> None:
        """Begin with none."""
        self.price = 0
        self.qty = 0
        self.symbol = ""
        self.has_previous_id = False
        self.has_diff = False

    def add(self, raw: bytes) -> None:
        """Look at one frame; what cannot be read is left to the parser's verdict."""
        try:
            frame = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        body = frame.data or frame
        self.symbol = self.symbol or body.s
        if body.U >= 0:
            self.has_diff = True
            self.has_previous_id = self.has_previous_id or body.pu >= 0
        for side in (body.b, body.a, body.bids, body.asks):
            if isinstance(side, str):
                self.price = max(self.price, decimals(side))
            else:
                for price, qty in side:
                    self.price = max(self.price, decimals(price))
                    self.qty = max(self.qty, decimals(qty))
        self.price = max(self.price, decimals(body.p))
        self.qty = max(self.qty, decimals(body.q), decimals(body.B), decimals(body.A))


def infer_instrument(frames: Iterable[bytes], path: Path) -> Instrument:
    """Return an instrument whose tick and lot are the powers of ten that lose no digit of `frames`.

    Raises ValueError when there is nothing to infer from or a number has more than 8 decimals.
    """
    digits = Digits()
    for raw in frames:
        digits.add(raw)
    if not digits.symbol:
        raise ValueError(f"{path}: no frame names a symbol; is this a Binance capture?")
    if max(digits.price, digits.qty) > 8:
        raise ValueError(f"{path}: numbers with more than 8 decimals ({digits.price} in prices, {digits.qty} in sizes)")
    spot = digits.has_diff and not digits.has_previous_id
    # BTCUSD_PERP and BTCUSD_240927 are COIN-M's; BTCUSDT_240927 is a dated future of USD-M.
    coinm = digits.symbol.partition("_")[0].endswith("USD") and "_" in digits.symbol
    venue = "binance_spot" if spot else "binance_coinm" if coinm else "binance_usdm"
    return replace(
        BTCUSDT_USDM,
        venue=venue,
        symbol=digits.symbol,
        tick_e8=E8 // 10**digits.price,
        lot_e8=E8 // 10**digits.qty,
        price_digits=digits.price,
        qty_digits=digits.qty,
    )
