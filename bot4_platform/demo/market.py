"""The demo's exchange: a recording or a generated market, its accounts, its clock."""

from __future__ import annotations

import json
import os
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot4_live.settings import PROJECT_ROOT

GENERATED_S = 345.0
SPARE_S = 60.0  # generated beyond what a run plans to use, for machines that are slow to trade before the kill
START_BALANCE = "10000"
RECORDED = Path("captures") / "binance_usdm" / "btcusdt_20240808.gz"


@dataclass(frozen=True)
class Keys:
    """Two API keys of one account, the exchange's token, all made for this run."""

    runner: tuple[str, str] = field(repr=False)
    watchdog: tuple[str, str] = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        """Return fresh random keys."""
        return cls(
            (secrets.token_hex(16), secrets.token_hex(32)),
            (secrets.token_hex(16), secrets.token_hex(32)),
            secrets.token_hex(16),
        )

    def environment(self) -> dict[str, str]:
        """Return what the live processes read."""
        return {
            "BOT4_API_KEY": self.runner[0],
            "BOT4_API_SECRET": self.runner[1],
            "BOT4_WATCHDOG_API_KEY": self.watchdog[0],
            "BOT4_WATCHDOG_API_SECRET": self.watchdog[1],
            "BOT4_EXCHANGE_TOKEN": self.token,
        }

    def write_accounts(self, path: Path, account: str) -> None:
        """Write the exchange's account file, readable by the user alone."""
        path.touch(mode=0o600)
        entries = {
            key: {"secret": secret, "account": account, "balance": START_BALANCE}
            for key, secret in (self.runner, self.watchdog)
        }
        path.write_text(json.dumps(entries))


def default_capture() -> Path | None:
    """Return the recorded market beside the project (or under BOT4_SHARED_DATA) when it is there."""
    root = Path(os.environ.get("BOT4_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    path = root / RECORDED
    return path if path.is_file() else None


class Exchange:
    """The simulated exchange's own controls, over HTTP."""

    def __init__(self, rest: str, token: str) -> None:
        self.rest, self._token = rest, token

    def clock(self, **changes: int | bool) -> dict[str, Any]:
        """Return the market's clock, after `changes` (speed_milli, paused, until_ns) when there are any."""
        data = json.dumps(changes).encode() if changes else None
        request = urllib.request.Request(f"{self.rest}/bot4/clock", data, {"X-Bot4-Token": self._token})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                value: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(f"the exchange refused {changes}: {error.read().decode()}") from None
        return value

    def original_ns(self) -> int:
        """Return the market's time now, before the shift."""
        now = self.clock()
        return int(now["market_ns"]) - int(now["shift_ns"])
