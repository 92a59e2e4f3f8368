"""Request signing of Binance's APIs: HMAC-SHA256 over the query string, in hexadecimal.

Source: Binance USD-M futures API, general information, "SIGNED endpoint examples"; its example is a test.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode


def sign(params: str | Mapping[str, str | int], secret: str) -> str:
    """Return the signature (64 hexadecimal digits) of `params`, a query string or what makes one, in its order.

    >>> sign({"symbol": "BTCUSDT"}, "secret")[:16]
    'd312dbdcf67849b6'
    """
    text = params if isinstance(params, str) else urlencode(params)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed_query(params: Mapping[str, str | int], secret: str) -> str:
    """Return the query string of `params` with its signature at the end."""
    text = urlencode(params)
    return f"{text}&signature={sign(text, secret)}"
