"""Settings of the platform alone (`BOT4_PLATFORM__...`); what it shares with the live half is bot4_live.settings."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot4_live.settings import PROJECT_ROOT, Settings

MarketName = Annotated[str, Field(pattern=r"^[a-z0-9_]+:[A-Z0-9]{2,20}$")]

DBT_DIR = PROJECT_ROOT / "dbt"
FEATURE_REPO = PROJECT_ROOT / "feature_repo"


class PlatformSettings(BaseSettings):
    """What the partitions span."""

    model_config = SettingsConfigDict(env_prefix="BOT4_PLATFORM__", frozen=True, extra="forbid")

    day_start: Annotated[date, Field(description="first partition, a UTC day of exchange time")] = date(2024, 8, 8)
    markets: Annotated[
        tuple[MarketName, ...],
        Field(min_length=1, description="venue:SYMBOL of every market ever traded; retired ones stay"),
    ] = ("binance_usdm:BTCUSDT",)


@lru_cache(maxsize=1)
def platform_settings() -> PlatformSettings:
    """Return the settings the definitions of this process were built with."""
    return PlatformSettings()


def dagster_home(settings: Settings) -> Path:
    """Return the account's DAGSTER_HOME."""
    return settings.root / "dagster"


def docs_dir(settings: Settings) -> Path:
    """Return where Great Expectations' Data Docs lie."""
    return settings.root / "data_docs"
