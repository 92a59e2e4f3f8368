"""Settings of the platform alone (`BOT4_PLATFORM__...`); what it shares with the live half is bot4_live.settings."""

from __future__ import annotations

import os
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bot4_live import settings_errors
from bot4_live.settings import PROJECT_ROOT, Settings
from bot4_live.settings_errors import WrongSettings
from bot4_platform.archive.settings import ArchiveSettings
from bot4_platform.bus.settings import BusSettings
from bot4_platform.operations.settings import OperationsSettings
from bot4_platform.retention.settings import DiskSettings, RetentionSettings
from bot4_platform.sources.settings import SourcesSettings
from bot4_platform.timescale.settings import PostgresSettings, StoresSettings

MARKET = r"^[a-z0-9_]+:[A-Z0-9][A-Z0-9._-]{1,39}$"
MarketName = Annotated[str, Field(pattern=MARKET)]

PREFIX = "BOT4_PLATFORM__"
DBT_DIR = PROJECT_ROOT / "dbt"
FEATURE_REPO = PROJECT_ROOT / "feature_repo"


class PlatformSettings(BaseSettings):
    """What the partitions span, and the settings of each part."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", allow_inf_nan=False
    )

    day_start: Annotated[date, Field(description="first partition, a UTC day of exchange time")] = date(2024, 8, 8)
    markets: Annotated[
        tuple[MarketName, ...],
        Field(min_length=1, description="venue:SYMBOL of every market ever traded; retired ones stay"),
    ] = ("binance_usdm:BTCUSDT",)
    basis: Annotated[
        tuple[tuple[MarketName, MarketName], ...],
        Field(description="pairs of those markets whose mids are compared (basis_1m), as [base, quote]"),
    ] = ()
    sources: SourcesSettings = SourcesSettings()
    archive: ArchiveSettings = ArchiveSettings()
    retention: RetentionSettings = RetentionSettings()
    disk: DiskSettings = DiskSettings()
    bus: BusSettings = BusSettings()
    operations: OperationsSettings = OperationsSettings()
    postgres: PostgresSettings = PostgresSettings()
    stores: StoresSettings = StoresSettings()


@lru_cache(maxsize=1)
def platform_settings() -> PlatformSettings:
    """Return the settings the definitions of this process were built with.

    Raises WrongSettings (a ValueError) with one line per wrong or unknown setting.
    """
    wrong = settings_errors.unknown_variables(os.environ, PlatformSettings, PREFIX)
    if wrong:
        raise WrongSettings(wrong)
    try:
        return PlatformSettings()
    except ValidationError as error:
        raise WrongSettings(settings_errors.lines(error, PlatformSettings, PREFIX)) from None
    except SettingsError as error:
        if '"markets"' in str(error):
            line = f'{PREFIX}MARKETS is not JSON; give a list such as ["binance_usdm:BTCUSDT"]'
        else:
            line = f"{PREFIX}... is not JSON ({error}); give single values such as {PREFIX}SOURCES__HTTP__PER_S=5"
        raise WrongSettings([line]) from None


def dagster_home(settings: Settings) -> Path:
    """Return the account's DAGSTER_HOME."""
    return settings.root / "dagster"


def docs_dir(settings: Settings) -> Path:
    """Return where Great Expectations' Data Docs lie."""
    return settings.root / "data_docs"


def dbt_docs_dir(settings: Settings) -> Path:
    """Return where the pages of dbt's documentation lie."""
    return settings.root / "dbt_docs"


def quality_page(settings: Settings) -> Path:
    """Return where the quality page lies; its links go to the Data Docs beside it."""
    return settings.root / "quality.html"
