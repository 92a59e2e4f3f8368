"""Sizes of every venue in the same units: exact, by hand-computed examples and by the definitions."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.events import slots_of
from bot4_live.instrument import BTCUSDT_USDM, E8
from bot4_live.market.venues.contracts import Contract, binance_coinm_contract, deribit_contract, okx_contract
from bot4_live.market.venues.registry import Instruments

OKX_SWAP = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC",
            "ctType": "linear"}  # fmt: skip
OKX_INVERSE = {"instId": "BTC-USD-SWAP", "instType": "SWAP", "ctVal": "100", "ctMult": "1", "ctValCcy": "USD",
               "ctType": "inverse"}  # fmt: skip
OKX_OPTION = {"instId": "BTC-USD-241227-60000-C", "instType": "OPTION", "ctVal": "1", "ctMult": "0.01",
              "ctValCcy": "BTC", "ctType": ""}  # fmt: skip
COINM = {"symbol": "BTCUSD_PERP", "pair": "BTCUSD", "contractType": "PERPETUAL", "contractSize": 100}
DERIBIT = {"instrument_name": "BTC-PERPETUAL", "kind": "future", "instrument_type": "reversed", "contract_size": 10.0}


@pytest.mark.parametrize(
    ("contract", "size", "price", "notional", "base"),
    [
        (Contract(), "1.5", "60000", "90000", "1.5"),  # spot
        (okx_contract({"instType": "SPOT", "ctVal": ""}), "1.5", "60000", "90000", "1.5"),
        (okx_contract(OKX_SWAP), "3", "60000", "1800", "0.03"),
        (okx_contract(OKX_INVERSE), "3", "60000", "300", "0.005"),
        (okx_contract(OKX_OPTION), "7", "0.05", "0.0035", "0.07"),  # a premium in coins
        (binance_coinm_contract(COINM), "3", "60000", "300", "0.005"),
        (deribit_contract(DERIBIT), "300", "60000", "300", "0.005"),
        (deribit_contract(DERIBIT | {"kind": "option"}), "0.3", "0.05", "0.015", "0.3"),
        (deribit_contract(DERIBIT | {"instrument_type": "linear"}), "0.3", "60000", "18000", "0.3"),
    ],
)
def test_sizes_of_each_venue_are_worth_what_their_contract_says(contract, size, price, notional, base):
    one = Instruments("any").declare("X", 2, 4, contract=contract)
    lots, ticks = one.lots(size), one.ticks(price)
    assert one.notional(lots, ticks) == Decimal(notional)
    assert one.base_qty(lots, ticks) == Fraction(base)


@given(st.integers(0, 10**15), st.integers(1, 10**12), st.integers(1, 10**11), st.booleans())
def test_value_is_size_times_price_without_a_digit_lost(lots, ticks, contract_e8, inverse):
    one = replace(BTCUSDT_USDM, contract_e8=contract_e8, inverse=inverse)
    price = Fraction(ticks * one.tick_e8, E8)
    assert Fraction(one.notional(lots, ticks)) == one.base_qty(lots, ticks) * price
    assert one.notional(-lots, ticks) == one.notional(lots, ticks).copy_negate()


def test_an_inverse_size_in_coins_needs_a_price():
    one = Instruments("okx").declare("BTC-USD-SWAP", 1, 0, contract=okx_contract(OKX_INVERSE))
    assert one.notional(3, 0) == 300
    with pytest.raises(ValueError, match="inverse contract"):
        one.base_qty(3, 0)


@pytest.mark.parametrize("row", [OKX_SWAP | {"ctVal": ""}, OKX_SWAP | {"ctVal": "x"}, OKX_SWAP | {"ctMult": "-1"}])
def test_a_contract_without_a_size_is_refused(row):
    with pytest.raises(ValueError, match="BTC-USDT-SWAP: ct"):
        okx_contract(row)


def test_the_event_says_the_funding_interval():
    record = replace(BTCUSDT_USDM, funding_interval_s=28_800).record(5)
    assert slots_of(record)[4].tolist() == [3, 28_800]
