"""Accounts of the simulated exchange: one net position, exact integer money."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot4_live.instrument import E8, Instrument, to_e8

SHAPE = "{api_key: {secret, account, balance}}"
KEPT = 100_000  # trades and income rows kept an account


@dataclass(slots=True, frozen=True)
class AccountTrade:
    """One fill of an account. Price in ticks, qty in lots, fee and realised profit in 1e-8 quote."""

    id: int
    order_id: int
    client_id: str
    buys: bool
    price: int
    qty: int
    fee_e8: int
    realized_e8: int
    maker: bool
    time_ms: int


@dataclass
class Account:
    """Money and position of one account.

    `cost` is the signed sum of price * quantity of the open position in ticks x lots: exact, so that
    wallet + fees + (position * price - cost) never changes by a fill at `price`.
    """

    name: str
    instrument: Instrument
    wallet_e8: int
    position: int = 0
    cost: int = 0
    leverage: int = 20
    fees_e8: int = 0
    updated_ms: int = 0
    trades: deque[AccountTrade] = field(default_factory=lambda: deque(maxlen=KEPT))
    income: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def fill(self, *, buys: bool, price: int, qty: int, maker: bool) -> tuple[int, int]:
        """Book a fill; return (fee, realised profit) in 1e-8 quote. Fees are rounded up, against the account."""
        instrument = self.instrument
        notional_e8 = price * qty * instrument.unit_e8
        rate = instrument.maker_fee_e8 if maker else instrument.taker_fee_e8
        fee_e8 = -(-notional_e8 * rate // E8)
        signed = qty if buys else -qty
        realized = 0
        if self.position and (self.position > 0) != buys:
            closing = min(qty, abs(self.position))
            share = self.cost * closing // abs(self.position)
            realized = (price * closing if self.position > 0 else -price * closing) - share
            self.cost -= share
            opening = qty - closing
            self.cost += price * opening if buys else -price * opening
        else:
            self.cost += price * signed
        self.position += signed
        realized_e8 = realized * instrument.unit_e8
        self.wallet_e8 += realized_e8 - fee_e8
        self.fees_e8 += fee_e8
        return fee_e8, realized_e8

    def unrealized_e8(self, mid2: int) -> int:
        """Return the open position's profit at a mid price (twice the mid, in ticks)."""
        if not self.position or not mid2:
            return 0
        return (self.position * mid2 - 2 * self.cost) * self.instrument.unit_e8 // 2

    def margin_e8(self, lots: int, mid2: int) -> int:
        """Return the initial margin of a position of `lots` at a mid price."""
        return abs(lots) * mid2 * self.instrument.unit_e8 // (2 * self.leverage)


@dataclass(frozen=True)
class Key:
    """An API key: several may lead to one account (the runner's and the watchdog's)."""

    secret: str = field(repr=False)
    account: str


def load_accounts(path: Path, instrument: Instrument) -> tuple[dict[str, Key], dict[str, Account]]:
    """Read `{api_key: {"secret", "account", "balance"}}`; the balance is taken from an account's first key.

    Raises OSError, or ValueError with one line that names what is wrong.
    """
    try:
        entries = json.loads(path.read_text())
    except ValueError as problem:
        raise ValueError(f"{path} is not JSON ({problem}); expected {SHAPE}") from None
    return make_accounts(entries, instrument, where=str(path))


def make_accounts(
    entries: Any, instrument: Instrument, where: str = "accounts"
) -> tuple[dict[str, Key], dict[str, Account]]:
    """Return (keys, accounts) of parsed entries, as `load_accounts`."""
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{where}: expected {SHAPE} with at least one key")
    keys: dict[str, Key] = {}
    accounts: dict[str, Account] = {}
    for api_key, entry in entries.items():
        if not isinstance(entry, dict) or not {"secret", "account"} <= set(entry):
            raise ValueError(f"{where}: key {api_key[:8]}...: needs secret, account and balance")
        keys[api_key] = Key(str(entry["secret"]), str(entry["account"]))
        if keys[api_key].account not in accounts:
            balance = to_e8(str(entry.get("balance", "10000")))
            accounts[keys[api_key].account] = Account(keys[api_key].account, instrument, balance)
    return keys, accounts
