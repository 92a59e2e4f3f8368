"""What one unit of size is worth, from each venue's own description of an instrument.

Sizes in frames are in the venue's units: contracts, coins or dollars. `Instrument.contract_e8` and `inverse` say what
one of them is, and `notional` and `base_qty` turn sizes of all venues into the same things.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from bot4_live.instrument import E8, to_e8


class Contract(NamedTuple):
    """Fields of an Instrument: the worth of size 1 in base currency, in quote currency where `inverse`."""

    contract_e8: int = E8
    inverse: bool = False


def okx_contract(row: Mapping[str, Any]) -> Contract:
    """Return the contract of a row of GET /api/v5/public/instruments: `ctVal` times `ctMult`, in `ctValCcy`.

    Spot has none: its sizes are coins. Raises ValueError for a contract without a value.
    """
    if row.get("instType") in ("SPOT", "MARGIN"):
        return Contract()
    value = _number(row, "ctVal") * _number(row, "ctMult", "1")
    return Contract(to_e8(value), row.get("ctType") == "inverse")


def binance_coinm_contract(row: Mapping[str, Any]) -> Contract:
    """Return that of a symbol of GET /dapi/v1/exchangeInfo: `contractSize` in USD, inverse. Raises ValueError."""
    return Contract(to_e8(_number(row, "contractSize")), True)


def deribit_contract(row: Mapping[str, Any]) -> Contract:
    """Return the contract of a row of public/get_instruments.

    Amounts of inverse (`reversed`) perpetuals and futures are USD, whatever `contract_size` says: that is only their
    step. Amounts of options, of linear futures and of spot are coins. An inverse option is priced in its coin, so its
    notional, the premium, is in coins.
    """
    reverse = row.get("instrument_type") == "reversed" and str(row.get("kind", "")).startswith("future")
    return Contract(E8, reverse)


def _number(row: Mapping[str, Any], name: str, default: str = "") -> Decimal:
    text = str(row.get(name) or default)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and value > 0):
        raise ValueError(f"{row.get('instId') or row.get('symbol') or 'instrument'}: {name} is {text!r}, not a size")
    return value
