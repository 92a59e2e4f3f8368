"""What the signed-in order channels need of the settings; it goes into subscriptions and nowhere else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Any

from bot4_live.market.venues.kraken_orders import TOKEN_VARIABLE
from bot4_live.settings import Settings


def kraken_token(settings: Settings) -> str:
    """Return the token of Kraken's GetWebSocketsToken, which must be used within 15 minutes. Raises ValueError."""
    token = settings.kraken_ws_token.get_secret_value()
    if not token:
        raise ValueError(f"Kraken's level3 needs {TOKEN_VARIABLE}: the token of POST /0/private/GetWebSocketsToken")
    return token


def order_options(venue: str, settings: Settings) -> dict[str, Any]:
    """Return what the feed of a venue's order channel takes of the settings; nothing for other venues.

    Raises ValueError that names what is missing.
    """
    if venue == "kraken_orders":
        return {"token": kraken_token(settings)}
    if venue == "coinbase_orders":
        key = CoinbaseKey.of(settings)
        return {"signed": lambda: key.sign(str(int(time.time())))}
    return {}


@dataclass(frozen=True)
class CoinbaseKey:
    """An API key of Coinbase Exchange; nothing of it is in its repr."""

    key: str = field(repr=False)
    secret: bytes = field(repr=False)
    passphrase: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> CoinbaseKey:
        """Return key, secret (base64) and passphrase. Raises ValueError that names what is missing."""
        given = {
            "BOT4_COINBASE_KEY": settings.coinbase_key.get_secret_value(),
            "BOT4_COINBASE_SECRET": settings.coinbase_secret.get_secret_value(),
            "BOT4_COINBASE_PASSPHRASE": settings.coinbase_passphrase.get_secret_value(),
        }
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise ValueError(f"Coinbase's order channels need {', '.join(missing)}")
        key, secret, passphrase = given.values()
        try:
            return cls(key, base64.b64decode(secret, validate=True), passphrase)
        except binascii.Error:
            raise ValueError("BOT4_COINBASE_SECRET is not base64, as Coinbase hands it out") from None

    def sign(self, timestamp: str) -> dict[str, str]:
        """Return what signs a subscription made at `timestamp` (seconds since 1970, as text).

        The signature is the base64 of HMAC-SHA256 over timestamp, method and path of GET /users/self/verify
        (Coinbase Exchange, "WebSocket authentication").
        """
        digest = hmac.new(self.secret, f"{timestamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        return {"key": self.key, "passphrase": self.passphrase, "timestamp": timestamp, "signature": signature}
