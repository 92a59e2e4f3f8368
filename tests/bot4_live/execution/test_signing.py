"""Signatures as Binance's documentation gives them."""

from __future__ import annotations

from bot4_live.execution.signing import sign, signed_query

# Binance USD-M futures API, "SIGNED endpoint examples for POST /fapi/v1/order".
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
QUERY = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_signature_of_the_documented_example():
    assert sign(QUERY, SECRET) == SIGNATURE


def test_mapping_is_signed_in_its_own_order():
    params = dict(part.split("=") for part in QUERY.split("&"))
    assert sign(params, SECRET) == SIGNATURE
    assert sign(dict(reversed(params.items())), SECRET) != SIGNATURE
    assert signed_query(params, SECRET) == f"{QUERY}&signature={SIGNATURE}"
