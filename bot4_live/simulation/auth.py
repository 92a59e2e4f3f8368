"""Who may ask: signatures, time windows and listen keys of the simulated exchange."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from bot4_live.simulation.accounts import Key
from bot4_live.simulation.errors import error, missing

DEFAULT_WINDOW_MS = 5000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1000
LISTEN_KEY_MS = 3_600_000


def read_params(query: str, body: str) -> dict[str, str]:
    """Return the parameters of query string and form body; the query's win."""
    return dict(parse_qsl(body, keep_blank_values=True)) | dict(parse_qsl(query, keep_blank_values=True))


def authenticate(keys: Mapping[str, Key], api_key: str) -> Key:
    """Return the key's entry. Raises ApiError -2014 without a key, -2015 for an unknown one."""
    if not api_key:
        raise error("no_key")
    entry = keys.get(api_key)
    if entry is None:
        raise error("unknown_key")
    return entry


def check_signature(key: Key, query: str, body: str) -> None:
    """Verify HMAC-SHA256 over query string and body as they were sent, without the signature itself.

    Raises ApiError -1102 when there is none, -1022 when it is wrong.
    """
    given = ""
    signed = []
    for text in (query, body):
        kept = []
        for part in text.split("&"):
            name, _, value = part.partition("=")
            if name == "signature":
                given = value
            elif part:
                kept.append(part)
        signed.append("&".join(kept))
    if not given:
        raise missing("signature")
    expected = hmac.new(key.secret.encode(), "".join(signed).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.lower().encode()):
        raise error("signature")


def check_window(params: Mapping[str, str], now_ms: int) -> None:
    """Verify `timestamp` and `recvWindow` against the exchange's clock.

    The venue's rule: timestamp < now + 1000 and now - timestamp <= recvWindow. Raises ApiError -1021.
    """
    stamp, window = params.get("timestamp", ""), params.get("recvWindow", str(DEFAULT_WINDOW_MS))
    try:
        stamp_ms = int(stamp)
    except ValueError:
        raise missing("timestamp") from None
    try:
        window_ms = float(window)  # the venue takes fractions of a millisecond
    except ValueError:
        raise missing("recvWindow") from None
    if not 0 < window_ms <= MAX_WINDOW_MS:
        raise error("recv_window")
    if stamp_ms >= now_ms + AHEAD_MS:
        raise error("ahead")
    if now_ms - stamp_ms > window_ms:
        raise error("window")


@dataclass
class ListenKeys:
    """User stream keys: one an account, each valid for 60 minutes of exchange time after its last renewal."""

    by_account: dict[str, tuple[str, int]] = field(default_factory=dict)

    def create(self, account: str, now_ms: int) -> str:
        """Return the account's key, new or renewed."""
        key, until = self.by_account.get(account, ("", 0))
        if not key or until <= now_ms:
            key = secrets.token_hex(32)
        self.by_account[account] = (key, now_ms + LISTEN_KEY_MS)
        return key

    def renew(self, account: str, now_ms: int) -> str:
        """Prolong the account's key. Raises ApiError -1125 when it has none."""
        key, until = self.by_account.get(account, ("", 0))
        if not key or until <= now_ms:
            raise error("listen_key")
        self.by_account[account] = (key, now_ms + LISTEN_KEY_MS)
        return key

    def close(self, account: str) -> None:
        """Drop the account's key."""
        self.by_account.pop(account, None)

    def account_of(self, key: str, now_ms: int) -> str | None:
        """Return whose key this is, None when it is not valid."""
        for account, (known, until) in self.by_account.items():
            if hmac.compare_digest(known.encode(), key.encode()) and until > now_ms:
                return account
        return None

    def expired(self, now_ms: int) -> list[tuple[str, str]]:
        """Return and drop the (account, key) pairs that ended."""
        gone = [(account, key) for account, (key, until) in self.by_account.items() if until <= now_ms]
        for account, _ in gone:
            del self.by_account[account]
        return gone
