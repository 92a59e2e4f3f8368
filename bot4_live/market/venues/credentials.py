"""What the signed-in order channels need, read from the environment; it goes into subscriptions and nowhere else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot4_live.market.venues.kraken_orders import TOKEN_VARIABLE

_COINBASE = ("BOT4_COINBASE_KEY", "BOT4_COINBASE_SECRET", "BOT4_COINBASE_PASSPHRASE")


def kraken_token(environment: Mapping[str, str]) -> str:
    """Return the token of Kraken's GetWebSocketsToken, which must be used within 15 minutes. Raises ValueError."""
    token = environment.get(TOKEN_VARIABLE, "")
    if not token:
        raise ValueError(f"Kraken's level3 needs {TOKEN_VARIABLE}: the token of POST /0/private/GetWebSocketsToken")
    return token


def order_options(venue: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the feed of a venue's order channel takes of the environment; nothing for other venues.

    Raises ValueError that names what is missing.
    """
    if venue == "kraken_orders":
        return {"token": kraken_token(environment)}
    if venue == "coinbase_orders":
        key = CoinbaseKey.from_environment(environment)
        return {"signed": lambda: key.sign(str(int(time.time())))}
    return {}


@dataclass(frozen=True)
class CoinbaseKey:
    """An API key of Coinbase Exchange; nothing of it is in its repr."""

    key: str = field(repr=False)
    secret: bytes = field(repr=False)
    passphrase: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> CoinbaseKey:
        """Read key, secret (base64) and passphrase. Raises ValueError that names what is missing."""
        values = [environment.get(name, "") for name in _COINBASE]
        missing = [name for name, value in zip(_COINBASE, values, strict=True) if not value]
        if missing:
            raise ValueError(f"Coinbase's order channels need {', '.join(missing)}")
        try:
            secret = base64.b64decode(values[1], validate=True)
        except binascii.Error:
            raise ValueError(f"{_COINBASE[1]} is not base64, as Coinbase hands it out") from None
        return cls(values[0], secret, values[2])

    def sign(self, timestamp: str) -> dict[str, str]:
        """Return what signs a subscription made at `timestamp` (seconds since 1970, as text).

        The signature is the base64 of HMAC-SHA256 over timestamp, method and path of GET /users/self/verify
        (Coinbase Exchange, "WebSocket authentication").
        """
        digest = hmac.new(self.secret, f"{timestamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        return {"key": self.key, "passphrase": self.passphrase, "timestamp": timestamp, "signature": signature}
