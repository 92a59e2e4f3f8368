"""Settings of the live half: typed, validated, from the environment (`BOT4_...`) or a call; paper by default."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bot4_live import settings_errors
from bot4_live.journal.policy import Policy
from bot4_live.settings_errors import WrongSettings

SYMBOL = r"[A-Z0-9]{2,20}"
PROJECT_ROOT = Path(__file__).resolve().parent.parent


class StrategyParams(BaseModel):
    """Numbers that steer `step`; each reaches it in a PARAMS event under the id of `PARAM_IDS`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gamma: Annotated[
        float, Field(gt=0, description="risk aversion (Avellaneda-Stoikov), per unit of inventory/cap")
    ] = 0.1
    horizon_s: Annotated[float, Field(gt=0, description="rolling horizon tau, seconds")] = 86_400.0
    urgency: Annotated[float, Field(ge=0, description="multiplies the inventory skew")] = 1.5
    intensity_k: Annotated[
        float,
        Field(gt=0, description="fill intensity decay k, per unit of return; replaced by the slow feature"),
    ] = 20_000.0
    sigma: Annotated[
        float, Field(gt=0, description="volatility, return per sqrt(second); replaced by the slow feature")
    ] = 5e-5
    adverse_selection_bp: Annotated[float, Field(ge=0, description="expected adverse selection, bp")] = 0.2
    quote_notional: Annotated[float, Field(gt=0, description="size of one quote, quote currency")] = 250.0
    inventory_cap: Annotated[float, Field(gt=0, description="inventory cap, quote currency (T1: 100k)")] = 5_000.0
    requote_ms: Annotated[float, Field(ge=10, description="how often quotes are evaluated, ms of engine clock")] = 100.0
    hysteresis_ticks: Annotated[float, Field(ge=0, description="a quote moves only past this distance, ticks")] = 5.0
    model_skew: Annotated[
        float, Field(ge=0, description="share of the model's forecast added to the reservation price")
    ] = 0.5
    max_position_notional: Annotated[float, Field(gt=0, description="risk: largest position, quote currency")] = (
        10_000.0
    )
    max_order_notional: Annotated[float, Field(gt=0, description="risk: largest order, quote currency")] = 1_000.0
    max_orders_per_s: Annotated[float, Field(gt=0, description="risk: new orders a second of engine clock")] = 20.0
    price_collar: Annotated[float, Field(gt=0, lt=1, description="risk: farthest price from mid, fraction")] = 0.02
    max_open_orders: Annotated[float, Field(ge=2, le=64, description="risk: open orders at once")] = 8.0
    quoting: Annotated[float, Field(ge=0, le=1, description="0 records and computes but sends nothing")] = 1.0
    slow_ttl_s: Annotated[
        float, Field(gt=0, description="age of a slow value's event time at which quotes no longer use it, seconds")
    ] = 7_200.0

    def pairs(self) -> list[tuple[int, float]]:
        """Return (param id, value) for every field, by id."""
        return [(PARAM_IDS[name], float(getattr(self, name))) for name in type(self).model_fields]


class JournalSettings(BaseModel):
    """How the journal is cut, and what a power cut may take of it (the death of a process takes nothing)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    segment_mb: Annotated[int, Field(ge=1, le=512, description="size at which a new segment begins, MiB")] = 256
    rotate_s: Annotated[int, Field(ge=1, le=86_400, description="a new segment every so often, divides a day")] = 86_400
    fsync: Annotated[
        Literal["batch", "interval", "rotation"],
        Field(description="when it is made durable: every batch, every fsync_ms, or with the segment's end"),
    ] = "interval"
    fsync_ms: Annotated[int, Field(ge=1, le=60_000, description="how often `interval` syncs, ms")] = 100
    ring_mb: Annotated[
        int,
        Field(ge=33, le=4096, description="shared memory between runner and writer, MiB: two of the largest frames"),
    ] = 64

    @field_validator("rotate_s")
    @classmethod
    def _divides_a_day(cls, value: int) -> int:
        if 86_400 % value:
            raise ValueError("does not divide a day; e.g. 3600 or 900 does")
        return value

    def policy(self) -> Policy:
        """Return it as the writer takes it."""
        return Policy(self.segment_mb << 20, self.rotate_s, self.fsync, self.fsync_ms)


# Ids are frozen: a journal names params by them. New ones are added at the end, none is reused.
PARAM_IDS: dict[str, int] = {
    "gamma": 0, "horizon_s": 1, "urgency": 2, "intensity_k": 3, "sigma": 4, "adverse_selection_bp": 5,
    "quote_notional": 6, "inventory_cap": 7, "requote_ms": 8, "hysteresis_ticks": 9, "model_skew": 10,
    "max_position_notional": 11, "max_order_notional": 12, "max_orders_per_s": 13, "price_collar": 14,
    "max_open_orders": 15, "quoting": 16, "slow_ttl_s": 17,
}  # fmt: skip

# Slow features: id -> name; served by the online store, handed over as SLOW_FEATURE events.
SLOW_FEATURES: dict[int, str] = {0: "garch_sigma", 1: "intensity_a", 2: "intensity_k"}


class Settings(BaseSettings):
    """Everything a process of the live half needs to know. Environment: `BOT4_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="BOT4_", env_nested_delimiter="__", frozen=True, extra="forbid", allow_inf_nan=False
    )

    profile: Annotated[Literal["embedded", "services"], Field(description="which services stand behind it")] = (
        "embedded"
    )
    var: Annotated[Path, Field(description="where everything that runs leaves its files")] = PROJECT_ROOT / "var"
    account: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="name of the account")] = "paper"
    symbol: Annotated[str, Field(pattern=f"^{SYMBOL}$")] = "BTCUSDT"
    watch: Annotated[
        str, Field(description="symbols that are followed and journaled beside the traded one, with commas between")
    ] = ""
    rest_url: Annotated[str, Field(description="REST endpoint")] = "http://127.0.0.1:8411"
    ws_url: Annotated[str, Field(description="WebSocket endpoint")] = "ws://127.0.0.1:8411"
    api_key: Annotated[SecretStr, Field(description="from the environment only")] = SecretStr("")
    api_secret: Annotated[SecretStr, Field(description="from the environment only")] = SecretStr("")
    watchdog_api_key: Annotated[SecretStr, Field(description="the watchdog's own key")] = SecretStr("")
    watchdog_api_secret: Annotated[SecretStr, Field()] = SecretStr("")
    exchange_token: Annotated[SecretStr, Field(description="token of the simulated exchange's /bot4 controls")] = (
        SecretStr("")
    )
    coinbase_key: Annotated[SecretStr, Field(description="for the channels of orders")] = SecretStr("")
    coinbase_secret: Annotated[SecretStr, Field(description="in base64, as Coinbase hands it out")] = SecretStr("")
    coinbase_passphrase: Annotated[SecretStr, Field()] = SecretStr("")
    kraken_ws_token: Annotated[SecretStr, Field(description="for its channel of orders")] = SecretStr("")
    recv_window_ms: Annotated[int, Field(ge=250, le=1000, description="how long a signed request stays valid")] = 500
    countdown_ms: Annotated[int, Field(ge=1000, description="the venue cancels all when not renewed for this long")] = (
        5000
    )
    kill_budget_s: Annotated[float, Field(gt=0, description="time a kill has before it alarms")] = 10.0
    mode_cooldown_s: Annotated[
        float, Field(gt=0, description="calm time before NORMAL after a safer mode or a trip")
    ] = 300.0
    feeder_poll_s: Annotated[float, Field(gt=0, description="how often the online store is read, real seconds")] = 1.0
    feeder_ring_kb: Annotated[
        int, Field(ge=4, le=65_536, description="shared memory between feeder and runner, KiB")
    ] = 64
    transport: Annotated[
        Literal["async", "spin"],
        Field(description="how the market is received: by asyncio, or by polling a socket without sleeping"),
    ] = "async"
    loop_cpu: Annotated[
        int | None, Field(ge=0, le=4095, description="core of the session's loop; its helpers keep off it")
    ] = None
    spin_force: Annotated[bool, Field(description="spin with fewer than 4 cores as well")] = False
    keep_awake: Annotated[
        bool,
        Field(
            description="no processor halts while a session trades, where the kernel grants it (root): it wakes late"
        ),
    ] = True
    instrument_check_s: Annotated[
        float, Field(gt=0, description="how often tick, lot and filters are compared with the venue's, real seconds")
    ] = 10.0
    liquidation_usd: Annotated[float, Field(gt=0, description="worth from which a liquidation is marked as large")] = (
        100_000.0
    )
    strategy: StrategyParams = StrategyParams()
    journal: JournalSettings = JournalSettings()

    @field_validator("var")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("watch")
    @classmethod
    def _symbols(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")] if value.strip() else []
        if wrong := [name for name in names if not re.fullmatch(SYMBOL, name)]:
            raise ValueError(f"{wrong[0]!r} is no symbol; give names such as ETHUSDT,SOLUSDT")
        return ",".join(dict.fromkeys(names))

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the symbols of `watch`."""
        return tuple(self.watch.split(",")) if self.watch else ()

    @field_validator("rest_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return _endpoint(value, ("http", "https"))

    @field_validator("ws_url")
    @classmethod
    def _websocket(cls, value: str) -> str:
        return _endpoint(value, ("ws", "wss"))

    @property
    def root(self) -> Path:
        """Return the folder of this account: journal, state, lake, models."""
        return self.var / self.account

    @property
    def journal_dir(self) -> Path:
        """Return where the account's journal lies."""
        return self.root / "journal"

    @property
    def state_dir(self) -> Path:
        """Return where latched mode, order epoch and audit lie."""
        return self.root / "state"

    @property
    def lake_dir(self) -> Path:
        """Return the Parquet lake."""
        return self.root / "lake"

    @property
    def models_dir(self) -> Path:
        """Return where bundles lie: `sha256/<digest>/` and `current.json`."""
        return self.root / "models"

    @property
    def online_store(self) -> Path:
        """Return Feast's SQLite online store."""
        return self.root / "feast" / "online.db"

    @property
    def shm_dir(self) -> Path:
        """Return the folder in shared memory: control block and rings."""
        tag = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path("/dev/shm") / f"bot4-{os.getuid()}-{self.account}-{tag}"

    def public(self) -> dict[str, Any]:
        """Return the settings without secrets, for headers and reports."""
        secrets = {name for name, field in type(self).model_fields.items() if field.annotation is SecretStr}
        return self.model_dump(mode="json", exclude=secrets)


def _endpoint(value: str, schemes: tuple[str, ...]) -> str:
    """Return the endpoint; raise ValueError unless it is an address such as http://127.0.0.1:8411."""
    example = f"{schemes[0]}://127.0.0.1:8411"
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ValueError(f"no address ({error}); give one such as {example}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"no address of this kind; give one such as {example}")
    return value


def load(**overrides: Any) -> Settings:
    """Return the settings; an unknown `BOT4_` variable is an error, so that a typo is not a default.

    Raises WrongSettings (a ValueError) with one line per wrong setting.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in RESERVED_VARIABLES and not name.startswith(RESERVED_PREFIXES)
    }
    wrong = settings_errors.unknown_variables(ours, Settings, PREFIX)
    if wrong:
        raise WrongSettings(wrong)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise WrongSettings(settings_errors.lines(error, Settings, PREFIX)) from None
    except SettingsError as error:
        # Only a nested field is parsed as JSON, and only when it is given whole.
        name = "BOT4_JOURNAL" if '"journal"' in str(error) else "BOT4_STRATEGY"
        example = "BOT4_JOURNAL__ROTATE_S=3600" if name == "BOT4_JOURNAL" else "BOT4_STRATEGY__GAMMA=0.1"
        raise WrongSettings([f"{name} is not JSON; give an object, or single values such as {example}"]) from None


PREFIX = "BOT4_"
# Read elsewhere than in Settings; what bot4_platform.settings reads is checked there.
RESERVED_VARIABLES = {"BOT4_CACHE_DIR", "BOT4_SHARED_DATA", "BOT4_CRASH_AT"}
RESERVED_PREFIXES = ("BOT4_PLATFORM__",)
